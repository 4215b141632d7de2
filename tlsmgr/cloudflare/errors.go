package cloudflare

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Hint returns what to do about err: the cure of the first error in its tree that
// knows one. It is empty when none does.
func Hint(err error) string {
	if e, ok := errors.AsType[*TokenError](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return e.Hint()
	}
	return ""
}

// Temporary reports whether err may go away by itself: the network, an answer of 429 or
// 5xx, a page of some gateway, an ended context. False means that
// somebody has to mend something, and false is the answer for errors it does not
// know and for nil.
func Temporary(err error) bool {
	if e, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err); ok {
		return e.Temporary()
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Kind says what sort of answer an APIError is about.
type Kind string

// The kinds of APIError.
const (
	KindAPI     Kind = "api"      // the API's own error, with its codes
	KindNoZone  Kind = "no zone"  // the API answered well, and the token does not reach the zone
	KindHTML    Kind = "html"     // a web page: an outage at Cloudflare or a gateway on the way
	KindNotJSON Kind = "not json" // anything else that is not an answer of the API
)

// APIError is an answer of the API that is not the one that was wanted.
// errors.As finds it through libdns, acmez and certmagic.
type APIError struct {
	Credential string        // its name in the configuration
	Zone       string        // the zone it was about; empty when about the token as a whole
	Method     string        // of the call
	Path       string        // of the call, without the query
	Kind       Kind          // what sort of answer it was
	Status     int           // HTTP status
	Codes      []Code        // Cloudflare's codes, those of error_chain after their parent
	RetryAfter time.Duration // when the API wants to be asked again; 0 when it did not say
	Meaning    string        // what it means here, in plain words
	Cure       string        // what to do; empty when there is nothing but to wait
}

// Code is one of Cloudflare's error codes with its message.
type Code struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error names the credential, the zone, status, codes and meaning.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "credential %q: ", e.Credential)
	if e.Zone != "" {
		fmt.Fprintf(&b, "zone %q: ", e.Zone)
	}
	b.WriteString(e.Meaning)
	if e.Kind == KindNoZone {
		return b.String()
	}
	fmt.Fprintf(&b, " (%s %s: status %d", e.Method, e.Path, e.Status)
	for _, c := range e.Codes {
		fmt.Fprintf(&b, ", code %d %q", c.Code, c.Message)
	}
	b.WriteString(")")
	return b.String()
}

// Hint returns the cure.
func (e *APIError) Hint() string { return e.Cure }

// Temporary reports whether the answer says nothing lasting about the token: a
// page that is not the API's, throttling, or a failure on Cloudflare's side.
func (e *APIError) Temporary() bool {
	return e.Kind == KindHTML || e.Kind == KindNotJSON ||
		e.Status == http.StatusTooManyRequests || e.Status >= 500 || e.has(codeThrottled, codeInternal)
}

func (e *APIError) has(codes ...int) bool {
	return slices.ContainsFunc(e.Codes, func(c Code) bool { return slices.Contains(codes, c.Code) })
}

// exists reports whether a create failed because the very record is there
// already: what an earlier attempt did, whose answer was lost.
func (e *APIError) exists() bool {
	return e.Method == http.MethodPost && e.has(codeRecordExists, codeIdenticalRecord)
}

// gone reports whether a delete failed because the record is not there. A 404 of
// another method is about the zone, not the record.
func (e *APIError) gone() bool {
	return e.Method == http.MethodDelete && (e.has(codeNoRecord) || e.Kind == KindAPI && e.Status == http.StatusNotFound)
}

// The codes that something depends on or that have an explanation of their
// own below.
const (
	codeThrottled       = 971
	codeInvalidToken    = 1000
	codeInvalidObject   = 1001
	codeInvalidRecord   = 1004
	codeBadHeaders      = 6003
	codeBadEmailHeader  = 6102
	codeBadKeyHeader    = 6103
	codeBadBearer       = 6111
	codeNoRoute         = 7000
	codeNoObject        = 7003
	codeUnknownKey      = 9103
	codeNoCredentials   = 9106
	codeUnauthorized    = 9109
	codeAuthentication  = 10000
	codeInternal        = 10013
	codeNoRecord        = 81044
	codeRecordQuota     = 81045
	codeHostTaken       = 81053
	codeCNAMETaken      = 81054
	codeRecordExists    = 81057
	codeIdenticalRecord = 81058
)

const meaningLocation = "the token may not be used from this machine's address"

// explain fills in Meaning and Cure. source names where the token comes from.
func (e *APIError) explain(source string) {
	for _, c := range slices.Backward(e.Codes) { // the chain's end is the most exact
		if e.Meaning, e.Cure = e.explainCode(c, source); e.Meaning != "" {
			return
		}
	}
	e.Meaning, e.Cure = e.explainStatus(source)
}

func (e *APIError) explainCode(c Code, source string) (meaning, cure string) {
	newToken := "make a new API token with " + e.wanted() + " at " + tokenPage + " and put it into " + source
	switch c.Code {
	case codeBadHeaders, codeBadBearer:
		return "what was sent is not an API token by its form", "check " + source + ": it must hold an API token, not a Global API Key; " + newToken
	case codeBadEmailHeader, codeBadKeyHeader, codeUnknownKey:
		return "the API saw X-Auth headers, which Sallyport never sends", "look for a gateway between here and the API (api_url) that adds them"
	case codeNoCredentials:
		return "no Authorization header reached the API", "look for a gateway between here and the API (api_url) that removes it"
	case codeInvalidToken:
		return "the token is not valid: revoked, expired or mistyped", newToken
	case codeUnauthorized:
		if strings.Contains(strings.ToLower(c.Message), "location") {
			return meaningLocation, "add this machine's public address to the token's Client IP Address Filtering at " + tokenPage
		}
		return "the token is not accepted: revoked, expired, or not allowed to do this", "give the token " + e.wanted() + " at " + tokenPage + "; if it is no longer listed there, put a new one into " + source
	case codeAuthentication:
		return "the token is not allowed to do this", "give the token " + e.wanted() + ": " + tokenPage
	case codeInvalidObject, codeNoRoute, codeNoObject:
		return "the API does not know this zone or address", "check that the zone is still in the account that the token belongs to, and that api_url is right"
	case codeInvalidRecord:
		return "the API refuses the record", ""
	case codeRecordQuota:
		return "the zone has as many records as its plan allows", "delete DNS records that are not needed; left-over _acme-challenge TXT records first"
	case codeHostTaken, codeCNAMETaken:
		return "another record (a CNAME, most likely) has the challenge's name", delegationCure
	case codeNoRecord:
		return "there is no such record", ""
	case codeRecordExists, codeIdenticalRecord:
		return "the record exists already", ""
	case codeThrottled:
		return throttling()
	case codeInternal:
		return "the API had an internal error", "wait; outages are shown at https://www.cloudflarestatus.com"
	}
	return "", ""
}

// throttling explains code 971 and status 429.
func throttling() (meaning, cure string) {
	return "the API is throttling calls", "wait; look for other programs that use tokens of the same Cloudflare user"
}

func (e *APIError) explainStatus(source string) (meaning, cure string) {
	switch {
	case e.Status >= 500:
		return "the API is not available", "wait; outages are shown at https://www.cloudflarestatus.com"
	case e.Status == http.StatusTooManyRequests:
		return throttling()
	case e.Kind == KindHTML || e.Kind == KindNotJSON:
		return "the answer is not one of Cloudflare's API", "look for a gateway between here and the API, and check api_url"
	case e.Status == http.StatusUnauthorized:
		return "the token is not valid", "put an API token with " + e.wanted() + " into " + source + ": " + tokenPage
	case e.Status == http.StatusForbidden:
		return "the token is not allowed to do this", "give the token " + e.wanted() + ": " + tokenPage
	case e.Status == http.StatusNotFound:
		return "the API does not know this zone or address", "check that the zone is still in the account, and that api_url is right"
	}
	return "the API refused the call", ""
}

// wanted names the permissions that the failed call lacks.
func (e *APIError) wanted() string {
	on := "the listed zones"
	if e.Zone != "" {
		on = e.Zone
	}
	switch {
	case strings.Contains(e.Path, "/dns_records"):
		return "Zone:DNS:Edit on " + on
	case e.Path == "/zones":
		return "Zone:Zone:Read on " + on
	}
	return "Zone:Zone:Read and Zone:DNS:Edit on " + on
}

// noZone is the error for a zone lookup that found count zones instead of one.
func noZone(e APIError, count int) *APIError {
	e.Kind = KindNoZone
	if count == 0 {
		// Without Zone:Read on a zone the API acts as if there were no such zone.
		e.Meaning = "the token does not reach this zone"
		e.Cure = "give the token Zone:Zone:Read and Zone:DNS:Edit on " + e.Zone + " at " + tokenPage + ", or list the zone under the credential whose token covers it"
		return &e
	}
	e.Meaning = fmt.Sprintf("the token reaches %d zones of this name", count)
	e.Cure = "restrict the token's Zone Resources to the account that serves the zone: " + tokenPage
	return &e
}

// NetworkError is a call that got no answer.
type NetworkError struct {
	Credential string // its name in the configuration
	Zone       string // the zone it was about; may be empty
	Host       string // of the API
	Err        error  // of the HTTP client or the context
}

// Error names the credential, the zone and the cause.
func (e *NetworkError) Error() string {
	zone := ""
	if e.Zone != "" {
		zone = fmt.Sprintf("zone %q: ", e.Zone)
	}
	return fmt.Sprintf("credential %q: %sno answer from %s: %v", e.Credential, zone, e.Host, e.Err)
}

// Unwrap returns the cause.
func (e *NetworkError) Unwrap() error { return e.Err }

// Temporary is always true: the network says nothing about a token.
func (e *NetworkError) Temporary() bool { return true }

// Hint says what to check.
func (e *NetworkError) Hint() string {
	if _, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return "check that " + e.Host + " resolves on this machine, or set acme.resolvers"
	}
	if certificateError(e.Err) {
		return "something between here and " + e.Host + " answers with its own certificate; if that is meant to be, name its root in api_root; check the clock too"
	}
	return "check that this machine can open TCP connections to " + e.Host + " (firewall, routing); no proxy is used"
}

// certificateError reports whether err is about the server's certificate, which
// another attempt does not change.
func certificateError(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	return verification || unknown
}

// envelope is what every answer of the API looks like.
type envelope struct {
	Success *bool           `json:"success"`
	Result  json.RawMessage `json:"result"`
	Errors  []struct {
		Code
		Chain []Code `json:"error_chain"`
	} `json:"errors"`
	ResultInfo struct {
		TotalCount int `json:"total_count"`
	} `json:"result_info"`
}

// codes flattens the errors. clean takes the token out of the messages, should a
// gateway echo it, and what would break a log line.
func (v envelope) codes(clean func(string) string) []Code {
	var all []Code
	for _, e := range v.Errors {
		for _, c := range append([]Code{e.Code}, e.Chain...) {
			all = append(all, Code{c.Code, clean(c.Message)})
		}
	}
	return all[:min(len(all), 10)]
}

// printable makes one line of at most 200 characters.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}

// retryAfter reads the Retry-After header (RFC 9110 section 10.2.3): seconds or a
// date. It is 0 when there is none, or none that makes sense.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), 24*time.Hour)
	}
	return 0
}
