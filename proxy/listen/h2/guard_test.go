package h2_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// peer speaks HTTP/2 by hand.
type peer struct {
	*http2.Framer
	t       testing.TB
	conn    *tls.Conn
	encoder *hpack.Encoder
	encoded bytes.Buffer
}

func (r *running) peer(t testing.TB, settings ...http2.Setting) *peer {
	t.Helper()
	c, err := tls.Dial("tcp", r.address, &tls.Config{ServerName: "a.test", RootCAs: r.roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	p := &peer{Framer: http2.NewFramer(c, c), t: t, conn: c}
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.encoder = hpack.NewEncoder(&p.encoded)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return p
}

// section encodes a GET with further fields.
func (p *peer) section(fields ...string) []byte {
	return p.raw(append([]string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/"}, fields...)...)
}

// raw encodes pairs of name and value.
func (p *peer) raw(fields ...string) []byte {
	p.encoded.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return p.encoded.Bytes()
}

func (p *peer) ask(stream uint32, end bool, fields ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.section(fields...), EndHeaders: true, EndStream: end})
}

// next returns the next frame of a kind, or nil at the end of the connection.
func next[F http2.Frame](p *peer) (frame F, ok bool) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return frame, false
		}
		if frame, ok := f.(F); ok {
			return frame, true
		}
	}
}

// Each kind of frame that costs the server something and brings nobody forward.
func TestFloodsEndEarlyWithEnhanceYourCalm(t *testing.T) {
	for name, send := range map[string]func(p *peer, i int) error{
		"PING":          func(p *peer, _ int) error { return p.WritePing(false, [8]byte{}) },
		"PING answers":  func(p *peer, _ int) error { return p.WritePing(true, [8]byte{}) },
		"SETTINGS":      func(p *peer, _ int) error { return p.WriteSettings() },
		"SETTINGS acks": func(p *peer, _ int) error { return p.WriteSettingsAck() },
		"PRIORITY": func(p *peer, i int) error {
			return p.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: 0})
		},
		"WINDOW_UPDATE":              func(p *peer, _ int) error { return p.WriteWindowUpdate(0, 1) },
		"WINDOW_UPDATE of a stream":  func(p *peer, _ int) error { return p.WriteWindowUpdate(1, 1) },
		"empty DATA":                 func(p *peer, _ int) error { return p.WriteData(1, false, nil) },
		"DATA of padding":            func(p *peer, _ int) error { return p.WriteDataPadded(1, false, nil, make([]byte, 100)) },
		"RST_STREAM of nothing open": func(p *peer, _ int) error { return p.WriteRSTStream(3, http2.ErrCodeCancel) },
		"unknown frames":             func(p *peer, _ int) error { return p.WriteRawFrame(0xfa, 0, 0, nil) },
		"malformed requests": func(p *peer, i int) error {
			p.ask(uint32(2*i+5), true, "connection", "close")
			return nil
		},
		"requests that are too large": func(p *peer, i int) error {
			p.ask(uint32(2*i+5), true, "x-a", strings.Repeat("a", 5000))
			return nil
		},
		"CONTINUATION": func(p *peer, i int) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: p.section(), EndStream: true})
			}
			return p.WriteContinuation(5, false, nil)
		},
		"CONTINUATION with content": func(p *peer, i int) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: p.section(), EndStream: true})
			}
			return p.WriteContinuation(5, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 100))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var handled atomic.Int32
			r := run(t, h2.Options{HeaderBytes: 4096}, func(_ http.ResponseWriter, r *http.Request) {
				handled.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
			})
			p := r.peer(t)
			p.ask(1, false, "content-length", "10")
			p.ask(3, true)
			if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
				t.Fatal("not served")
			}
			sent := make(chan int, 1)
			go func() {
				for i := range 20000 {
					if send(p, i) != nil {
						sent <- i
						return
					}
				}
				sent <- 20000
			}()
			g, ok := next[*http2.GoAwayFrame](p)
			if !ok || g.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("it ended with %v", g)
			}
			_ = p.conn.Close()
			t.Logf("after at most %d frames", <-sent)
			if n := handled.Load(); n > 2 {
				t.Errorf("%d requests were handled", n)
			}
		})
	}
}

// A table entry that is named again and again costs the client a byte each time.
func TestCompressionBombCostsNoMemory(t *testing.T) {
	r := run(t, h2.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("it was handled") })
	p := r.peer(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	bomb := append(p.section("x-bomb", strings.Repeat("a", 3900)), bytes.Repeat([]byte{0x80 | 62}, 10000)...)
	for id := uint32(1); id < 100; id += 2 {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: bomb, EndHeaders: true, EndStream: true})
		bomb = append(p.section(), bytes.Repeat([]byte{0x80 | 62}, 10000)...)
	}
	head, ok := next[*http2.MetaHeadersFrame](p)
	if !ok || head.PseudoValue("status") != "431" {
		t.Errorf("got %v", head)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// What an honest client does must not look like a flood.
func TestAnHonestClientIsNotSentAway(t *testing.T) {
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, n))
	})
	client := r.client()
	for range 3000 {
		res, err := client.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	const size = 20 << 20
	res, err := client.Post("https://a.test/", "", bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	// A page that is left: as many requests as may be open, taken back at once.
	p := r.peer(t)
	for i := range uint32(100) {
		p.ask(2*i+1, true)
		_ = p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	p.ask(1001, true)
	for {
		head, ok := next[*http2.MetaHeadersFrame](p)
		if !ok {
			t.Fatal("sent away")
		}
		if head.StreamID == 1001 {
			break
		}
	}
}

// What nobody reads is bounded by the connection's window, also byte by byte.
func TestUnreadBodiesAreBounded(t *testing.T) {
	release := make(chan struct{})
	r := run(t, h2.Options{}, func(_ http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	p := r.peer(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() {
		for id := uint32(1); id < 200; id += 2 {
			p.ask(id, false)
		}
		for range 10000 {
			for id := uint32(1); id < 200; id += 2 {
				if p.WriteData(id, false, []byte("x")) != nil {
					return
				}
			}
		}
		_ = p.WriteData(1, false, make([]byte, 16000))
		for p.WriteData(3, false, make([]byte, 16000)) == nil {
		}
	}()
	g, ok := next[*http2.GoAwayFrame](p)
	if ok && g.ErrCode != http2.ErrCodeFlowControl {
		t.Errorf("it ended with %v", g)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 12<<20 {
		t.Errorf("%d bytes are held", grown)
	}
}

// client returns net/http's client for which every name leads to the server.
func (r *running) client() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots}, Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetHTTP2(true)
	transport.DialContext = dialer(r.address)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// What requests under way hold in heads is bounded, too, and one more is asked
// for again later (RFC 9113 section 8.7).
func TestLargeHeadsUnderWayAreBounded(t *testing.T) {
	let := make(chan struct{})
	var handled atomic.Int32
	r := run(t, h2.Options{Streams: 100}, func(http.ResponseWriter, *http.Request) { handled.Add(1); <-let })
	p := r.peer(t)
	answered := func(stream uint32) bool {
		for {
			f, err := p.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.MetaHeadersFrame:
				return true
			case *http2.RSTStreamFrame:
				if f.StreamID != stream || f.ErrCode != http2.ErrCodeRefusedStream {
					t.Errorf("stream %d was reset with %v", f.StreamID, f.ErrCode)
				}
				return false
			}
		}
	}
	const fits = 1 << 20 / (51 << 10)    // 50 KiB, and what is counted for each field
	large := strings.Repeat("a", 50<<10) // in 38 KiB
	ask := func(stream uint32) {
		block := p.section("x-large", large)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:16<<10], EndStream: true})
		for block = block[16<<10:]; len(block) > 16<<10; block = block[16<<10:] {
			_ = p.WriteContinuation(stream, false, block[:16<<10])
		}
		_ = p.WriteContinuation(stream, true, block)
	}
	for n := range uint32(fits + 1) {
		ask(2*n + 1)
	}
	if answered(2*fits + 1) {
		t.Error("more than a mebibyte of heads was taken")
	}
	p.ask(2*fits+3, true) // a small one has room
	close(let)
	if !answered(0) {
		t.Error("no answer")
	}
	for range fits { // the others
		answered(0)
	}
	ask(2*fits + 5)
	if !answered(0) {
		t.Error("afterwards there was no room")
	}
	if n := handled.Load(); n != fits+2 {
		t.Errorf("%d requests were handled, want %d", n, fits+2)
	}
}
