package tracing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Error is a failure to send spans, with what can be done about it.
type Error struct {
	Err  error
	hint string

	again bool          // it may work later
	after time.Duration // when, as the collector asks for; negative if it does not
}

// Error is the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap is for errors.Is.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what the operator can do, or "".
func (e *Error) Hint() string { return e.hint }

// failure finds the cure of a request that got no answer.
func failure(err error) error {
	hint := ""
	_, unknown := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case unknown:
		hint = "the collector's certificate is of a CA that is not known, or for another name: tracing.ca names a file with a private CA"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nobody listens there: start the collector; OTLP over HTTP is usually on port 4318 (4317 is gRPC)"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "the collector does not answer in time (tracing.timeout): look at its load, and at firewalls between"
	}
	return &Error{Err: err, hint: hint, again: !unknown, after: -1}
}

// refused is the failure of a request that got another answer than it should.
// Which are worth another try, and when, OTLP says ("Failures", "OTLP/HTTP
// Throttling").
func refused(status int, header http.Header) error {
	hint := ""
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		hint = "the collector wants a key, or another one: tracing.headers_file, one line \"Name: value\" for each field"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		hint = "the path of tracing.endpoint is usually /v1/traces"
	case status/100 == 3:
		hint = "redirects are not followed, for the sake of the key: name in tracing.endpoint where this one leads"
	case status == http.StatusTooManyRequests:
		hint = "the collector is overloaded, or a quota is used up: lower tracing.sample"
	}
	bad := &Error{Err: fmt.Errorf("the collector answered %d", status), hint: hint, after: -1}
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		bad.again, bad.after = true, retryAfter(header.Get("Retry-After"))
	}
	return bad
}

// retryAfter reads the field (RFC 9110 section 10.2.3): seconds or a date.
// Negative means that it says nothing.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return -1
}

// Partial is what a collector says that took spans, but not all of them, or has
// a remark on them (OTLP, "Partial Success").
type Partial struct {
	Refused, Of int    // spans; Refused 0: it took all
	Note        string // the collector's words, cut; may be ""
}

// Error says how many were refused, and why if the collector does.
func (p *Partial) Error() string {
	text := fmt.Sprintf("the collector refused %d of %d spans", p.Refused, p.Of)
	if p.Refused == 0 {
		text = "the collector took the spans"
	}
	if p.Note != "" {
		text += ", and says: " + p.Note
	}
	return text
}

// Hint is what the operator can do.
func (p *Partial) Hint() string {
	return "see the collector's own log: its limits on the size and age of spans, or the rules of its processors"
}
