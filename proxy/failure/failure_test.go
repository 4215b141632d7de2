package failure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
)

func TestEveryFailureHasItsAnswer(t *testing.T) {
	at := func(stage upstream.Stage, err error) error {
		return fmt.Errorf("wrapped: %w", &upstream.Error{Server: "http://api:8080", Stage: stage, Err: err})
	}
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)} }
	for _, c := range []struct {
		err    error
		status int
		label  string
		hint   string // part of it
	}{
		{at(upstream.Connect, dial(syscall.ECONNREFUSED)), 502, "upstream_refused", "http://api:8080 running"},
		{at(upstream.Connect, dial(syscall.ENOENT)), 502, "upstream_refused", "socket does not exist"},
		{at(upstream.Connect, dial(syscall.EACCES)), 502, "upstream_refused", "may not open"},
		{at(upstream.Connect, dial(syscall.EHOSTUNREACH)), 502, "upstream_unreachable", "no route"},
		{at(upstream.Connect, &net.DNSError{Name: "api", IsNotFound: true}), 502, "upstream_dns", `"api" does not resolve`},
		{at(upstream.Connect, &net.DNSError{Name: "api", IsTimeout: true}), 504, "upstream_dns", "DNS server"},
		{at(upstream.Connect, context.DeadlineExceeded), 504, "upstream_connect_timeout", "firewall"},
		{at(upstream.Connect, io.EOF), 502, "upstream_connect", ""},
		{at(upstream.Handshake, context.DeadlineExceeded), 504, "upstream_connect_timeout", ""},
		{at(upstream.Handshake, io.EOF), 502, "upstream_tls", ""},
		{at(upstream.Exchange, os.ErrDeadlineExceeded), 504, "upstream_timeout", "response_header_timeout"},
		{at(upstream.Exchange, fmt.Errorf("%w: x", upstream.ErrMalformed)), 502, "upstream_malformed", "h2c://"},
		{at(upstream.Exchange, io.EOF), 502, "upstream_closed", "log"},
		{&upstream.Unavailable{Upstream: "api", Reason: upstream.NoServer, Err: at(upstream.Connect, io.EOF)}, 503, "no_server", "server is down"},
		{&upstream.Unavailable{Server: "http://api:8080", Reason: upstream.QueueFull}, 503, "queue_full", "queue.size"},
		{&upstream.Unavailable{Server: "http://api:8080", Reason: upstream.QueueTimeout}, 503, "queue_timeout", "queue.timeout"},
		{ErrBadUpgrade, 502, "upstream_malformed", ""},
		{fmt.Errorf("%w: %w", ErrTruncated, io.EOF), 502, "upstream_truncated", ""},
		{&Body{io.ErrUnexpectedEOF}, 400, "body_invalid", ""},
		{&Body{os.ErrDeadlineExceeded}, 408, "body_timeout", ""},
		{&Body{&http.MaxBytesError{Limit: 1}}, 413, "body_too_large", ""},
		{&Delivery{io.ErrClosedPipe}, 0, "client_gone", ""},
		{ErrStarting, 503, "starting", ""},
		{&exchange.Refusal{Status: 421, Label: "host_misdirected"}, 421, "host_misdirected", ""},
		{&Panic{Value: "x"}, 500, "panic", "bug"},
		{errors.New("something new"), 502, "upstream_failed", ""},
	} {
		v := Classify(httptest.NewRequest("GET", "/", nil), c.err)
		if v.Status != c.status || v.Label != c.label || !strings.Contains(v.Hint, c.hint) {
			t.Errorf("%v:\n got %+v\nwant %d %s %q", c.err, v, c.status, c.label, c.hint)
		}
		wantLevel := zap.ErrorLevel
		if c.status < 500 {
			wantLevel = zap.DebugLevel
		}
		if v.Level != wantLevel {
			t.Errorf("%v: level %v", c.err, v.Level)
		}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequest("GET", "/", nil).WithContext(left)
	if v := Classify(r, at(upstream.Exchange, io.EOF)); v.Status != 0 || v.Label != "client_gone" {
		t.Errorf("a client that left: %+v", v)
	}
}

func TestLogForgets(t *testing.T) {
	l := NewLog()
	now := time.Unix(0, 0)
	for i := range 3 * mostKept {
		now = now.Add(time.Millisecond)
		l.admit(key{Origin{Site: fmt.Sprint(i)}, "x"}, now)
	}
	if len(l.last) > mostKept+1 {
		t.Errorf("%d kinds kept", len(l.last))
	}
}

func TestPageSaysNothingAboutWhatIsBehind(t *testing.T) {
	for accept, kind := range map[string]string{"text/html,*/*": "text/html; charset=utf-8", "application/json": "application/problem+json", "": "text/plain; charset=utf-8"} {
		r := httptest.NewRequest("GET", "https://a.test/secret-path", nil)
		r.Header.Set("Accept", accept)
		r = exchange.With(r, &exchange.Exchange{ID: "0123abc"})
		w := httptest.NewRecorder()
		err := &upstream.Error{Server: "http://10.1.2.3:8080", Stage: upstream.Connect, Err: syscall.ECONNREFUSED}
		WritePage(w, r, Classify(r, err).Status)
		text := w.Body.String()
		for _, secret := range []string{"10.1.2.3", "8080", "refused", "secret-path", "allyport"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q tells %q:\n%s", accept, secret, text)
			}
		}
		if w.Code != 502 || w.Header().Get("Content-Type") != kind || !strings.Contains(text, "0123abc") {
			t.Errorf("%q: %d %v\n%s", accept, w.Code, w.Header(), text)
		}
	}
}
