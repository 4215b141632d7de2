package proxy

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// stub stands behind the RoundTripper seam and costs next to nothing.
type stub struct{ header http.Header }

func (s stub) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: s.header, ContentLength: 13, Body: io.NopCloser(strings.NewReader("Hello, world!"))}, nil
}

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// only returns a site with one action.
func only(name string, action http.Handler) *site {
	s := &site{name: name, routes: []*route{{handler: action}}}
	s.index()
	return s
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

// BenchmarkForward is the whole path of a request but for the two engines.
func BenchmarkForward(b *testing.B) {
	p := New(Options{Logger: zap.NewNop()})
	g := &Generation{router: newRouter(1)}
	to := stub{http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"13"}, "Date": {"x"}, "Server": {"x"}}}
	if err := g.router.add("a.test", only("a.test", &forward{proxy: p, to: to, tunnels: &tunnels{}})); err != nil {
		b.Fatal(err)
	}
	p.Commit(g)
	r := browserRequest()
	w := &sink{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		p.ServeHTTP(w, r)
	}
}
