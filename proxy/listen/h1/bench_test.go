package h1

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// repeated is a client that sends the same request n times, and does not care
// what it hears.
type repeated struct {
	*scripted
	request string
	at      int
	left    int
}

func (c *repeated) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.request[c.at:])
	if c.at += n; c.at == len(c.request) {
		c.at = 0
		c.left--
	}
	return n, nil
}

func (c *repeated) Write(p []byte) (int, error) { return len(p), nil }

// browserHeader is what a browser sends.
const browserHeader = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n" +
	"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nPriority: u=0, i\r\n"

const perConnection = 1000

// BenchmarkRequest is the engine alone: a request is read, a trivial handler
// answers, the response is composed. Neither sockets nor TLS are in it. One
// operation is a thousand requests on one connection.
func BenchmarkRequest(b *testing.B) {
	for name, request := range map[string]string{
		"small GET":     get,
		"browser's GET": "GET /index.html?x=1 HTTP/1.1\r\nHost: a.test\r\n" + browserHeader + "\r\n",
		"POST 1 KB":     "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024),
	} {
		b.Run(name, func(b *testing.B) {
			s := New(Options{Logger: zap.NewNop(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				h := w.Header()
				h["Content-Type"] = contentType
				_, _ = w.Write(hello)
			})})
			b.ReportAllocs()
			served := 0
			for b.Loop() {
				s.Serve(&repeated{scripted: newScripted(nil, 0), request: request, left: perConnection})
				served += perConnection
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(served), "ns/request")
		})
	}
}

var (
	contentType = []string{"text/plain"}
	hello       = []byte("Hello, world!")
)
