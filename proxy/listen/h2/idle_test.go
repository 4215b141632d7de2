package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// awaitRest returns when so many connections of this process wait where a
// connection at rest does.
func awaitRest(t *testing.T, n int) {
	t.Helper()
	patience := time.After(20 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for at := -1; at != n; {
		select {
		case <-again.C:
		case <-patience:
			t.Fatalf("%d of %d connections are at rest", at, n)
		}
		var goroutines bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&goroutines, 2)
		at = strings.Count(goroutines.String(), "socket.Await(")
	}
}

// A connection without a request waits on a stack of its own for that, with no
// worker and no buffer; whatever wakes it up, it comes to rest again.
func TestIdleConnectionsGiveTheirStacksBack(t *testing.T) {
	r := run(t, h2.Options{}, func(http.ResponseWriter, *http.Request) {})
	const n = 200
	var peers []*peer
	for range n {
		peers = append(peers, r.peer(t))
	}
	for round := range 3 {
		for i, p := range peers {
			p.ask(uint32(2*round+1), true)
			if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
				t.Fatalf("round %d: connection %d is not served", round, i)
			}
		}
		awaitRest(t, n)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d bytes of stack each", m.StackInuse/n)
	}
	for _, p := range peers {
		_ = p.WritePing(false, [8]byte{})
		if _, ok := next[*http2.PingFrame](p); !ok {
			t.Fatal("no answer to PING")
		}
	}
	awaitRest(t, n)
}

func TestAConnectionComesToRestInTheMiddleOfAFrameAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dream(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")) })
		ping := []byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00piecewis")
		for i := range ping {
			d.ask(t, uint32(2*i+1)) // a little later it comes to rest
			_, _ = d.Conn.Write(ping[:i])
			time.Sleep(time.Second)
			_, _ = d.Conn.Write(ping[i:])
			f, ok := await[*http2.PingFrame](d)
			if !ok || !f.IsAck() || string(f.Data[:]) != "piecewis" {
				t.Fatalf("%d bytes before the rest: %v, %v", i, f, ok)
			}
		}
	})
}

// The encoder's table goes when the connection comes to rest, and the client may
// say meanwhile how large it may be.
func TestFieldsAreUnderstoodAfterARest(t *testing.T) {
	for _, size := range []uint32{0, 100, 4096, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := dream(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Same", "always")
					w.Header().Set("X-Kept", r.Header.Get("X-Kept"))
					w.Header().Set("X-Long", strings.Repeat("long", 40))
				}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
				sizes := []uint32{0, 100, 8192, 200}
				for i := range uint32(24) {
					if i%3 == 2 {
						time.Sleep(time.Second)
					}
					if i%6 == 5 { // in the middle of a rest
						_ = d.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: sizes[i/6]})
						if f, ok := await[*http2.SettingsFrame](d); !ok || !f.IsAck() {
							t.Fatal("not acknowledged")
						}
						d.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(sizes[i/6])
						time.Sleep(time.Second)
					}
					f := d.ask(t, 2*i+1)
					got := map[string]string{}
					for _, field := range f.RegularFields() {
						got[field.Name] = field.Value
					}
					if got["x-same"] != "always" || got["x-kept"] != "value" || len(got["x-long"]) != 160 {
						t.Fatalf("request %d: %v", i, got)
					}
				}
			})
		})
	}
}

// A client may take its time to answer a PING. The looks that come in between,
// because the connection comes to rest, are not the last.
func TestALateAnswerToPingIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Asked after a minute, five seconds before the handler returns.
		d := dream(t, h2.Options{}, func(http.ResponseWriter, *http.Request) { time.Sleep(65 * time.Second) })
		_ = d.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: d.get(), EndHeaders: true, EndStream: true})
		asked, ok := await[*http2.PingFrame](d)
		if !ok {
			t.Fatal("not asked")
		}
		time.Sleep(14 * time.Second)
		if err := d.WritePing(true, asked.Data); err != nil {
			t.Fatal("given up: ", err)
		}
		if _, ok := await[*http2.MetaHeadersFrame](d); !ok {
			t.Fatal("given up")
		}
		began := time.Now()
		for range d.frames { // no answer from now on
		}
		if took := time.Since(began); took < 30*time.Second || took > 80*time.Second {
			t.Errorf("given up after %v", took)
		}
	})
}

func TestIdleTimeoutAndStopEndAConnectionAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dream(t, h2.Options{IdleTimeout: 20 * time.Second}, func(http.ResponseWriter, *http.Request) {})
		time.Sleep(10 * time.Second)
		d.ask(t, 1)
		began := time.Now()
		for range d.frames {
		}
		if took := time.Since(began); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("idle for %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := dream(t, h2.Options{}, func(http.ResponseWriter, *http.Request) {})
		d.ask(t, 1)
		time.Sleep(10 * time.Second)
		began := time.Now()
		if err := d.server.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// A handler may end its goroutine; the next request needs one all the same.
func TestAHandlerThatEndsItsGoroutine(t *testing.T) {
	r := run(t, h2.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-End") != "" {
			runtime.Goexit()
		}
	})
	p := r.peer(t)
	for i := range uint32(20) {
		p.ask(4*i+1, true)
		if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
			t.Fatal("not answered")
		}
		p.ask(4*i+3, true, "x-end", "1")
		if f, ok := next[*http2.RSTStreamFrame](p); !ok || f.StreamID != 4*i+3 {
			t.Fatalf("%v, %v", f, ok)
		}
	}
}

// A connection may have one stream for hours. What a burst has left does not stay
// as long.
func TestABurstBesideALongStreamLeavesNoWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		d := dream(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			time.Sleep(time.Millisecond)
		})
		d.ask(t, 1)
		workers := func() int {
			synctest.Wait()
			var goroutines bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&goroutines, 2)
			return strings.Count(goroutines.String(), "h2.(*worker).run(")
		}
		for burst := range uint32(3) {
			for i := range uint32(10) {
				_ = d.WriteHeaders(http2.HeadersFrameParam{StreamID: 20*burst + 2*i + 3, BlockFragment: d.get(), EndHeaders: true, EndStream: true})
			}
			for range 10 {
				if _, ok := await[*http2.MetaHeadersFrame](d); !ok {
					t.Fatal("not answered")
				}
			}
			if n := workers(); n != 11 {
				t.Errorf("%d workers after a burst of ten, and one stream", n)
			}
			time.Sleep(time.Second)
			if n := workers(); n != 1 {
				t.Errorf("%d workers for one stream", n)
			}
		}
	})
}
