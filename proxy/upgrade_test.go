package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/config"
)

// echoSockets is a WebSocket server that sends every message back.
func echoSockets(t testing.TB) string {
	return backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(4 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	})
}

func (w *world) webSocket(ctx context.Context) *websocket.Conn {
	w.t.Helper()
	c, _, err := websocket.Dial(ctx, "wss://a.test/", &websocket.DialOptions{HTTPClient: w.client(false)})
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetReadLimit(4 << 20)
	w.t.Cleanup(func() { c.CloseNow() })
	return c
}

func exchange(t testing.TB, ctx context.Context, c *websocket.Conn, message []byte) {
	t.Helper()
	if err := c.Write(ctx, websocket.MessageBinary, message); err != nil {
		t.Fatal(err)
	}
	if _, reply, err := c.Read(ctx); err != nil || !bytes.Equal(reply, message) {
		t.Fatalf("sent %d bytes, got %d back, %v", len(message), len(reply), err)
	}
}

func TestWebSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := start(t, sites("a.test", echoSockets(t)))
	c := w.webSocket(ctx)
	exchange(t, ctx, c, []byte("hello"))

	big := make([]byte, 1<<20)
	rand.Read(big)
	exchange(t, ctx, c, big)

	// In fragments: the library sends one for each flushed part.
	parts, err := c.Writer(ctx, websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("fragment ", 5000)
	for piece := range strings.SplitAfterSeq(want, " ") {
		io.WriteString(parts, piece)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	if _, reply, err := c.Read(ctx); err != nil || string(reply) != want {
		t.Fatalf("fragments: %d bytes, %v", len(reply), err)
	}

	reading := c.CloseRead(ctx) // pings need a reader
	if err := c.Ping(reading); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil && !errors.As(err, new(websocket.CloseError)) {
		t.Errorf("close: %v", err)
	}
}

// switching is a server that answers an upgrade with head and then echoes.
func switching(t testing.TB, head string) string {
	return rawBackend(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, head)
		io.Copy(c, r) // until the client half-closes
		io.WriteString(c, "bye")
	})
}

const asked = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: Custom/1\r\n\r\n"

// custom allows the protocol of these tests.
func custom(cfg *config.Config) *config.Config {
	cfg.Sites[0].Upgrade = config.Texts{"custom/1"}
	return cfg
}

func TestUpgradeLosesNoByteAndHalfCloses(t *testing.T) {
	w := start(t, custom(sites("a.test", switching(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: custom/1\r\nX-More: 1\r\n\r\nearly "))))
	c := w.dial("a.test")
	write(t, c, asked+"sent right behind ") // one segment: ends up in the server's buffer
	r := bufio.NewReader(c)
	res := answer(t, r, "GET")
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "custom/1" || res.Header.Get("X-More") != "1" || res.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	write(t, c, "and later ")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(r); string(all) != "early sent right behind and later bye" || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
}

func TestUpgradeThatWasNotAskedForIsRefused(t *testing.T) {
	for name, head := range map[string]string{
		"another protocol": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
		"no protocol":      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
		"no connection":    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: custom/1\r\n\r\n",
	} {
		w := start(t, custom(sites("a.test", switching(t, head))))
		if res := answer(t, w.say("a.test", asked), "GET"); res.StatusCode != 502 {
			t.Errorf("%s: status %d", name, res.StatusCode)
		}
		w.logged("upstream_malformed")
	}
	for _, protocol := range []string{"Upgrade: websocket\r\n", ""} {
		w := start(t, sites("a.test", switching(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+protocol+"\r\n")))
		if res := answer(t, w.say("a.test", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), "GET"); res.StatusCode != 502 {
			t.Errorf("nothing asked for: status %d", res.StatusCode)
		}
	}
}

func TestUpgradeThatIsNotPassedOn(t *testing.T) {
	got := make(chan http.Header, 1)
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })))
	for name, fields := range map[string]string{
		"h2c":               "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n",
		"several":           "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"two fields":        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"not in Connection": "Upgrade: websocket\r\n",
		"not allowed":       "Connection: Upgrade\r\nUpgrade: custom/1\r\n",
	} {
		res := answer(t, w.say("a.test", "GET / HTTP/1.1\r\nHost: a.test\r\n"+fields+"\r\n"), "GET")
		h := wait(t, got, "the request")
		if res.StatusCode != 200 || h.Get("Upgrade") != "" || h.Get("Connection") != "" || h.Get("Http2-Settings") != "" {
			t.Errorf("%s: %d, forwarded %v", name, res.StatusCode, h)
		}
	}
}

func TestUpgradeRefusedByTheServerIsAnOrdinaryResponse(t *testing.T) {
	w := start(t, custom(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "Custom/1" || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("forwarded %v", r.Header)
		}
		http.Error(rw, "no", http.StatusForbidden)
	}))))
	if res := answer(t, w.say("a.test", asked), "GET"); res.StatusCode != 403 || body(t, res) != "no\n" {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestWebSocketOutlivesAReloadThatKeepsItsServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	echo := echoSockets(t)
	cfg := sites("a.test", echo)
	w := start(t, cfg)
	c := w.webSocket(ctx)
	exchange(t, ctx, c, []byte("before"))
	w.commit(sites("a.test", echo, "b.test", "http://127.0.0.1:1"))
	exchange(t, ctx, c, []byte("after"))

	// A reload that drops the server gives it the drain time of the old
	// configuration, here none.
	short := sites("a.test", echo)
	short.Limits.ShutdownTimeout = time.Millisecond
	w.commit(short)
	exchange(t, ctx, c, []byte("still"))
	w.commit(sites("a.test", "http://127.0.0.1:1"))
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a connection to a server that is gone from the configuration lives on: %v", err)
	}
}
