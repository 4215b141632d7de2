package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/listen"
	"github.com/sallyport/sallyport/proxy/middleware/cidr"
)

// world is a proxy on real sockets, with TLS, and what a test needs to talk to
// it.
type world struct {
	t           testing.TB
	proxy       *proxy.Proxy
	https       string // address
	http        string
	roots       *x509.CertPool
	certificate *tls.Certificate
	logs        *observer.ObservedLogs
	stop        func() // graceful, waits
}

// limits are the defaults of the configuration language, with times short
// enough for tests of what happens when they run out.
func limits() config.Limits {
	return config.Limits{
		RequestHeaderBytes:      64 << 10,
		RequestHeaderCount:      128,
		URILength:               16 << 10,
		MinRate:                 512,
		MinRateGrace:            30 * time.Second,
		UpgradedIdleTimeout:     time.Hour,
		UpstreamBodyTimeout:     5 * time.Minute,
		RequestHeaderTimeout:    10 * time.Second,
		HandshakeTimeout:        10 * time.Second,
		IdleTimeout:             time.Minute,
		ConnectTimeout:          5 * time.Second,
		ResponseHeaderTimeout:   30 * time.Second,
		ResponseHeaderBytes:     256 << 10,
		UpstreamIdleTimeout:     time.Minute,
		UpstreamIdleConnections: 64,
		HTTP2Streams:            128,
		ShutdownTimeout:         10 * time.Second,
	}
}

// sites makes a configuration: pairs of "name alias ..." and server.
func sites(pairs ...string) *config.Config {
	cfg := &config.Config{Limits: limits()}
	for i := 0; i < len(pairs); i += 2 {
		names := strings.Fields(pairs[i])
		cfg.Sites = append(cfg.Sites, config.Site{Name: names[0], Aliases: names[1:], Action: config.Action{Proxy: pairs[i+1]}})
	}
	return cfg
}

// impatient makes requests to absent servers fail at once.
func impatient(cfg *config.Config) *config.Config {
	return change(cfg, func(u *config.Upstream) { u.Hold = 0 })
}

// change turns the servers of sites into upstreams, each as by default but for
// what adjust makes of it. Several servers may stand in one text.
func change(cfg *config.Config, adjust func(*config.Upstream)) *config.Config {
	for _, site := range cfg.Sites {
		u := cfg.Upstream(site.Proxy)
		u.Name = site.Proxy
		one := u.Servers[0]
		u.Servers = nil
		for address := range strings.FieldsSeq(site.Proxy) {
			one.URL = address
			u.Servers = append(u.Servers, one)
		}
		adjust(&u)
		cfg.Upstreams = append(cfg.Upstreams, u)
	}
	return cfg
}

// balancers is who begins connections with a PROXY preamble.
func balancers(cfg *config.Config) func(netip.Addr) bool {
	networks := config.Networks(cfg.Listen.ProxyProtocol)
	if len(networks) == 0 {
		return nil
	}
	return cidr.Of(networks...).Contains
}

// start serves cfg until the test ends.
func start(t testing.TB, cfg *config.Config) *world {
	t.Helper()
	return startObserved(t, cfg)
}

// startObserved is start with observers.
func startObserved(t testing.TB, cfg *config.Config, observers ...proxy.Observer) *world {
	t.Helper()
	return startWith(t, cfg, proxy.Options{Observers: observers})
}

// startWith is start with options of the proxy's.
func startWith(t testing.TB, cfg *config.Config, o proxy.Options) *world {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	w := &world{t: t, logs: logs}
	certificate, roots := selfSigned(t)
	w.roots, w.certificate = roots, certificate
	logger := zap.New(core)
	o.Logger, o.Roots = logger, roots
	w.proxy = proxy.New(o)
	if cfg != nil {
		w.commit(cfg)
	} else {
		cfg = sites()
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := listen.Open(ctx, listen.Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, HTTP3: cfg.Listen.HTTP3,
		Handler: w.proxy, Redirect: w.proxy.RedirectHandler(),
		ClientAuth:            w.proxy.ClientAuth,
		Balancers:             balancers(cfg),
		GetCertificate:        func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil },
		Connections:           cfg.Limits.Connections,
		ConnectionsPerAddress: cfg.Limits.ConnectionsPerAddress,
		MinRate:               int(cfg.Limits.MinRate),
		MinRateGrace:          cfg.Limits.MinRateGrace,
		RequestHeaderBytes:    int(cfg.Limits.RequestHeaderBytes),
		RequestHeaderCount:    cfg.Limits.RequestHeaderCount,
		URILength:             int(cfg.Limits.URILength),
		RequestHeaderTimeout:  cfg.Limits.RequestHeaderTimeout,
		HandshakeTimeout:      cfg.Limits.HandshakeTimeout,
		IdleTimeout:           cfg.Limits.IdleTimeout,
		HTTP2Streams:          cfg.Limits.HTTP2Streams,
		ShutdownTimeout:       cfg.Limits.ShutdownTimeout,
		Part:                  w.proxy.Part,
		Logger:                logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, secure := server.Addrs()
	w.http, w.https = plain[0].String(), secure[0].String()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		w.proxy.Close()
	}
	t.Cleanup(w.stop)
	return w
}

func (w *world) commit(cfg *config.Config) {
	w.t.Helper()
	g, err := w.proxy.Prepare(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Commit(g)
}

// client returns an HTTP/1.1 or HTTP/2 client for which every name leads to
// the proxy.
func (w *world) client(h2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := w.https
			if strings.HasSuffix(addr, ":80") {
				to = w.http
			}
			var d net.Dialer
			return d.DialContext(ctx, network, to)
		},
		TLSClientConfig:       &tls.Config{RootCAs: w.roots},
		Protocols:             &protocols,
		DisableCompression:    true,
		ExpectContinueTimeout: 30 * time.Second,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dial returns a TLS connection for speaking HTTP/1.1 by hand; no server name
// is sent if sni is empty.
func (w *world) dial(sni string) *tls.Conn {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.https, &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// say sends raw text on a new connection and returns the connection's reader.
func (w *world) say(sni, text string) *bufio.Reader {
	w.t.Helper()
	c := w.dial(sni)
	write(w.t, c, text)
	return bufio.NewReader(c)
}

func write(t testing.TB, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one response.
func answer(t testing.TB, r *bufio.Reader, method string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	return res
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body: %v (after %q)", err, b)
	}
	return string(b)
}

// backend is an HTTP/1.1 server behind the proxy.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// rawBackend is a server that speaks on each connection as the test says.
func rawBackend(t testing.TB, talk func(net.Conn, *bufio.Reader)) string {
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
			go func() {
				defer c.Close()
				talk(c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// wait fails the test if nothing comes in time.
func wait[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// eventually polls for what has no event to wait for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// logged waits for a failure with this cause and returns its fields.
func (w *world) logged(cause string) map[string]any {
	w.t.Helper()
	var fields map[string]any
	eventually(w.t, "a log line with cause "+cause, func() bool {
		for _, e := range w.logs.FilterMessage("request failed").All() {
			if f := e.ContextMap(); f["cause"] == cause {
				fields = f
				return true
			}
		}
		return false
	})
	return fields
}

// selfSigned makes a certificate for every name that tests use.
func selfSigned(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames:    []string{"a.test", "b.test", "alias.test", "*.apps.test", "*.test", "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}
