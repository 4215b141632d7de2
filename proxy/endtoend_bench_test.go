package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// BenchmarkEndToEnd is a small response over TLS, client and server behind
// included.
func BenchmarkEndToEnd(b *testing.B) {
	for _, h2 := range []bool{false, true} {
		b.Run(fmt.Sprintf("h2=%t", h2), func(b *testing.B) {
			w := start(b, sites("a.test", backend(b, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "Hello, world!") })))
			c := w.client(h2)
			b.ReportAllocs()
			for b.Loop() {
				res, err := c.Get("https://a.test/")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
}
