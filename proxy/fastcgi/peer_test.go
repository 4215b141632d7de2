package fastcgi_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/fastcgi"
)

// responder starts the standard library's FastCGI server on a unix socket.
func responder(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "fpm.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = fcgi.Serve(listener, handler) })
	t.Cleanup(func() { _ = listener.Close(); served.Wait() })
	return "unix:" + socket
}

// record is one record as a hand-made server reads it.
type record struct {
	kind    uint8
	content []byte
}

func readRecord(r io.Reader) (record, error) {
	var header [8]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return record{}, err
	}
	content := make([]byte, binary.BigEndian.Uint16(header[4:]))
	_, err := io.ReadFull(r, content)
	return record{header[1], content}, err
}

// send makes a record, with padding, which servers may send.
func send(kind uint8, content string) string {
	n, padding := len(content), (8-len(content)%8)%8
	return string([]byte{1, kind, 0, 1, byte(n >> 8), byte(n), byte(padding), 0}) + content + "ppppppp"[:padding]
}

// done is the record of a request that ended well.
const done = "\x01\x03\x00\x01\x00\x08\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

// end is that of one that did not.
func end(protocolStatus byte) string {
	return "\x01\x03\x00\x01\x00\x08\x00\x00" + "\x00\x00\x00\x00" + string([]byte{protocolStatus}) + "\x00\x00\x00"
}

// handmade starts a server of which serve gets each connection, once the
// request has been read to the end of its parameters.
func handmade(t testing.TB, serve func(conn net.Conn, in *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				in := bufio.NewReader(conn)
				for {
					r, err := readRecord(in)
					if err != nil {
						return
					}
					if r.kind == 4 && len(r.content) == 0 {
						break
					}
				}
				serve(conn, in)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); served.Wait() })
	return listener.Addr().String()
}

// through is an action that forwards to a transport as the proxy does.
func through(t testing.TB, transport http.RoundTripper, failed func(error)) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL = &url.URL{Path: "/"}; r.Out.Host = r.In.Host },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			failed(err)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// ask sends one request by the transport alone.
func ask(t testing.TB, o fastcgi.Options, method string, body io.Reader, length int64) (*http.Response, error) {
	t.Helper()
	r := httptest.NewRequest(method, "https://a.example/index.php?x=1", body)
	r.ContentLength = length
	out := fastcgi.WithScript(r, &fastcgi.Script{Root: "/srv", Name: "index.php", Request: r})
	return fastcgi.New(o).RoundTrip(out)
}
