package proxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// extended is a RoundTripper for coder/websocket, which knows only HTTP/1.1: it
// makes its handshake an extended CONNECT and the response to that a 101.
type extended struct {
	over http.RoundTripper
	mark func(*http.Request) // what is special about a CONNECT with :protocol
}

func (e extended) RoundTrip(r *http.Request) (*http.Response, error) {
	toServer, feed := io.Pipe()
	out := r.Clone(r.Context())
	out.Method, out.Body = http.MethodConnect, toServer
	key := r.Header.Get("Sec-Websocket-Key")
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		out.Header.Del(name)
	}
	e.mark(out)
	res, err := e.over.RoundTrip(out)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	res.StatusCode = http.StatusSwitchingProtocols
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	res.Header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	res.Body = &both{res.Body, feed}
	return res, nil
}

// both is a stream as a connection; closing it is a reset.
type both struct {
	io.ReadCloser
	feed *io.PipeWriter
}

func (b *both) Write(p []byte) (int, error) { return b.feed.Write(p) }

func (b *both) Close() error {
	_ = b.feed.CloseWithError(net.ErrClosed)
	return b.ReadCloser.Close()
}

// sockets returns clients for WebSockets over the versions that have no
// Upgrade.
func (w *world) sockets() map[string]extended {
	//lint:ignore SA1019 net/http's Transport refuses the field :protocol
	h2 := &http2.Transport{}
	//lint:ignore SA1019 as above
	h2.DialTLSContext = func(ctx context.Context, network, _ string, secure *tls.Config) (net.Conn, error) {
		secure.RootCAs = w.roots
		dialer := tls.Dialer{Config: secure}
		return dialer.DialContext(ctx, network, w.https)
	}
	//lint:ignore SA1019 as above
	w.t.Cleanup(h2.CloseIdleConnections)
	return map[string]extended{
		"HTTP/2": {h2, func(r *http.Request) { r.Header.Set(":protocol", "websocket") }},
		"HTTP/3": {w.client3("").Transport, func(r *http.Request) { r.Proto = "websocket" }},
	}
}

func (e extended) dial(t testing.TB, ctx context.Context) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	c, res, err := websocket.Dial(ctx, "https://a.test/chat?room=1", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: e}, Subprotocols: []string{"v2"},
	})
	if err == nil {
		c.SetReadLimit(4 << 20)
		t.Cleanup(func() { c.CloseNow() })
	}
	return c, res, err
}

func TestWebSocketByExtendedConnect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	handshakes, ended := make(chan *http.Request, 1), make(chan error, 1)
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		handshakes <- r
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"v2"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(4 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				ended <- err
				return
			}
			_ = c.Write(r.Context(), kind, message)
		}
	}))))
	for name, client := range w.sockets() {
		t.Run(name, func(t *testing.T) {
			c, _, err := client.dial(t, ctx)
			if err != nil {
				t.Fatal(err)
			}
			r := wait(t, handshakes, "the handshake")
			if r.Method != "GET" || r.RequestURI != "/chat?room=1" || r.Host != "a.test" || r.Proto != "HTTP/1.1" ||
				len(r.Header[":protocol"]) != 0 || r.Header.Get("X-Forwarded-For") != "127.0.0.1" || len(r.TransferEncoding) != 0 {
				t.Errorf("the server saw %s %s %v", r.Method, r.RequestURI, r.Header)
			}
			if c.Subprotocol() != "v2" {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			large := make([]byte, 1<<20)
			rand.Read(large)
			exchange(t, ctx, c, []byte("small"))
			exchange(t, ctx, c, large)
			fragmented(t, ctx, c)
			pinged := make(chan error, 1)
			go func() { pinged <- c.Ping(ctx) }()
			reading := c.CloseRead(ctx)
			if err := wait(t, pinged, "the pong"); err != nil {
				t.Error(err)
			}
			if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Error(err)
			}
			<-reading.Done()
			if err := wait(t, ended, "the end"); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("the server's side ended with %v", err)
			}
		})
	}
}

// fragmented sends one message in many frames.
func fragmented(t testing.TB, ctx context.Context, c *websocket.Conn) {
	t.Helper()
	message, err := c.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	piece := bytes.Repeat([]byte("fragment "), 1000)
	for range 20 {
		if _, err := message.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := message.Close(); err != nil {
		t.Fatal(err)
	}
	if _, reply, err := c.Read(ctx); err != nil || !bytes.Equal(reply, bytes.Repeat(piece, 20)) {
		t.Fatalf("%d bytes came back, %v", len(reply), err)
	}
}

func TestExtendedConnectThatTheServerDoesNotWant(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   int
	}{
		"a refusal is passed on":      {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) }, 403},
		"success is not an open door": {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(200) }, 502},
		"a false accept": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Connection", "Upgrade")
			rw.Header().Set("Upgrade", "websocket")
			rw.Header().Set("Sec-Websocket-Accept", "nonsense")
			rw.WriteHeader(101)
		}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, over3(sites("a.test", backend(t, c.answer))))
			for version, client := range w.sockets() {
				_, res, err := client.dial(t, ctx)
				if err == nil || res == nil || res.StatusCode != c.want {
					t.Errorf("over %s: %v %v", version, res, err)
				}
			}
		})
	}
}

func TestOnlyWebSocketsByExtendedConnect(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") }))))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://a.test/.well-known/masque/udp/1/2/", nil)
	req.Proto = "connect-udp"
	res, err := w.client3("").Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotImplemented {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestWebSocketByExtendedConnectEndsWithItsPool(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cfg := over3(sites("a.test", echoSockets(t)))
	cfg.Limits.ShutdownTimeout = 20 * time.Millisecond
	w := start(t, cfg)
	for name, client := range w.sockets() {
		w.commit(cfg)
		c, _, err := client.dial(t, ctx)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, ctx, c, []byte("hello"))
		w.commit(sites("b.test", "http://127.0.0.1:1"))
		if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWebSocketByExtendedConnectWithAClientThatDoesNotRead(t *testing.T) {
	gone := make(chan struct{}, 1)
	cfg := over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		for c.Write(r.Context(), websocket.MessageBinary, make([]byte, 64<<10)) == nil {
		}
		gone <- struct{}{}
	})))
	cfg.Limits.ShutdownTimeout = 20 * time.Millisecond
	w := start(t, cfg)
	for version, client := range w.sockets() {
		for how, end := range map[string]func(*websocket.Conn){
			"the client leaves":   func(c *websocket.Conn) { c.CloseNow() },
			"the pool is retired": func(*websocket.Conn) { w.commit(sites("b.test", "http://127.0.0.1:1")) },
		} {
			t.Run(version+", "+how, func(t *testing.T) {
				w.commit(cfg)
				c, _, err := client.dial(t, t.Context())
				if err != nil {
					t.Fatal(err)
				}
				end(c)
				wait(t, gone, "the server to hear of the end")
			})
		}
	}
}
