package tracing

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpguts"
)

// mostFields bounds a file of fields, in bytes.
const mostFields = 64 << 10

// Error is a failure to send spans, with what can be done about it.
type Error struct {
	Err  error
	hint string
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
	return &Error{Err: err, hint: hint}
}

// refused is the failure of a request that got another answer than it should.
func refused(status int) error {
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
	return &Error{Err: fmt.Errorf("the collector answered %d", status), hint: hint}
}

// fields reads the file of fields. Errors never quote it: it holds a key.
func fields(path string) (http.Header, error) {
	h := make(http.Header)
	if path == "" {
		return h, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, &Error{fmt.Errorf("reading the fields: %w", err), "let sallyport's user read tracing.headers_file"}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostFields+1))
	if err == nil && len(text) > mostFields {
		err = errTooLong
	}
	if err != nil {
		return nil, &Error{fmt.Errorf("reading the fields from %s: %w", path, err), ""}
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, mostFields+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, &Error{fmt.Errorf("line %d of %s is not a field", n, path), "write Name: value, one on each line"}
		}
		h.Add(name, value)
	}
	return h, nil
}

var errTooLong = errors.New("more than 64 KiB")
