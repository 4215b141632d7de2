package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// parted is a WebSocket server that echoes and tells with which error its reading
// ended.
func parted(t testing.TB) (address string, ended chan error) {
	ended = make(chan error, 16)
	return backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"v2"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(64 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				ended <- err
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				ended <- err
				return
			}
		}
	}), ended
}

// byVersion dials a WebSocket over each version of HTTP.
func (w *world) byVersion(ctx context.Context) map[string]func() *websocket.Conn {
	dials := map[string]func() *websocket.Conn{"HTTP/1.1": func() *websocket.Conn { return w.webSocket(ctx) }}
	for version, client := range w.sockets() {
		dials[version] = func() *websocket.Conn {
			c, _, err := client.dial(w.t, ctx)
			if err != nil {
				w.t.Fatal(err)
			}
			return c
		}
	}
	return dials
}

func goesAway(t *testing.T, who string, err error) {
	t.Helper()
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the %s got %v", who, err)
	}
}

func TestBothEndsOfAWebSocketAreToldOfItsEnd(t *testing.T) {
	for how, c := range map[string]struct {
		limit, silence time.Duration
		end            func(w *world)
	}{
		"its server is gone from the configuration": {20 * time.Millisecond, 0, func(w *world) { w.commit(sites("b.test", "http://127.0.0.1:1")) }},
		"graceful stop":                   {2 * time.Second, 0, func(w *world) { w.stop() }},
		"nobody said anything for a time": {time.Minute, 50 * time.Millisecond, func(*world) {}},
	} {
		end, limit, silence := c.end, c.limit, c.silence
		for _, version := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
			t.Run(how+", "+version, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				address, ended := parted(t)
				cfg := over3(sites("a.test", address))
				cfg.Limits.ShutdownTimeout, cfg.Limits.UpgradedIdleTimeout = limit, silence
				w := start(t, cfg)
				c := w.byVersion(ctx)[version]()
				exchange(t, ctx, c, []byte("hello"))
				read := make(chan error, 1)
				go func() { _, _, err := c.Read(ctx); read <- err }()
				end(w)
				goesAway(t, "client", wait(t, read, "the client"))
				goesAway(t, "server", wait(t, ended, "the server"))
			})
		}
	}
}

// The first frame of a message arrives whole although the end of the WebSocket
// falls into it.
func TestACloseFrameNeverComesInsideAnother(t *testing.T) {
	frame := make(chan net.Conn, 1)
	over := make(chan struct{})
	defer close(over)
	address := rawBackend(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		frame <- c
		<-over
	})
	cfg := sites("a.test", address)
	cfg.Limits.ShutdownTimeout = time.Millisecond
	w := start(t, cfg)
	c := w.dial("a.test")
	write(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if res := answer(t, r, "GET"); res.StatusCode != 101 {
		t.Fatal(res.Status)
	}
	server := wait(t, frame, "the server")
	const size = 300_000
	head := binary.BigEndian.AppendUint64([]byte{0x82, 127}, size)
	payload := bytes.Repeat([]byte("x"), size)
	write(t, server, string(head)+string(payload[:100_000]))
	got := make([]byte, len(head)+100_000)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	w.commit(sites("b.test", "http://127.0.0.1:1"))
	rest := make(chan []byte, 1)
	go func() { all, _ := io.ReadAll(r); rest <- all }()
	select {
	case all := <-rest:
		t.Fatalf("ended in the middle of a frame, with %q", all)
	case <-time.After(200 * time.Millisecond): // what could be put in would be by now
	}
	write(t, server, string(payload[100_000:])+"\x81\x01z") // a second frame, for nobody
	all := wait(t, rest, "the rest")
	if want := string(payload[100_000:]) + "\x88\x02\x03\xe9"; string(all) != want {
		t.Errorf("%d bytes, want %d, ending in %q", len(all), len(want), all[max(0, len(all)-8):])
	}
}

// A frame that does not end cannot hold up the end of its WebSocket.
func TestAFrameThatDoesNotEndIsCut(t *testing.T) {
	address, ended := parted(t)
	cfg := sites("a.test", address)
	cfg.Limits.ShutdownTimeout = time.Millisecond
	w := start(t, cfg)
	c := w.dial("a.test")
	write(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\xfe\x10\x00half")
	r := bufio.NewReader(c)
	if res := answer(t, r, "GET"); res.StatusCode != 101 {
		t.Fatal(res.Status)
	}
	w.commit(sites("b.test", "http://127.0.0.1:1"))
	if all, err := io.ReadAll(r); string(all) != "\x88\x02\x03\xe9" || err != nil {
		t.Errorf("the client got %q, %v", all, err)
	}
	if err := wait(t, ended, "the server"); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("the server got %v", err)
	}
}

// Other protocols have no close frames.
func TestOtherUpgradesEndWithoutAWord(t *testing.T) {
	cfg := custom(sites("a.test", switching(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: custom/1\r\n\r\n")))
	cfg.Limits.ShutdownTimeout = time.Millisecond
	w := start(t, cfg)
	c := w.dial("a.test")
	write(t, c, asked)
	r := bufio.NewReader(c)
	if res := answer(t, r, "GET"); res.StatusCode != 101 {
		t.Fatal(res.Status)
	}
	w.commit(sites("b.test", "http://127.0.0.1:1"))
	if all, _ := io.ReadAll(r); strings.ContainsRune(string(all), '\x88') || len(all) > 0 {
		t.Errorf("got %q", all)
	}
}
