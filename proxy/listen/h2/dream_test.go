package h2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// dreamer speaks HTTP/2 by hand, in a bubble in which time costs nothing.
type dreamer struct {
	*http2.Framer
	net.Conn
	server  *h2.Server
	frames  chan http2.Frame // closed at the end of the connection
	encoder *hpack.Encoder
	encoded bytes.Buffer
}

func dream(t *testing.T, o h2.Options, handler http.HandlerFunc, settings ...http2.Setting) *dreamer {
	o.Logger, o.Handler = zap.NewNop(), handler
	near, far := net.Pipe()
	d := &dreamer{Framer: http2.NewFramer(near, near), Conn: near, server: h2.New(o), frames: make(chan http2.Frame, 4)}
	table := uint32(4096)
	for _, s := range settings {
		if s.ID == http2.SettingHeaderTableSize {
			table = s.Val
		}
	}
	d.ReadMetaHeaders = hpack.NewDecoder(table, nil)
	d.encoder = hpack.NewEncoder(&d.encoded)
	go d.server.Serve(far)
	go func() {
		defer close(d.frames)
		for {
			f, err := d.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.PingFrame: // the only ones that the framer uses again
				copied := *f
				d.frames <- &copied
			default:
				d.frames <- f
			}
		}
	}()
	t.Cleanup(func() {
		_ = near.Close()
		for range d.frames { // the reader ends
		}
	})
	_, _ = io.WriteString(near, http2.ClientPreface)
	_ = d.WriteSettings(settings...)
	return d
}

// ask sends a GET and returns the response's head.
func (d *dreamer) ask(t *testing.T, stream uint32) *http2.MetaHeadersFrame {
	t.Helper()
	_ = d.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: d.get(), EndHeaders: true, EndStream: true})
	f, ok := await[*http2.MetaHeadersFrame](d)
	if !ok {
		t.Fatalf("stream %d is not answered", stream)
	}
	return f
}

// get encodes a GET.
func (d *dreamer) get() []byte {
	d.encoded.Reset()
	for _, f := range []string{":method GET", ":scheme http", ":authority a.test", ":path /", "x-kept value"} {
		name, value, _ := strings.Cut(f, " ")
		_ = d.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return d.encoded.Bytes()
}

// await returns the next frame of a kind.
func await[F http2.Frame](d *dreamer) (frame F, ok bool) {
	for f := range d.frames {
		if frame, ok := f.(F); ok {
			return frame, true
		}
	}
	return frame, false
}
