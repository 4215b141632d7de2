package proxy

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
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/routing"
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
		{errBadUpgrade, 502, "upstream_malformed", ""},
		{fmt.Errorf("%w: %w", errTruncated, io.EOF), 502, "upstream_truncated", ""},
		{&clientBodyError{io.ErrUnexpectedEOF}, 400, "body_invalid", ""},
		{&clientBodyError{os.ErrDeadlineExceeded}, 408, "body_timeout", ""},
		{&clientBodyError{&http.MaxBytesError{Limit: 1}}, 413, "body_too_large", ""},
		{&deliveryError{io.ErrClosedPipe}, 0, "client_gone", ""},
		{errStarting, 503, "starting", ""},
		{routing.ErrMisdirected, 421, "host_misdirected", ""},
		{&panicked{value: "x"}, 500, "panic", "bug"},
		{errors.New("something new"), 502, "upstream_failed", ""},
	} {
		v := classify(httptest.NewRequest("GET", "/", nil), c.err)
		if v.status != c.status || v.label != c.label || !strings.Contains(v.hint, c.hint) {
			t.Errorf("%v:\n got %+v\nwant %d %s %q", c.err, v, c.status, c.label, c.hint)
		}
		wantLevel := zap.ErrorLevel
		if c.status < 500 {
			wantLevel = zap.DebugLevel
		}
		if v.level != wantLevel {
			t.Errorf("%v: level %v", c.err, v.level)
		}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequest("GET", "/", nil).WithContext(left)
	if v := classify(r, at(upstream.Exchange, io.EOF)); v.status != 0 || v.label != "client_gone" {
		t.Errorf("a client that left: %+v", v)
	}
}

func TestOutageDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		p := New(Options{Logger: zap.New(core)})
		of := func(site string) *http.Request {
			return exchange.With(httptest.NewRequest("GET", "/", nil), &exchange.Exchange{Site: site})
		}
		a, b := of("a.test"), of("b.test")
		for range 1000 {
			p.report(a, verdict{502, "upstream_refused", zap.ErrorLevel, ""}, io.EOF)
			p.report(b, verdict{502, "upstream_refused", zap.ErrorLevel, ""}, io.EOF)
			time.Sleep(time.Millisecond) // synthetic time
		}
		if n := logs.Len(); n != 2 {
			t.Fatalf("%d lines in the first second, want one of each site", n)
		}
		p.report(a, verdict{502, "upstream_refused", zap.ErrorLevel, ""}, io.EOF)
		if entry := logs.All()[2].ContextMap(); entry["suppressed"] != int64(999) {
			t.Errorf("held back lines are not counted: %v", entry)
		}
	})
}

func TestFailureLogForgets(t *testing.T) {
	l := newFailureLog()
	now := time.Unix(0, 0)
	for i := range 3 * failureKinds {
		now = now.Add(time.Millisecond)
		l.admit(failureKey{origin{site: fmt.Sprint(i)}, "x"}, now)
	}
	if len(l.last) > failureKinds+1 {
		t.Errorf("%d kinds kept", len(l.last))
	}
}

func TestPageSaysNothingAboutWhatIsBehind(t *testing.T) {
	p := New(Options{Logger: zap.NewNop()})
	for accept, kind := range map[string]string{"text/html,*/*": "text/html; charset=utf-8", "application/json": "application/problem+json", "": "text/plain; charset=utf-8"} {
		r := httptest.NewRequest("GET", "https://a.test/secret-path", nil)
		r.Header.Set("Accept", accept)
		r = exchange.With(r, &exchange.Exchange{ID: "0123abc"})
		w := httptest.NewRecorder()
		p.fail(w, r,
			&upstream.Error{Server: "http://10.1.2.3:8080", Stage: upstream.Connect, Err: syscall.ECONNREFUSED})
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

func TestPanicIsA500OrABreakAndIsLogged(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p := New(Options{Logger: zap.New(core)})
	serve := func(action http.HandlerFunc) (w *httptest.ResponseRecorder, thrown any) {
		g := &Generation{hosts: routing.NewHosts[*site](1)}
		if err := g.hosts.Add("a.test", only("a.test", action)); err != nil {
			t.Fatal(err)
		}
		p.Commit(g)
		w = httptest.NewRecorder()
		defer func() { thrown = recover() }()
		p.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
		return w, nil
	}
	w, thrown := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Half", "done")
		panic("oops")
	})
	if thrown != nil || w.Code != 500 || w.Header().Get("X-Half") != "" || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v, thrown %v", w.Code, w.Header(), thrown)
	}
	entry := logs.All()[0].ContextMap()
	if entry["error"] != "panic: oops" || !strings.Contains(fmt.Sprint(entry["stack"]), "failure_test.go") {
		t.Errorf("logged %v", entry)
	}
	if _, thrown = serve(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("oops")
	}); thrown != http.ErrAbortHandler {
		t.Errorf("after the response began: %v", thrown)
	}
	lines := logs.Len()
	if _, thrown = serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); thrown != http.ErrAbortHandler || logs.Len() != lines {
		t.Errorf("an abort: %v, %d lines", thrown, logs.Len()-lines)
	}
}
