package h2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/proxy/internal/wire"
	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// FuzzFrames has a running connection read anything at all behind the prefaces.
// It never panics, it ends when its client does, and whatever request it lets
// through could be written as one of HTTP/1.1 that everybody reads alike.
//
// With script the bytes are taken for frames to make (kind, flags, stream,
// length, payload), so that their heads are right more often than by chance.
func FuzzFrames(f *testing.F) {
	for _, seed := range frameSeeds() {
		f.Add(seed, false)
	}
	f.Add([]byte("\x06\x00\x00\x0812345678\x08\x00\x00\x04\x00\x00\x00\x01\x04\x00\x00\x06\x00\x04\x00\x00\xff\xff"), true)
	f.Add([]byte("\x01\x05\x01\x0b\x82\x87\x84\x41\x06a.test"), true)
	f.Add([]byte("\x01\x04\x01\x0b\x83\x87\x84\x41\x06a.test\x00\x01\x01\x05hello\x03\x00\x01\x04\x00\x00\x00\x08"), true)
	f.Add([]byte("\x01\x01\x01\x03\x82\x87\x84\x09\x04\x01\x08\x41\x06a.test\x09\x04\x01\x00"), true)
	f.Fuzz(func(t *testing.T, input []byte, script bool) {
		if len(input) > 32<<10 {
			return
		}
		if script {
			input = scripted(input)
		}
		feed(t, greeted(input))
	})
}

// TestFuzzedFramesReachTheHandler: else the fuzz target would judge nothing.
func TestFuzzedFramesReachTheHandler(t *testing.T) {
	reached := int32(0)
	for _, seed := range frameSeeds() {
		reached += feed(t, greeted(seed))
	}
	if reached < 6 {
		t.Errorf("%d requests reached the handler", reached)
	}
	if feed(t, greeted(scripted([]byte("\x01\x05\x01\x0b\x82\x87\x84\x41\x06a.test")))) != 1 {
		t.Error("the script's request did not")
	}
}

// greeted puts what a client says first before the rest.
func greeted(input []byte) []byte {
	var hello bytes.Buffer
	hello.WriteString(http2.ClientPreface)
	_ = http2.NewFramer(&hello, nil).WriteSettings()
	return append(hello.Bytes(), input...)
}

// scripted makes frames of what looks like a list of them.
func scripted(input []byte) []byte {
	var out bytes.Buffer
	framer := http2.NewFramer(&out, nil)
	framer.AllowIllegalWrites = true
	for len(input) >= 4 {
		n := min(int(input[3]), len(input)-4)
		_ = framer.WriteRawFrame(http2.FrameType(input[0]%12), http2.Flags(input[1]), uint32(input[2]), input[4:4+n])
		input = input[4+n:]
	}
	return out.Bytes()
}

// feed serves a connection on which a client sends text, and leaves when that
// has been read and its requests are answered, or soon. It returns how many
// requests the handler saw.
func feed(t *testing.T, text []byte) int32 {
	t.Helper()
	var handled, active atomic.Int32
	s := h2.New(h2.Options{Logger: zap.NewNop(), HeaderBytes: 8 << 10, HeaderTimeout: 5 * time.Second, LastWriteTimeout: time.Second,
		State: func(_ net.Conn, state http.ConnState) {
			if state == http.StateActive {
				active.Store(1)
			} else {
				active.Store(0)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handled.Add(1)
			judge(t, r)
			got, err := io.Copy(w, r.Body)
			if r.ContentLength >= 0 && (got > r.ContentLength || err == nil && got != r.ContentLength) {
				t.Errorf("%d bytes of %d, %v", got, r.ContentLength, err)
			}
			for name, values := range r.Trailer {
				judgeField(t, name, values)
			}
		})})
	client, server := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(server)
	}()
	mark := [8]byte{'l', 'a', 's', 't'}
	read := make(chan struct{}) // the mark has come back, or nothing will
	var reading sync.WaitGroup
	reading.Go(func() {
		defer func() { _, _ = io.Copy(io.Discard, client) }()
		defer close(read)
		f := http2.NewFramer(nil, client)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() && ping.Data == mark {
				return
			}
		}
	})
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = client.Write(text) // an error is the server's end
	_ = http2.NewFramer(client, nil).WritePing(false, mark)
	limit := time.NewTimer(20 * time.Millisecond) // half a frame swallows the mark
	defer limit.Stop()
	select {
	case <-read:
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for waiting := true; waiting && active.Load() > 0; {
			select {
			case <-tick.C:
			case <-limit.C:
				waiting = false // for a body that does not come
			}
		}
	case <-limit.C:
	}
	_ = client.Close()
	reading.Wait()
	select {
	case <-served:
	case <-time.After(10 * time.Second):
		t.Fatalf("still served when the client has long gone: %q", text)
	}
	return handled.Load()
}

func judge(t *testing.T, r *http.Request) {
	if !wire.IsToken(r.Method) {
		t.Errorf("method %q", r.Method)
	}
	if r.Host == "" || !wire.IsHost(r.Host) {
		t.Errorf("host %q", r.Host)
	}
	for i := range len(r.RequestURI) {
		if c := r.RequestURI[i]; c <= ' ' || c == 0x7f || c == '#' {
			t.Errorf("target %q", r.RequestURI)
		}
	}
	for name, values := range r.Header {
		if name != ":protocol" || r.Method != http.MethodConnect {
			judgeField(t, name, values)
		}
	}
	if length := r.Header["Content-Length"]; length != nil {
		if n, bad := wire.ContentLength(length); bad != "" || r.Body != http.NoBody && n != r.ContentLength {
			t.Errorf("Content-Length %q, %d", length, r.ContentLength)
		}
	}
}

// judgeField reads a field as it would be written to a server.
func judgeField(t *testing.T, name string, values []string) {
	switch name {
	case "Host", "Connection", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "Upgrade", "Http2-Settings":
		t.Errorf("%s: %q", name, values)
	}
	if wire.Lookalike(name) {
		t.Errorf("%q", name)
	}
	for _, value := range values {
		line := name + ": " + value
		if _, bad := wire.ParseField([]byte(line)); bad != "" || strings.ContainsAny(line, "\r\n\x00") || wire.TrimSpace(value) != value {
			t.Errorf("%q: %s", line, bad)
		}
	}
}

// frameSeeds are conversations, good and bad.
func frameSeeds() (seeds [][]byte) {
	add := func(write func(f *http2.Framer, section func(...string) []byte)) {
		var out, block bytes.Buffer
		f := http2.NewFramer(&out, nil)
		f.AllowIllegalWrites = true
		encoder := hpack.NewEncoder(&block)
		write(f, func(fields ...string) []byte {
			block.Reset()
			for i := 0; i < len(fields); i += 2 {
				_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return bytes.Clone(block.Bytes())
		})
		seeds = append(seeds, out.Bytes())
	}
	get := []string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/x?y"}
	post := []string{":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/", "content-length", "5", "trailer", "x-sum"}
	whole := func(id uint32, b []byte) http2.HeadersFrameParam {
		return http2.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true, EndStream: true}
	}
	for _, more := range [][]string{nil, {"cookie", "a=1", "cookie", "b=2"}, {"te", "trailers"}, {"connection", "close"}, {"x-a", "b\r\nc: d"}, {"transfer-encoding", "chunked"}, {"content_length", "5"}, {"host", "b.test"}, {"X", "y"}, {"x-a", " b"}} {
		add(func(f *http2.Framer, section func(...string) []byte) {
			b := section(append(get[:len(get):len(get)], more...)...)
			_ = f.WriteHeaders(whole(1, b))
			_ = f.WriteHeaders(whole(3, b))
		})
	}
	add(func(f *http2.Framer, section func(...string) []byte) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section(post...), EndHeaders: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 3, Weight: 1}})
		_ = f.WriteDataPadded(1, false, []byte("hel"), []byte{0, 0})
		_ = f.WriteData(1, false, []byte("lo"))
		_ = f.WriteHeaders(whole(1, section("x-sum", "1")))
	})
	add(func(f *http2.Framer, section func(...string) []byte) {
		b := section(get...)
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], EndStream: true})
		_ = f.WriteContinuation(1, false, b[3:5])
		_ = f.WriteContinuation(1, true, b[5:])
		_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
	})
	add(func(f *http2.Framer, section func(...string) []byte) {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		_ = f.WriteSettingsAck()
		_ = f.WritePing(false, [8]byte{1})
		_ = f.WriteWindowUpdate(0, 1<<30)
		_ = f.WritePriority(5, http2.PriorityParam{StreamDep: 3})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/"), EndHeaders: true})
		_ = f.WriteWindowUpdate(1, 100)
		_ = f.WriteData(1, true, []byte("x"))
		_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	return seeds
}
