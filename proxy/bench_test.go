package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/routing"
	"github.com/sallyport/sallyport/proxy/target"
	"github.com/sallyport/sallyport/proxy/tunnel"
)

// stub stands behind the RoundTripper seam and costs next to nothing.
type stub struct{ header http.Header }

func (s stub) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, ProtoMajor: 1, Header: s.header, ContentLength: 13, Body: io.NopCloser(strings.NewReader("Hello, world!"))}, nil
}

// drainWriter is a ResponseWriter that keeps nothing.
type drainWriter struct{ header http.Header }

func (s *drainWriter) Header() http.Header         { return s.header }
func (s *drainWriter) WriteHeader(int)             {}
func (s *drainWriter) Write(p []byte) (int, error) { return len(p), nil }

// only returns a site with one action.
func only(name string, action http.Handler) *site {
	return &site{name: name, routes: []*route{{handler: action}}, match: routing.NewRoutes(make([]routing.Rule, 1), target.Habits{})}
}

// browserRequest is a request with the fields that a browser sends.
func browserRequest() *http.Request {
	r := httptest.NewRequest("GET", "/assets/app.js?v=3", nil)
	r.Host, r.RemoteAddr = "a.test", "192.0.2.1:55555"
	r.TLS = &tls.ConnectionState{ServerName: "a.test"}
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0", "Accept": "*/*", "Accept-Encoding": "gzip, br", "Accept-Language": "en", "Cookie": "session=0123456789abcdef",
		"Referer": "https://a.test/", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "script", "Connection": "keep-alive",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// answerer is a server on loopback that answers each request with 13 bytes and
// allocates nothing for it, so that what a benchmark counts is the proxy's.
func answerer(t testing.TB) string {
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
				response := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nDate: Mon, 23 Nov 2026 21:00:00 GMT\r\n\r\nHello, world!")
				buffer := make([]byte, 4096)
				for n := 0; ; {
					m, err := c.Read(buffer[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
						n = 0
						if _, err := c.Write(response); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// toOneServer is a proxy whose one site leads to an address, by way of a pool
// and our own engine.
func toOneServer(t testing.TB, address string) *Proxy {
	t.Helper()
	p := New(Options{Logger: zap.NewNop()})
	g, err := p.Prepare(&config.Config{Sites: []config.Site{{Name: "a.test", Action: config.Action{Proxy: address}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Commit(g)
	t.Cleanup(p.Close)
	return p
}

// BenchmarkForwardAndEngine is a small GET from ServeHTTP to a server on
// loopback and back: everything but the server engine in front, which makes the
// request.
func BenchmarkForwardAndEngine(b *testing.B) {
	p := toOneServer(b, answerer(b))
	r := browserRequest()
	w := &drainWriter{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		p.ServeHTTP(w, r)
	}
}

// BenchmarkForward is the whole path of a request but for the two engines.
func BenchmarkForward(b *testing.B) {
	p := New(Options{Logger: zap.NewNop()})
	g := &Generation{hosts: routing.NewHosts[*site](1)}
	to := stub{http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"13"}, "Date": {"x"}, "Server": {"x"}}}
	if err := g.hosts.Add("a.test", only("a.test", &forward{proxy: p, to: to, tunnels: new(tunnel.Set)})); err != nil {
		b.Fatal(err)
	}
	p.Commit(g)
	r := browserRequest()
	w := &drainWriter{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		p.ServeHTTP(w, r)
	}
}

// BenchmarkSite is what routes and middleware cost above the bare path: the
// difference between the two. Both answer by themselves, since what follows the
// chain is the same.
func BenchmarkSite(b *testing.B) {
	for _, c := range []struct {
		name   string
		fields int // that the answer must have
		text   string
	}{
		{"bare", 2, "sites:\n  a.test: {tls: internal, respond: hello}\n"},
		{"ten routes, six middlewares", 6, `
rate_limits:
  all: {key: client_ip, rate: 1000000000/s, burst: 1000000000}
sites:
  a.test:
    tls: internal
    allow: [10.0.0.0/8, 192.0.2.0/24]
    rate_limit: all
    max_body: 1MiB
    security_headers: true
    response_headers: {set: {X-Served-By: sallyport}, remove: [Server]}
    request_headers: {set: {X-Client: "{client_ip}"}, remove: [X-Debug]}
    routes:
      - {path: /login, methods: POST, respond: hello}
      - {path: /users/*/photo, respond: hello}
      - {path: /admin/, client_ip: 10.0.0.0/8, respond: hello}
      - {path: /static/, respond: hello}
      - {path: /api/v1/, respond: hello}
      - {path: /api/v2/, headers: {X-Beta: "*"}, respond: hello}
      - {path: /api/v2/, query: {beta: "1"}, respond: hello}
      - {path: /api/v2/, respond: hello}
      - {path: /assets/, respond: hello}
      - {path: /, respond: hello}
`},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg, problems := config.Parse("sallyport.yaml", []byte(c.text))
			if err := problems.Err(); err != nil {
				b.Fatal(err)
			}
			p := New(Options{Logger: zap.NewNop()})
			g, err := p.Prepare(cfg)
			if err != nil {
				b.Fatal(err)
			}
			p.Commit(g)
			defer p.Close()
			rec := httptest.NewRecorder()
			p.ServeHTTP(rec, browserRequest())
			if rec.Code != 200 || len(rec.Header()) < c.fields {
				b.Fatalf("%d %v", rec.Code, rec.Header())
			}
			r := browserRequest()
			w := &drainWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				p.ServeHTTP(w, r)
			}
		})
	}
}
