package listen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// refused returns what was counted, as "protocol reason n".
func (r *running) refused() string {
	var list []string
	for _, one := range r.Counts().Refused {
		if one.Count > 0 {
			list = append(list, fmt.Sprint(one.Protocol, " ", one.Reason, " ", one.Count))
		}
	}
	return strings.Join(list, ", ")
}

func TestWhatTheEnginesRefuseIsCountedAndLogged(t *testing.T) {
	section := func(fields ...string) []byte {
		var b strings.Builder
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return []byte(b.String())
	}
	ask := func(f *http2.Framer, fields ...string) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
			BlockFragment: section(append([]string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/"}, fields...)...)})
	}
	for want, c := range map[string]struct {
		h1  string
		h2  func(*http2.Framer)
		h3  []byte
		log string
	}{
		"h1 malformed 1":            {h1: "GET / HTTP/1.1\r\n\r\n", log: "malformed request"},
		"h1 too_large 1":            {h1: "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", log: "malformed request"},
		"h1 malformed 1, in a body": {h1: "POST /read HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;\n", log: "malformed request"},
		"h1 timeout 1":              {h1: "GET / HTTP/1.1\r\n", log: "malformed request"},
		"h2 malformed 1":            {h2: func(f *http2.Framer) { ask(f, "connection", "close") }, log: "malformed HTTP/2 request"},
		"h2 too_large 1":            {h2: func(f *http2.Framer) { ask(f, "x-a", strings.Repeat("a", 5000)) }, log: "HTTP/2 request refused"},
		"h2 too_many_streams 1": {h2: func(f *http2.Framer) {
			for id := uint32(1); id < 6; id += 2 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true,
					BlockFragment: section(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/wait")})
			}
		}, log: "HTTP/2 request refused"},
		"h2 protocol_error 1": {h2: func(f *http2.Framer) { _ = f.WriteWindowUpdate(0, 0) }, log: "HTTP/2 connection ended"},
		"h2 flood 1": {h2: func(f *http2.Framer) {
			for range 5000 {
				if f.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, log: "HTTP/2 connection ended"},
		"h2 malformed 1, in a body": {h2: func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
				BlockFragment: section(":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/read", "content-length", "3")})
			_ = f.WriteData(1, true, []byte("hello"))
		}, log: "HTTP/2 stream reset"},
		"h3 malformed 1":                   {h3: head3("GET", "/", "connection", "close"), log: "HTTP/3 request refused"},
		"h3 malformed 1, by our own rules": {h3: head3("GET", "/", "transfer_encoding", "chunked"), log: "HTTP/3 request refused"},
		"h3 malformed 1, in a body":        {h3: append(head3("POST", "/", "content-length", "9"), 0, 2, 'h', 'i'), log: "HTTP/3 request refused"},
		"h3 too_large 1":                   {h3: head3("GET", "/", "x-a", strings.Repeat("a", 5000)), log: "HTTP/3 request refused"},
		"h3 timeout 1":                     {h3: nil, log: "HTTP/3 request refused"},
		"h3 protocol_error 1":              {h3: []byte{0, 2, 'h', 'i'}, log: "HTTP/3 connection ended"},
	} {
		t.Run(want, func(t *testing.T) {
			want, _, _ := strings.Cut(want, ",")
			release := make(chan struct{})
			r := run(t, Options{HTTP3: true, RequestHeaderBytes: 4096, URILength: 1000, HTTP2Streams: 2, RequestHeaderTimeout: 300 * time.Millisecond}, func(_ http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/wait" {
					<-release
				}
				_, _ = io.Copy(io.Discard, req.Body)
			})
			defer close(release)
			if strings.HasPrefix(want, "h3") {
				stream, err := r.quic(t).OpenStreamSync(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, _ = stream.Write(c.h3); c.h3 == nil {
					_, _ = stream.Write([]byte{1, 60, 0, 0}) // and no more of it
				} else {
					_ = stream.Close()
				}
			} else if c.h1 != "" {
				conn := dialled(t, r.http, c.h1)
				if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
					t.Fatal(err)
				}
			} else {
				conn, err := tls.Dial("tcp", r.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, http2.ClientPreface)
				f := http2.NewFramer(conn, conn)
				f.AllowIllegalWrites = true
				_ = f.WriteSettings()
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				c.h2(f)
			}
			deadline := time.NewTimer(10 * time.Second)
			defer deadline.Stop()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for r.refused() != want {
				select {
				case <-tick.C:
				case <-deadline.C:
					t.Fatalf("counted %q", r.refused())
				}
			}
			logged := r.logs.FilterMessage(c.log)
			if logged.Len() != 1 {
				t.Fatalf("logged %v", r.logs.All())
			}
			fields := logged.All()[0].ContextMap()
			if host, _, err := net.SplitHostPort(fmt.Sprint(fields["client"])); err != nil || host != "127.0.0.1" || fields["reason"] == "" || fields["reason"] == nil {
				t.Errorf("logged %v", fields)
			}
			if status, is := fields["status"].(int64); strings.Contains(c.log, "connection") == is || is && status != 0 && status < 400 {
				t.Errorf("logged %v", fields)
			}
		})
	}
}

// head3 is a HEADERS frame of HTTP/3 with a request; fields are pairs of name
// and value.
func head3(method, path string, fields ...string) []byte {
	var block bytes.Buffer
	e := qpack.NewEncoder(&block)
	fields = append([]string{":method", method, ":scheme", "https", ":authority", "a.test", ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return append(quicvarint.Append([]byte{1}, uint64(block.Len())), block.Bytes()...)
}
