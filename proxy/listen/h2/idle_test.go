package h2_test

import (
	"net/http"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// An idle connection is asked by PING whether it is still there; with the answer
// it gives back the stack that its requests needed.
func TestIdleConnectionsGiveTheirStackBack(t *testing.T) {
	r := run(t, h2.Options{}, func(http.ResponseWriter, *http.Request) {})
	const n = 200
	var peers []*peer
	for range n {
		p := r.peer(t)
		p.ask(1, true)
		if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
			t.Fatal("not served")
		}
		peers = append(peers, p)
	}
	stacks := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse / n
	}
	before := stacks()
	for _, p := range peers {
		_ = p.WritePing(true, [8]byte{})
		_ = p.WritePing(false, [8]byte{}) // whose answer says that the other was read
		if _, ok := next[*http2.PingFrame](p); !ok {
			t.Fatal("no answer")
		}
	}
	after := stacks()
	t.Logf("%d bytes of stack each, %d afterwards", before, after)
	if after+2048 > before {
		t.Errorf("%d bytes of stack each, %d afterwards", before, after)
	}
	for i, p := range peers {
		p.ask(3, true)
		if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
			t.Fatalf("connection %d is not served any more", i)
		}
	}
}
