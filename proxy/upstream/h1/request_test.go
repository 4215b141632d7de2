package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// head returns what an engine writes before the body.
func head(t *testing.T, req *http.Request) (string, error) {
	t.Helper()
	var o outgoing
	if req.Body != nil && req.Body != http.NoBody {
		o.body = req.Body
	}
	err := o.prepare(req, false)
	return string(o.wire), err
}

func TestNothingSplitsARequest(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"method":           func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX: y\r\n" },
		"method space":     func(r *http.Request) { r.Method = "G ET" },
		"CONNECT":          func(r *http.Request) { r.Method = "CONNECT" },
		"opaque CR":        func(r *http.Request) { r.URL = &url.URL{Opaque: "/a\r\nX: y"} },
		"opaque LF":        func(r *http.Request) { r.URL = &url.URL{Opaque: "/a\nX: y"} },
		"opaque space":     func(r *http.Request) { r.URL = &url.URL{Opaque: "/a HTTP/1.1"} },
		"query LF":         func(r *http.Request) { r.URL = &url.URL{Path: "/", RawQuery: "a\nb"} },
		"query space":      func(r *http.Request) { r.URL = &url.URL{Path: "/", RawQuery: "a b"} },
		"query NUL":        func(r *http.Request) { r.URL = &url.URL{Path: "/", RawQuery: "a\x00"} },
		"no slash":         func(r *http.Request) { r.URL = &url.URL{Path: "a"} },
		"opaque, no slash": func(r *http.Request) { r.URL = &url.URL{Opaque: "a"} },
		"no URL":           func(r *http.Request) { r.URL = nil },
		"host CR":          func(r *http.Request) { r.Host = "a\rb" },
		"host LF":          func(r *http.Request) { r.Host = "a\nb" },
		"host space":       func(r *http.Request) { r.Host = "a b" },
		"host slash":       func(r *http.Request) { r.Host = "a/b" },
		"host user":        func(r *http.Request) { r.Host = "a@b" },
		"host not ASCII":   func(r *http.Request) { r.Host = "caf\u00e9" },
		"name colon":       func(r *http.Request) { r.Header["A:"] = []string{"b"} },
		"name space":       func(r *http.Request) { r.Header["A b"] = []string{"b"} },
		"name LF":          func(r *http.Request) { r.Header["A\nB"] = []string{"b"} },
		"name empty":       func(r *http.Request) { r.Header[""] = []string{"b"} },
		"value CR":         func(r *http.Request) { r.Header["A"] = []string{"b\rc"} },
		"value LF":         func(r *http.Request) { r.Header["A"] = []string{"b\nc"} },
		"value CRLF":       func(r *http.Request) { r.Header["A"] = []string{"b\r\nc: d"} },
		"value NUL":        func(r *http.Request) { r.Header["A"] = []string{"b\x00"} },
		"value escape":     func(r *http.Request) { r.Header["A"] = []string{"\x1b"} },
		"second value":     func(r *http.Request) { r.Header["A"] = []string{"fine", "b\nc"} },
		"value ends in LF": func(r *http.Request) { r.Header["A"] = []string{"b\n"} },
	} {
		req := get(t)
		change(req)
		_, err := head(t, req)
		if _, ok := errors.AsType[*RequestError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, trailer := range []http.Header{{"A": {"b\r\nc"}}, {"A\r\nB": {"c"}}, {"": {"c"}}} {
		if b, err := appendTrailers(nil, trailer); err == nil {
			t.Errorf("trailer %v: %q", trailer, b)
		}
	}
}

// TestOnlyTheEngineFrames: whatever the caller's header says.
func TestOnlyTheEngineFrames(t *testing.T) {
	req := post(t, "body")
	for _, name := range []string{"Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING", "Host", "hOST", "Trailer"} {
		req.Header[name] = []string{"evil"}
	}
	if wire, err := head(t, req); err != nil || wire != "POST /path?q HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\n" {
		t.Errorf("%q, %v", wire, err)
	}
}

func TestTargets(t *testing.T) {
	for want, u := range map[string]*url.URL{
		"/":           {},
		"/a%20b":      {Path: "/a b"},
		"/a%2Fb":      {Path: "/a/b", RawPath: "/a%2Fb"},
		"/a/../b?":    {Opaque: "/a/../b", ForceQuery: true},
		"/x?a=b&c":    {Path: "/x", RawQuery: "a=b&c"},
		"*":           {Path: "*"},
		"http://b/c":  {Scheme: "http", Opaque: "//b/c"},
		"/caf\u00e9?": {Opaque: "/caf\u00e9", ForceQuery: true},
	} {
		req := get(t)
		req.URL = u
		wire, err := head(t, req)
		if target := strings.Split(wire, " ")[1:2]; err != nil || target[0] != want {
			t.Errorf("want %q: %q, %v", want, wire, err)
		}
		if theirs := u.RequestURI(); theirs != want {
			t.Errorf("want %q: net/url says %q", want, theirs)
		}
	}
}

// received is what a server makes of a request.
type received struct {
	method, target, host string
	header, trailer      http.Header
	length               int64
	codings              []string
	body                 string
}

// capture sends a request to a server and returns what comes there.
func capture(t *testing.T, build func() *http.Request, through func(dial func(context.Context) (net.Conn, error)) http.RoundTripper) received {
	t.Helper()
	got := new(bytes.Buffer)
	done := make(chan struct{})
	o := serve(t, func(c *net.TCPConn, _ *bufio.Reader, _ int) {
		defer close(done)
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, got)))
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	res, err := through(o.dial).RoundTrip(build())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-done
	req, err := http.ReadRequest(bufio.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return received{req.Method, req.RequestURI, req.Host, req.Header, req.Trailer, req.ContentLength, req.TransferEncoding, string(body)}
}

// TestDifferentialRequests compares what a server gets from the two engines.
// The one intended difference is that no User-Agent is invented.
func TestDifferentialRequests(t *testing.T) {
	requests := map[string]func() *http.Request{
		"GET": func() *http.Request { return get(t) },
		"fields": func() *http.Request {
			r := get(t)
			r.Header = http.Header{"A": {"1", "2"}, "lower": {" trimmed\t"}, "Empty": {""}, "None": nil, "Te": {"trailers"}, "User-Agent": {"x"}, "X-Utf": {"caf\u00e9"}}
			return r
		},
		"no agent": func() *http.Request { r := get(t); r.Header["User-Agent"] = nil; return r },
		"close":    func() *http.Request { r := get(t); r.Close = true; return r },
		"close twice": func() *http.Request {
			r := get(t)
			r.Close = true
			r.Header.Set("Connection", "close")
			return r
		},
		"upgrade":    func() *http.Request { return asking(get(t)) },
		"host":       func() *http.Request { r := get(t); r.Host = "other.test:81"; return r },
		"zone":       func() *http.Request { r := get(t); r.Host = "[fe80::1%25eth0]:80"; return r },
		"opaque":     func() *http.Request { r := get(t); r.URL.Opaque = "/a//b/%2e"; r.URL.RawQuery = "x"; return r },
		"empty POST": func() *http.Request { return newRequest(t.Context(), "POST", nil) },
		"empty PUT":  func() *http.Request { return newRequest(t.Context(), "PUT", http.NoBody) },
		"DELETE":     func() *http.Request { return newRequest(t.Context(), "DELETE", nil) },
		"small":      func() *http.Request { return post(t, "small") },
		"large":      func() *http.Request { return post(t, strings.Repeat("large", 20_000)) },
		"at hand":    func() *http.Request { return atHand(t, "at hand") },
		"in memory":  func() *http.Request { return newRequest(t.Context(), "PUT", strings.NewReader("in memory")) },
		"GET, body":  func() *http.Request { r := post(t, "body"); r.Method = "GET"; return r },
		"chunked":    func() *http.Request { return newRequest(t.Context(), "POST", opaque{strings.NewReader("chunked")}) },
		"big chunks": func() *http.Request {
			return newRequest(t.Context(), "PUT", opaque{strings.NewReader(strings.Repeat("x", 200_000))})
		},
		"no chunks": func() *http.Request { return newRequest(t.Context(), "POST", opaque{strings.NewReader("")}) },
		"asked for": func() *http.Request { r := post(t, "x"); r.TransferEncoding = []string{"chunked"}; return r },
		"trailers": func() *http.Request {
			r := newRequest(t.Context(), "POST", opaque{strings.NewReader("x")})
			r.Trailer = http.Header{"X-A": {"1"}, "X-B": {"2", "3"}}
			return r
		},
		"useless trailers": func() *http.Request { r := post(t, "x"); r.Trailer = http.Header{"X-A": {"1"}}; return r },
		"no method":        func() *http.Request { r := get(t); r.Method = ""; return r },
	}
	for name, build := range requests {
		ours := capture(t, build, func(dial func(context.Context) (net.Conn, error)) http.RoundTripper {
			return engine(t, Options{Dial: dial})
		})
		theirs := capture(t, build, func(dial func(context.Context) (net.Conn, error)) http.RoundTripper {
			return engines(t, dial)["nethttp"]
		})
		if theirs.header.Get("User-Agent") == "Go-http-client/1.1" {
			delete(theirs.header, "User-Agent")
		}
		if !maps.EqualFunc(ours.header, theirs.header, slices.Equal) || !maps.EqualFunc(ours.trailer, theirs.trailer, slices.Equal) {
			t.Errorf("%s:\nours:   %v %v\ntheirs: %v %v", name, ours.header, ours.trailer, theirs.header, theirs.trailer)
		}
		ours.header, theirs.header, ours.trailer, theirs.trailer = nil, nil, nil, nil
		if fmt.Sprint(ours) != fmt.Sprint(theirs) {
			t.Errorf("%s:\nours:   %.200v\ntheirs: %.200v", name, ours, theirs)
		}
	}
}

func TestSmallRequestIsOneWrite(t *testing.T) {
	for _, req := range []*http.Request{get(t), atHand(t, strings.Repeat("x", 10_000)), newRequest(t.Context(), "POST", strings.NewReader("x"))} {
		var writes int
		o := serve(t, answering(okResponse))
		e := engine(t, Options{Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := o.dial(ctx)
			return &counting{Conn: c, writes: &writes}, err
		}})
		fetch(t, e, req)
		if writes != 1 {
			t.Errorf("%s: %d writes", req.Method, writes)
		}
	}
}

type counting struct {
	net.Conn
	writes *int
}

func (c *counting) Write(p []byte) (int, error) {
	*c.writes++
	return c.Conn.Write(p)
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	defer server.Close()
	dials := 0
	e := engine(t, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		dials++
		d := tls.Dialer{Config: server.Client().Transport.(*http.Transport).TLSClientConfig}
		return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	for _, n := range []int{0, 10, 300_000} {
		for range 3 {
			res, body := fetch(t, e, post(t, strings.Repeat("x", n)))
			if len(body) != n || res.TLS == nil || !res.TLS.HandshakeComplete {
				t.Errorf("got %d bytes, TLS %v", len(body), res.TLS)
			}
		}
	}
	if dials != 1 {
		t.Errorf("%d connections", dials)
	}
	server.CloseClientConnections()
	eventually(t, "the close to be seen", func() bool { return !e.pool.idle[0].quiet() })
	if _, body := fetch(t, e, post(t, "once")); body != "once" || dials != 2 {
		t.Errorf("after the server closed: %q, %d connections", body, dials)
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	e := engine(t, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}})
	for range 2 {
		if _, body := fetch(t, e, get(t)); body != "app.test" {
			t.Errorf("got %q", body)
		}
	}
	if e.pool.count() != 1 || e.pool.idle[0].socket == nil {
		t.Error("the connection is not kept, or cannot be looked at")
	}
}
