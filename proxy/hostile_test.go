package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw2 is a connection over which a test speaks HTTP/2 frame by frame.
type raw2 struct {
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func (w *world) raw2(sni string) *raw2 {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.https, &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	write(w.t, c, http2.ClientPreface)
	r := &raw2{Framer: http2.NewFramer(c, c)}
	r.encoder = hpack.NewEncoder(&r.block)
	if err := r.WriteSettings(); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// get sends the head of a GET on a stream.
func (r *raw2) get(id uint32) error {
	r.block.Reset()
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/slow"}} {
		_ = r.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block.Bytes(), EndStream: true, EndHeaders: true})
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTenThousandStreamResetsDisturbNobody(t *testing.T) {
	var arrived atomic.Int64
	release := make(chan struct{})
	defer close(release)
	w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived.Add(1)
			select {
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		io.WriteString(rw, "quick")
	})))
	quick := w.client(true)
	fetch := func() error {
		began := time.Now()
		res, err := quick.Get("https://a.test/quick")
		if err != nil {
			return err
		}
		if text := body(t, res); text != "quick" {
			return fmt.Errorf("%d %s", res.StatusCode, text)
		}
		if took := time.Since(began); took > 2*time.Second {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	}
	if err := fetch(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	sent := 0
	for range 10 { // connections, a thousand streams each
		hostile := w.raw2("a.test")
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				if _, err := hostile.ReadFrame(); err != nil {
					return
				}
			}
		}()
		for n := range uint32(1000) {
			if hostile.get(2*n+1) != nil || hostile.WriteRSTStream(2*n+1, http2.ErrCodeCancel) != nil {
				break // it was told to calm down
			}
			sent++
			if n%100 == 0 {
				if err := fetch(); err != nil {
					t.Fatalf("a client beside it, after %d resets: %v", sent, err)
				}
			}
		}
		wait(t, read, "the end of a connection that resets all it asks for")
	}
	if err := fetch(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	eventually(t, "memory to be given back", func() bool { return heap()-before < 32<<20 })
	t.Logf("%d streams were reset, %d reached the server", sent, arrived.Load())
	if arrived.Load() > 500 {
		t.Errorf("of %d streams that were reset %d reached the server", sent, arrived.Load())
	}
}

func TestAStreamWithoutAWindowDoesNotWaitForEver(t *testing.T) {
	w := start(t, hurried(sites("a.test", backend(t, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "small") }))))
	hostile := w.raw2("a.test")
	if err := hostile.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	if err := hostile.get(1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for {
		frame, err := hostile.ReadFrame()
		if err != nil {
			t.Fatalf("neither the stream nor the connection was given up: %v after %v", err, time.Since(began))
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			if len(frame.Data()) > 0 {
				t.Fatal("the window was not respected")
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return
		}
	}
}
