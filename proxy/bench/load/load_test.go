package load

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// server answers as a proxy with its origin would, and counts.
type server struct {
	*httptest.Server
	requests, bytes, http2, resumed atomic.Int64
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		s.requests.Add(1)
		s.bytes.Add(n)
		if r.ProtoMajor == 2 {
			s.http2.Add(1)
		}
		if r.TLS.DidResume {
			s.resumed.Add(1)
		}
		switch r.URL.Path {
		case "/13b":
			_, _ = io.WriteString(w, "Hello, world!")
		case "/chunks":
			for range 3 {
				_, _ = io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/websocket":
			echo(w, r)
		case "/close":
			panic(http.ErrAbortHandler)
		default:
			http.Error(w, "no", http.StatusBadGateway)
		}
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, content, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, content) != nil {
			return
		}
	}
}

// plan is a short one for a server.
func (s *server) plan(path string, size int64) Plan {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Plan{Address: s.Listener.Addr().String(), Names: []string{"example.com"}, Roots: roots, Method: "GET", Path: path,
		Size: size, Connections: 3, Streams: 2, Duration: 10 * time.Second, Most: 60}
}

func run(t *testing.T, open func(context.Context, Plan) (Session, error), plan Plan) Result {
	t.Helper()
	session, err := open(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	result, err := session.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestGenerators(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(context.Context, Plan) (Session, error)
		path string
		size int64
		body int
	}{
		{"HTTP/1.1", HTTP1, "/13b", 13, 0},
		{"HTTP/1.1 in chunks", HTTP1, "/chunks", 3000, 0},
		{"HTTP/1.1 upload", HTTP1, "/13b", 13, 100 << 10},
		{"HTTP/2", HTTP2, "/13b", 13, 0},
		{"HTTP/2 upload", HTTP2, "/13b", 13, 100 << 10},
		{"handshakes", Handshakes, "/13b", 13, 0},
		{"WebSockets", WebSockets, "/websocket", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			plan := s.plan(test.path, test.size)
			plan.Body = bytes.Repeat([]byte("x"), test.body)
			result := run(t, test.open, plan)
			if result.Requests != 60 || result.Failures() != "" || result.P50 <= 0 || result.P99 < result.P50 {
				t.Errorf("%+v", result)
			}
			if test.path == "/websocket" {
				return
			}
			if got := s.requests.Load(); got != 63 { // one each to open
				t.Errorf("the server saw %d requests", got)
			}
			if got := s.bytes.Load(); got != int64(63*test.body) {
				t.Errorf("the server saw %d bytes", got)
			}
			if got := s.http2.Load(); (got == 63) != strings.HasPrefix(test.name, "HTTP/2") {
				t.Errorf("%d requests by HTTP/2", got)
			}
		})
	}
}

func TestHandshakesResumeOnlyWhenAsked(t *testing.T) {
	for _, resume := range []bool{false, true} {
		s := start(t)
		plan := s.plan("/13b", 13)
		plan.Resume = resume
		result := run(t, Handshakes, plan)
		if want := map[bool]int{false: 0, true: 60}[resume]; result.Resumed != want || s.resumed.Load() != int64(want) {
			t.Errorf("resume %t: %d, the server says %d", resume, result.Resumed, s.resumed.Load())
		}
	}
}

// TestFailuresAreNotCountedAsRequests makes the server fail after the session
// was opened, so that it is Run which meets the failures.
func TestFailuresAreNotCountedAsRequests(t *testing.T) {
	for name, test := range map[string]struct {
		open       func(context.Context, Plan) (Session, error)
		path, want string
		size       int64
	}{
		"HTTP/1.1 status":     {HTTP1, "/other", "60 x status 502", 13},
		"HTTP/1.1 length":     {HTTP1, "/13b", "60 x wrong length", 14},
		"HTTP/1.1 disconnect": {HTTP1, "/close", "60 x connection closed", 13},
		"HTTP/2 status":       {HTTP2, "/other", "60 x status 502", 13},
		"handshakes status":   {Handshakes, "/other", "60 x status 502", 13},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			plan := s.plan("/13b", 13)
			session, err := test.open(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			switch one := session.(type) {
			case *http1:
				for _, c := range one.conns {
					c.request = bytes.Replace(c.request, []byte("/13b"), []byte(test.path), 1)
					c.size = test.size
				}
				one.plan.Path, one.plan.Size = test.path, test.size
			case *http2:
				one.plan.Path, one.plan.Size = test.path, test.size
			case *handshakes:
				one.plan.Path, one.plan.Size = test.path, test.size
			}
			result, err := session.Run(t.Context())
			if err != nil || result.Requests != 0 || result.Failures() != test.want {
				t.Errorf("%v requests, %q, %v", result.Requests, result.Failures(), err)
			}
		})
	}
}

func TestOpeningFailsWithTheReason(t *testing.T) {
	s := start(t)
	if _, err := HTTP1(t.Context(), s.plan("/other", 13)); !errors.Is(err, errStatus(502)) {
		t.Error(err)
	}
	plan := s.plan("/13b", 13)
	plan.Roots = x509.NewCertPool()
	if _, err := HTTP2(t.Context(), plan); err == nil {
		t.Error("an unknown certificate passed")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	for name, open := range map[string]func(context.Context, Plan) (Session, error){"HTTP1": HTTP1, "HTTP2": HTTP2, "Handshakes": Handshakes} {
		s := start(t)
		plan := s.plan("/13b", 13)
		plan.Most, plan.Duration = 0, time.Hour
		session, err := open(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		before := s.requests.Load()
		ended := make(chan error, 1)
		go func() {
			_, err := session.Run(ctx)
			ended <- err
		}()
		for s.requests.Load() < before+10 {
			<-time.After(time.Millisecond)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		session.Close()
	}
}
