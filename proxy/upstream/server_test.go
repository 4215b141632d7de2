package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream"
)

func newServer(t testing.TB, o upstream.Options) *upstream.Server {
	t.Helper()
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	s, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func request(ctx context.Context, method, path string, body io.Reader) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, method, "/", body)
	req.URL = &url.URL{Opaque: path}
	req.Host = "public.test"
	return req
}

func ask(t testing.TB, s *upstream.Server) string {
	t.Helper()
	res, err := s.RoundTrip(request(t.Context(), "GET", "/path", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tell answers with what a server learns about a request.
var tell = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	sni := ""
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	fmt.Fprintf(w, "%s %s %s sni=%s", r.Proto, r.Host, r.RequestURI, sni)
})

func TestEveryKindOfServer(t *testing.T) {
	plain := httptest.NewServer(tell)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(tell)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	h2c := httptest.NewUnstartedServer(tell)
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	defer h2c.Close()
	socket := filepath.Join(t.TempDir(), "app.sock")
	onSocket := httptest.NewUnstartedServer(tell)
	onSocket.Listener.Close()
	var err error
	if onSocket.Listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	onSocket.Start()
	defer onSocket.Close()

	for address, want := range map[string]string{
		plain.URL: "HTTP/1.1 public.test /path sni=",
		strings.Replace(secure.URL, "127.0.0.1", "localhost", 1): "", // the certificate is for another name
		secure.URL:          "HTTP/2.0 public.test /path sni=",
		"h2c" + h2c.URL[4:]: "HTTP/2.0 public.test /path sni=",
		"unix:" + socket:    "HTTP/1.1 public.test /path sni=",
	} {
		s := newServer(t, upstream.Options{Address: address, Roots: roots})
		if want == "" {
			_, err := s.RoundTrip(request(t.Context(), "GET", "/", nil))
			failed, ok := errors.AsType[*upstream.Error](err)
			if _, verify := errors.AsType[*tls.CertificateVerificationError](err); !ok || failed.Stage != upstream.Handshake || !verify {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		if got := ask(t, s); got != want {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestUpgradesGoOverHTTP1(t *testing.T) {
	secure := httptest.NewUnstartedServer(tell)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	s := newServer(t, upstream.Options{Address: secure.URL, Roots: roots})
	req := request(t.Context(), "GET", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "anything")
	res, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 1 {
		t.Errorf("an upgrade went over %s", res.Proto)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	for _, address := range []string{
		"", "api", "api:8080", "ftp://api", "http://", "http://:80", "http://api/path", "http://api?x", "http://api?", "http://u:p@api",
		"http://api:0", "http://api:65536", "http://api:x", "unix:", "unix:relative.sock", "http://a b", "http://api#x", "//api",
	} {
		if _, err := upstream.New(upstream.Options{Address: address, Roots: x509.NewCertPool()}); err == nil {
			t.Errorf("%q was accepted", address)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", address)) {
			t.Errorf("%q: the error does not name it: %v", address, err)
		}
	}
	for _, address := range []string{"http://api", "http://api/", "https://[::1]:8443", "h2c://grpc:9000", "unix:/run/app.sock", "http://under_score"} {
		if _, err := upstream.New(upstream.Options{Address: address, Roots: x509.NewCertPool()}); err != nil {
			t.Error(err)
		}
	}
	if _, err := upstream.New(upstream.Options{Address: "https://api"}); err == nil {
		t.Error("https without roots was accepted")
	}
}

func raw(t testing.TB, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); talk(c) }()
		}
	}()
	return l.Addr().String()
}

func TestFailuresHaveTheirStage(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := l.Addr().String()
	l.Close()
	silent := raw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	hangup := raw(t, func(c net.Conn) { bufio.NewReader(c).ReadString('\n') })
	speaks := func(text string) string {
		return raw(t, func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)); io.WriteString(c, text) })
	}
	for name, c := range map[string]struct {
		o       upstream.Options
		stage   upstream.Stage
		timeout bool
		is      error
	}{
		"refused":      {upstream.Options{Address: "http://" + dead}, upstream.Connect, false, syscall.ECONNREFUSED},
		"no socket":    {upstream.Options{Address: "unix:/nonexistent/x.sock"}, upstream.Connect, false, syscall.ENOENT},
		"silent TLS":   {upstream.Options{Address: "https://" + silent, Roots: x509.NewCertPool(), ConnectTimeout: 50 * time.Millisecond}, upstream.Handshake, true, nil},
		"silent":       {upstream.Options{Address: "http://" + silent, ResponseHeaderTimeout: 50 * time.Millisecond}, upstream.Exchange, true, nil},
		"silent h2c":   {upstream.Options{Address: "h2c://" + silent, ResponseHeaderTimeout: 50 * time.Millisecond}, upstream.Exchange, true, nil},
		"hangs up":     {upstream.Options{Address: "http://" + hangup}, upstream.Exchange, false, nil},
		"not HTTP":     {upstream.Options{Address: "http://" + speaks("SSH-2.0\r\n")}, upstream.Exchange, false, upstream.ErrMalformed},
		"bad status":   {upstream.Options{Address: "http://" + speaks("HTTP/1.1 abc\r\n\r\n")}, upstream.Exchange, false, upstream.ErrMalformed},
		"bad length":   {upstream.Options{Address: "http://" + speaks("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")}, upstream.Exchange, false, upstream.ErrMalformed},
		"two lengths":  {upstream.Options{Address: "http://" + speaks("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")}, upstream.Exchange, false, upstream.ErrMalformed},
		"bad coding":   {upstream.Options{Address: "http://" + speaks("HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n")}, upstream.Exchange, false, upstream.ErrMalformed},
		"bad field":    {upstream.Options{Address: "http://" + speaks("HTTP/1.1 200 OK\r\nno colon\r\n\r\n")}, upstream.Exchange, false, upstream.ErrMalformed},
		"endless head": {upstream.Options{Address: "http://" + speaks("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)), ResponseHeaderBytes: 4096}, upstream.Exchange, false, upstream.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newServer(t, c.o).RoundTrip(request(t.Context(), "GET", "/", nil))
			failed, ok := errors.AsType[*upstream.Error](err)
			if !ok {
				t.Fatalf("%T %v", err, err)
			}
			if failed.Stage != c.stage || failed.Timeout() != c.timeout || failed.Server != c.o.Address || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%+v (timeout %t)", failed, failed.Timeout())
			}
		})
	}
}

func TestTheCallersEndIsNotTheServersFault(t *testing.T) {
	arrived := make(chan struct{})
	s := newServer(t, upstream.Options{Address: "http://" + raw(t, func(c net.Conn) {
		bufio.NewReader(c).ReadString('\n')
		close(arrived)
		io.Copy(io.Discard, c)
	})})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := s.RoundTrip(request(ctx, "GET", "/", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentChangesNothing(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	t.Setenv("SSL_CERT_FILE", "/nonexistent")
	// net/http never asks a proxy for a loopback address, so that only another
	// one of this machine can show the difference.
	server := httptest.NewUnstartedServer(tell)
	server.Listener.Close()
	var err error
	if server.Listener, err = net.Listen("tcp", net.JoinHostPort(ownAddress(t), "0")); err != nil {
		t.Skip(err)
	}
	server.Start()
	defer server.Close()
	control := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if _, err := control.RoundTrip(httptest.NewRequest("GET", server.URL, nil)); err == nil {
		t.Fatal("control: net/http's default does not notice the proxy variables either")
	}
	req := request(t.Context(), "GET", "", nil)
	req.URL = &url.URL{Path: "/path"} // for a proxy it would become http://address/path
	res, err := newServer(t, upstream.Options{Address: server.URL}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "HTTP/1.1 public.test /path sni=" {
		t.Errorf("got %q", b)
	}
}

// ownAddress returns an address of this machine that is not loopback.
func ownAddress(t testing.TB) string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Skip(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has only loopback addresses")
	return ""
}

func TestClosedServerKeepsNoConnection(t *testing.T) {
	closed := make(chan struct{}, 16)
	server := httptest.NewUnstartedServer(tell)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	s := newServer(t, upstream.Options{Address: server.URL})
	ask(t, s)
	await := func(what string) {
		t.Helper()
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatal(what)
		}
	}
	s.Close()
	await("an idle connection survived Close")
	ask(t, s)
	await("a connection was kept after Close")
	s.Reopen()
	ask(t, s)
	ask(t, s)
	if len(closed) > 0 {
		t.Error("no connection is kept after Reopen")
	}
}

func TestOptionsAreAKey(t *testing.T) {
	o := upstream.Options{Address: "http://a", IdleTimeout: time.Second}
	same, other := o, o
	other.IdleTimeout++
	keys := map[upstream.Options]bool{o: true}
	if !keys[same] || keys[other] {
		t.Error("equal options must be the same key, others not")
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello, world!") }))
	defer server.Close()
	s := newServer(b, upstream.Options{Address: server.URL})
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.RoundTrip(request(b.Context(), "GET", "/", nil))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}
