package h2_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// counted counts writes: system calls, on a socket.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// uncovered returns a client of a server without TLS, and the server's writes.
func uncovered(t testing.TB, handler http.HandlerFunc) (*peer, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	side, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	writes := new(atomic.Int64)
	ended := make(chan struct{})
	server := h2.New(h2.Options{Handler: handler, Logger: zap.NewNop()})
	go func() { server.Serve(counted{side, writes}); close(ended) }()
	t.Cleanup(func() { client.Close(); <-ended })
	p := &peer{Framer: http2.NewFramer(client, client), t: t}
	p.encoder = hpack.NewEncoder(&p.encoded)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(client, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return p, writes
}

// answers reads until n streams have ended.
func (p *peer) answers(n int) {
	for n > 0 {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			if f.StreamEnded() {
				n--
			}
		case *http2.MetaHeadersFrame:
			if f.StreamEnded() {
				n--
			}
		}
	}
}

func TestAnswersThatAreReadyTogetherLeaveTogether(t *testing.T) {
	const streams = 100
	waiting, release := make(chan struct{}), make(chan struct{})
	p, writes := uncovered(t, func(w http.ResponseWriter, _ *http.Request) {
		waiting <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "Hello, world!")
	})
	for i := range uint32(streams) {
		p.ask(2*i+1, true)
		<-waiting
	}
	before := writes.Load()
	close(release)
	p.answers(streams)
	if n := writes.Load() - before; n > streams/4 {
		t.Errorf("%d answers took %d writes", streams, n)
	} else {
		t.Logf("%d answers took %d writes", streams, n)
	}
}

// One small GET at a time, over a socket and without TLS.
func BenchmarkSmallGet(b *testing.B) {
	p, _ := uncovered(b, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"text/plain"}
		h["Content-Length"] = []string{"13"}
		_, _ = io.WriteString(w, "Hello, world!")
	})
	p.SetReuseFrames()
	b.ReportAllocs()
	id := uint32(1)
	for b.Loop() {
		p.ask(id, true)
		p.answers(1)
		if id += 2; id%2000 == 1 {
			_ = p.WriteWindowUpdate(0, 13*1000)
		}
	}
}

// Heads have no window: what a client that does not read makes the server hold
// is bounded all the same, and it gets everything once it reads.
func TestHeadsForAClientThatDoesNotReadAreBounded(t *testing.T) {
	const streams, size = 40, 200 << 10
	big := []string{strings.Repeat("a", size)}
	for _, status := range []int{http.StatusOK, http.StatusNoContent, http.StatusEarlyHints} {
		synctest.Test(t, func(t *testing.T) {
			d := dream(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["X-Big"] = big
				w.WriteHeader(status)
				delete(w.Header(), "X-Big")
			})
			d.MaxHeaderListSize = 2 * size
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range uint32(streams) {
				_ = d.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: d.get(), EndHeaders: true, EndStream: true})
			}
			synctest.Wait()
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3<<20 {
				t.Errorf("%d: %d bytes are held", status, grown)
			}
			for n := 0; n < streams; {
				head, ok := await[*http2.MetaHeadersFrame](d)
				if !ok {
					t.Fatalf("%d: %d are answered", status, n)
				}
				if head.StreamEnded() {
					n++
				}
			}
		})
	}
}
