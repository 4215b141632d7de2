package proxy_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/metrics"
)

// BenchmarkObserved is a whole request over TLS, as in BenchmarkEndToEnd,
// without observers, with metrics as the process has them, and with an access
// log besides, whose lines go nowhere.
func BenchmarkObserved(b *testing.B) {
	for _, c := range []struct {
		name            string
		metrics, access bool
	}{{"nothing", false, false}, {"metrics", true, false}, {"metrics and access log", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			var observers []proxy.Observer
			var lines lineCount
			if c.metrics {
				observers = append(observers, metrics.NewHistory(), metrics.New(prometheus.NewRegistry()))
			}
			if c.access {
				log, err := accesslog.New(accesslog.Options{Sink: &lines})
				if err != nil {
					b.Fatal(err)
				}
				observers = append(observers, log)
			}
			address := backend(b, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "Hello, world!") })
			client := startObserved(b, sites("a.test", address), observers...).client(false)
			b.ReportAllocs()
			for b.Loop() {
				res, err := client.Get("https://a.test/")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			if c.access && lines.Load() == 0 {
				b.Error("no line was written")
			}
		})
	}
}

// lineCount keeps of lines their number.
type lineCount struct{ atomic.Int64 }

func (c *lineCount) Write(p []byte) (int, error) {
	c.Add(1)
	return len(p), nil
}
