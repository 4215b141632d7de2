package tlsmgr

import (
	"context"
	"errors"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// Observer is told what metrics count. It is called on the goroutine of what it
// is told of and must be quick and not block.
type Observer interface {
	cloudflare.Observer

	// Attempted is told that an order has ended: with a certificate (code "") or
	// with a failure, whose code is from a closed set: the type of the CA's
	// problem (rateLimited), cloudflare, cloudflare_network, timeout or other.
	Attempted(issuer, code string)

	// CalledCA is told the HTTP status of each answer of a CA's.
	CalledCA(status int)
}

// attempted tells of the end of an order.
func (m *Manager) attempted(job job, done outcome, err error) {
	if m.observer == nil || err == nil && done.ordered.IsZero() {
		return // nothing was ordered
	}
	m.observer.Attempted(job.entry.Issuer, codeOf(err))
}

// codeOf classifies why an order failed.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		if code := strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace); knownProblem(code) {
			return code
		}
		return "other"
	}
	if _, ok := errors.AsType[*cloudflare.APIError](err); ok {
		return "cloudflare"
	}
	if _, ok := errors.AsType[*cloudflare.NetworkError](err); ok {
		return "cloudflare_network"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "other"
}

// knownProblem reports whether a problem's type is one of RFC 8555 section 6.7:
// what a CA invents must not become a label.
func knownProblem(code string) bool {
	switch code {
	case "accountDoesNotExist", "alreadyReplaced", "badCSR", "badNonce", "badPublicKey", "badRevocationReason", "badSignatureAlgorithm",
		"caa", "compound", "connection", "dns", "externalAccountRequired", "incorrectResponse", "invalidContact", "invalidProfile", "malformed",
		"orderNotReady", "rateLimited", "rejectedIdentifier", "serverInternal", "tls", "unauthorized", "unsupportedContact",
		"unsupportedIdentifier", "userActionRequired":
		return true
	}
	return false
}
