package tlsmgr

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// hintedError is an error with what to do about it.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// Hint says what to do.
func (e *hintedError) Hint() string { return e.hint }

// cureOf returns what to do about an error of an attempt: what the error says
// itself or, for an answer of the CA, what its kind asks for. It may be empty.
func cureOf(err error) string {
	if hint := cloudflare.Hint(err); hint != "" {
		return hint
	}
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		return acmeCure(problem)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's own certificate is not trusted: set `acme.ca_root` for a private CA, `api_root` for a private API; if neither is, something intercepts the connection"
	}
	if failure, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name " + failure.Name + " cannot be resolved: check the network and `acme.resolvers`"
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "check that this machine may connect to the CA and to the Cloudflare API (TCP port 443), and the name servers (port 53)"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "something answered too slowly; it is tried again"
	}
	return ""
}

// acmeCure says what to do about a problem that the CA reports (RFC 8555
// section 6.7).
func acmeCure(problem acme.Problem) string {
	switch strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace) {
	case "rateLimited":
		return "the CA's rate limit is used up; it is tried again when it allows. For experiments use `ca: letsencrypt-staging`"
	case "caa":
		return "a CAA record forbids this CA to issue for the name: add the CA to it, or remove the record"
	case "dns", "unauthorized", "incorrectResponse", "connection":
		return "the CA did not find the challenge record: check that the zone is delegated to Cloudflare's name servers everywhere, and that no CNAME of _acme-challenge leads elsewhere"
	case "rejectedIdentifier", "unsupportedIdentifier":
		return "this CA does not issue for such a name: use `tls: internal` or certificate files for it"
	case "externalAccountRequired":
		return "this CA wants an external account binding: set `acme.eab`"
	case "invalidContact", "unsupportedContact":
		return "the CA does not accept `acme.email`: use an address that exists"
	case "userActionRequired":
		return "the CA wants something of a person, perhaps agreement to new terms: " + problem.Instance
	case "invalidProfile":
		return "the CA does not offer `acme.profile`; remove it or name another"
	case "serverInternal":
		return "the CA has a failure of its own; it is tried again"
	}
	return ""
}
