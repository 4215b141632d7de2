package listen

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func certificate(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type running struct {
	*Server
	http, https string
	logs        *observer.ObservedLogs
	stop        func()
}

func run(t testing.TB, o Options, h http.HandlerFunc) *running {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	c := certificate(t)
	o.Logger, o.Handler, o.Redirect = zap.New(core), h, h
	o.HTTP, o.HTTPS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	if o.GetCertificate == nil {
		o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = 10 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	plain, secure := s.Addrs()
	r := &running{Server: s, http: plain[0].String(), https: secure[0].String(), logs: logs}
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(r.stop)
	return r
}

func ok(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }

func (r *running) secure(t testing.TB, config *tls.Config) *tls.Conn {
	t.Helper()
	config.InsecureSkipVerify = true
	c, err := tls.Dial("tcp", r.https, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBothProtocolsAndTLSVersions(t *testing.T) {
	r := run(t, Options{}, ok)
	for version, want := range map[uint16]string{tls.VersionTLS11: "", tls.VersionTLS12: "h2", tls.VersionTLS13: "h2"} {
		c, err := tls.Dial("tcp", r.https, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}})
		if want == "" {
			if err == nil {
				t.Errorf("version %x was accepted", version)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("version %x: protocol %q", version, got)
		}
		c.Close()
	}
	var h2 http.Protocols
	h2.SetHTTP2(true)
	for _, protocols := range []*http.Protocols{nil, &h2} {
		client := &http.Client{Transport: &http.Transport{Protocols: protocols, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		res, err := client.Get("https://" + r.https)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := map[bool]string{true: "HTTP/1.1", false: "HTTP/2.0"}[protocols == nil]; string(b) != want {
			t.Errorf("got %s, want %s", b, want)
		}
	}
}

func TestSessionsAreResumed(t *testing.T) {
	r := run(t, Options{}, ok)
	config := &tls.Config{ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		c := r.secure(t, config)
		if c.ConnectionState().DidResume != (i > 0) {
			t.Errorf("connection %d resumed: %t", i, c.ConnectionState().DidResume)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		http.ReadResponse(bufio.NewReader(c), nil) // tickets come with the first bytes
		c.Close()
	}
}

func TestHandshakeHasItsOwnLimit(t *testing.T) {
	r := run(t, Options{HandshakeTimeout: 50 * time.Millisecond}, ok)
	silent, err := net.Dial("tcp", r.https)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a client that says nothing: %v", err)
	}
	// The limit is for the handshake alone.
	c := r.secure(t, &tls.Config{})
	time.AfterFunc(100*time.Millisecond, func() { io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") })
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
		t.Errorf("a request after the handshake's limit: %v", err)
	}
}

func TestSlowHeadIsCut(t *testing.T) {
	r := run(t, Options{RequestHeaderTimeout: 50 * time.Millisecond}, ok)
	c := r.secure(t, &tls.Config{})
	io.WriteString(c, "GET / HTTP/1.1\r\n")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half a head is waited for: %q", b)
	}
}

func TestPlainHTTPOnTheHTTPSPort(t *testing.T) {
	r := run(t, Options{}, ok)
	c, err := net.Dial("tcp", r.https)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 400 {
		t.Errorf("%v %v", res, err)
	}
}

func TestHandshakeFailuresDoNotFloodTheLog(t *testing.T) {
	r := run(t, Options{}, ok)
	for range 200 {
		c, err := net.Dial("tcp", r.https)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "not TLS at all")
		io.Copy(io.Discard, c)
		c.Close()
	}
	r.stop()
	lines := r.logs.FilterMessage("TLS handshake failed")
	if n := lines.Len(); n == 0 || n > 100 {
		t.Errorf("%d lines for 200 failures", n)
	}
	if lines.FilterLevelExact(zapcore.DebugLevel).Len() != lines.Len() {
		t.Error("above debug level")
	}
}

func TestAllSocketsOrNone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wanted := free.Addr().String()
	free.Close()
	o := Options{
		HTTP: []string{wanted}, HTTPS: []string{l.Addr().String()}, Redirect: http.NotFoundHandler(), Handler: http.NotFoundHandler(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }, Logger: zap.NewNop(),
	}
	_, err = Open(t.Context(), o)
	failed, is := errors.AsType[*Error](err)
	if !is || failed.Address != l.Addr().String() || !errors.Is(err, syscall.EADDRINUSE) ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	again, err := net.Listen("tcp", wanted)
	if err != nil {
		t.Fatalf("the first socket was left open: %v", err)
	}
	again.Close()
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.EACCES:        "CAP_NET_BIND_SERVICE",
		syscall.EADDRNOTAVAIL: "no network interface",
		io.EOF:                "",
	} {
		err := &Error{":443", cause}
		if err.Hint() != "" != (want != "") || !strings.Contains(err.Hint(), want) || !strings.Contains(err.Error(), ":443") {
			t.Errorf("%v: %v", cause, err)
		}
	}
}

// failing is a listener that fails as one does without file descriptors.
type failing struct {
	net.Listener
	failures atomic.Int64
}

func (f *failing) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	server, client := net.Pipe()
	client.Close()
	return server, nil
}

func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }
func (f *failing) Close() error   { return nil }

func TestAcceptSurvivesWithoutSpinning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		l := &failing{}
		l.failures.Store(20)
		a := newAcceptor(l, newTable(newCaps(0, 0)), nil, zap.New(core))
		began := time.Now()
		c, err := a.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if waited := time.Since(began); waited < 10*time.Second {
			t.Errorf("20 failures took %v", waited)
		}
		if entry := logs.All()[0]; entry.Level != zapcore.ErrorLevel || !strings.Contains(entry.ContextMap()["hint"].(string), "open files") {
			t.Errorf("logged %v", entry)
		}
		l.failures.Store(1 << 40)
		time.AfterFunc(time.Minute, func() { a.Close() })
		if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestStopDoesNotWaitForSilentConnections(t *testing.T) {
	r := run(t, Options{ShutdownTimeout: time.Hour, IdleTimeout: time.Hour, RequestHeaderTimeout: time.Hour, HandshakeTimeout: time.Hour}, ok)
	halfway, err := net.Dial("tcp", r.https) // in its handshake
	if err != nil {
		t.Fatal(err)
	}
	defer halfway.Close()
	r.secure(t, &tls.Config{}) // after its handshake
	if c, err := net.Dial("tcp", r.http); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close() // plain, silent
	}
	used := r.secure(t, &tls.Config{}) // between two requests
	io.WriteString(used, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(used), nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.stop()
	if waited := time.Since(began); waited > 4*time.Second { // net/http alone takes 5 for a new connection
		t.Errorf("stopping took %v", waited)
	}
}

// stopping waits until the server has begun to stop and waits for something.
func (r *running) stopping() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.logs.FilterMessageSnippet("stopping").Len() == 0 {
		<-tick.C
	}
}

func TestStopWaitsForUpgradedConnectionsUpToTheLimit(t *testing.T) {
	for name, limit := range map[string]time.Duration{"in time": time.Hour, "too late": 30 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			taken, released := make(chan struct{}), make(chan struct{})
			r := run(t, Options{ShutdownTimeout: limit}, func(w http.ResponseWriter, _ *http.Request) {
				defer close(released)
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				close(taken)
				io.Copy(io.Discard, c)
			})
			c := r.secure(t, &tls.Config{})
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
			<-taken
			want := 1
			if limit == time.Hour {
				want = 0
				go func() { r.stopping(); c.Close() }()
			}
			r.stop()
			<-released
			cut := r.logs.FilterMessageSnippet("were cut").All()
			if len(cut) != want || want == 1 && cut[0].ContextMap()["connections"] != int64(1) {
				t.Errorf("logged %v", cut)
			}
		})
	}
}

func TestCloseWorksWithoutRunAndEndsRun(t *testing.T) {
	o := Options{HTTP: []string{"127.0.0.1:0"}, Redirect: http.NotFoundHandler(), Logger: zap.NewNop()}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	r := run(t, Options{ShutdownTimeout: time.Hour}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := r.secure(t, &tls.Config{})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	r.Close()
	r.stop()
}

func TestRequestsOutliveTheContextOfRun(t *testing.T) {
	arrived, cancelled := make(chan struct{}), make(chan bool, 1)
	finish := make(chan struct{})
	r := run(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		cancelled <- r.Context().Err() != nil
	})
	c := r.secure(t, &tls.Config{})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	<-arrived
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	r.stopping()
	close(finish)
	if <-cancelled {
		t.Error("a stop cancelled a request")
	}
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
		t.Errorf("%v", err)
	}
	<-stopped
}
