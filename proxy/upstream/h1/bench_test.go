package h1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// plainServer is a server as cheap as can be, so that the engines are what is
// measured: it answers each request with the same bytes.
func plainServer(tb testing.TB, request int, response []byte) func(context.Context) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					body := -1
					for got := 0; body < 0 || got < body+request; {
						n, err := c.Read(buf[got:])
						if err != nil {
							return
						}
						got += n
						if i := bytes.Index(buf[:got], []byte("\r\n\r\n")); i >= 0 {
							body = i + 4
						}
					}
					if _, err := c.Write(response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// engines returns ours and net/http's over the same dialer.
func engines(tb testing.TB, dial func(context.Context) (net.Conn, error)) map[string]http.RoundTripper {
	ours := New(Options{Dial: dial, IdleTimeout: 1 << 40, ResponseHeaderTimeout: 1 << 40})
	tb.Cleanup(ours.Close)
	theirs := &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression:    true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       1 << 40,
		ResponseHeaderTimeout: 1 << 40,
	}
	tb.Cleanup(theirs.CloseIdleConnections)
	return map[string]http.RoundTripper{"h1": ours, "nethttp": theirs}
}

const typicalHead = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 19:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n" +
	"Last-Modified: Mon, 23 Nov 2026 18:00:00 GMT\r\nETag: \"5f3e-1\"\r\nCache-Control: max-age=60\r\nVary: Accept-Encoding\r\n"

func typicalRequest(ctx context.Context, method string, body []byte) *http.Request {
	var r io.Reader
	if body != nil {
		r = opaque{bytes.NewReader(body)}
	}
	req, _ := http.NewRequestWithContext(ctx, method, "http://app.test/some/path?q=1", r)
	req.ContentLength = int64(len(body))
	for name, value := range map[string]string{
		"User-Agent": "curl/8", "Accept": "*/*", "Accept-Encoding": "gzip, br", "X-Forwarded-For": "192.0.2.1",
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.test", "X-Request-Id": "0123456789abcdef",
	} {
		req.Header[name] = []string{value}
	}
	return req
}

func BenchmarkRoundTrip(b *testing.B) {
	chunked := func(n, size int) string {
		var s strings.Builder
		for ; n > 0; n -= size {
			fmt.Fprintf(&s, "%x\r\n%s\r\n", min(n, size), strings.Repeat("x", min(n, size)))
		}
		return s.String() + "0\r\n\r\n"
	}
	for _, shape := range []struct {
		name     string
		method   string
		request  int
		response string
	}{
		{"get 13 B", "GET", 0, typicalHead + "Content-Length: 13\r\n\r\nHello, world!"},
		{"get 1 KB", "GET", 0, typicalHead + "Content-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)},
		{"get 100 KB", "GET", 0, typicalHead + "Content-Length: 102400\r\n\r\n" + strings.Repeat("x", 102400)},
		{"get 100 KB chunked", "GET", 0, typicalHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(102400, 8192)},
		{"post 10 KB", "POST", 10240, typicalHead + "Content-Length: 2\r\n\r\nok"},
		{"post 10 KB at hand", "POST", 10240, typicalHead + "Content-Length: 2\r\n\r\nok"},
		{"post 40 KB", "POST", 40960, typicalHead + "Content-Length: 2\r\n\r\nok"},
	} {
		body := []byte(strings.Repeat("y", shape.request))
		if shape.request == 0 {
			body = nil
		}
		for _, name := range []string{"h1", "nethttp"} {
			b.Run(shape.name+"/"+name, func(b *testing.B) {
				rt := engines(b, plainServer(b, shape.request, []byte(shape.response)))[name]
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				req := typicalRequest(ctx, shape.method, body)
				b.ReportAllocs()
				for b.Loop() {
					if body != nil {
						req.Body = io.NopCloser(opaque{bytes.NewReader(body)})
						if strings.HasSuffix(shape.name, "at hand") {
							req.Body = present{bytes.NewReader(body)}
						}
					}
					res, err := rt.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, res.Body); err != nil {
						b.Fatal(err)
					}
					res.Body.Close()
				}
			})
		}
	}
}

// present is a body that knows that it is there.
type present struct{ *bytes.Reader }

func (p present) Buffered() int { return p.Len() }
func (present) Close() error    { return nil }

// BenchmarkParallel has several connections busy at once.
func BenchmarkParallel(b *testing.B) {
	for _, name := range []string{"h1", "nethttp"} {
		b.Run(name, func(b *testing.B) {
			rt := engines(b, plainServer(b, 0, []byte(typicalHead+"Content-Length: 13\r\n\r\nHello, world!")))[name]
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				req := typicalRequest(ctx, "GET", nil)
				for pb.Next() {
					res, err := rt.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}

// BenchmarkLook measures the test of an idle connection.
func BenchmarkLook(b *testing.B) {
	nc, err := plainServer(b, 0, nil)(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	c := newConn(nc)
	b.ReportAllocs()
	for b.Loop() {
		if !c.quiet() {
			b.Fatal("not quiet")
		}
	}
}
