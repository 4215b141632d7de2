package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/proxy/admin"
)

// socketServer is a server of WebSockets that echoes. It tells with which error
// its reading ended.
func socketServer(t *testing.T) (server *httptest.Server, ended chan error) {
	t.Helper()
	ended = make(chan error, 16)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, message, err := c.Read(r.Context())
			if err == nil {
				err = c.Write(r.Context(), kind, message)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server, ended
}

// dialSocket opens a WebSocket to app.localhost and hears its echo.
func dialSocket(t *testing.T, ctx context.Context, client *http.Client) *websocket.Conn {
	t.Helper()
	own := client.Transport.(*http.Transport).Clone()
	own.ForceAttemptHTTP2 = false
	own.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	own.TLSClientConfig.NextProtos = nil
	t.Cleanup(own.CloseIdleConnections)
	c, _, err := websocket.Dial(ctx, "wss://app.localhost/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: own}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	say(t, ctx, c, "hello")
	return c
}

// say wants to hear what it says.
func say(t *testing.T, ctx context.Context, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, back, err := c.Read(ctx); err != nil || string(back) != text {
		t.Fatalf("said %q and heard %q, %v", text, back, err)
	}
}

func TestAStopTellsBothEndsOfWebSockets(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			server, ended := socketServer(t)
			dir := shortDir(t)
			path := writeConfig(t, dir, "limits: {shutdown_timeout: 2s}\n"+internalSite(server.URL))
			i := start(t, nil, "run", "--config", path)
			c := dialSocket(t, ctx, visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem")))
			i.signal(signal)
			_, _, err := c.Read(ctx)
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("the client got %v", err)
			}
			select {
			case err := <-ended:
				if websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Errorf("the server got %v", err)
				}
			case <-ctx.Done():
				t.Error("the server was not told")
			}
			i.awaitMessage("stopped")
		})
	}
}

// A server that is drained gets no new request, keeps its WebSockets, and gets
// requests again when that is undone.
func TestDrainLeavesWebSocketsWhereTheyAre(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, ended := socketServer(t)
	second := greeter(t, "second")
	dir := shortDir(t)
	path := writeConfig(t, dir, "upstreams: {u: {servers: ["+first.URL+", "+second.URL+"], balance: round_robin}}\nsites: {app.localhost: u}\n")
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	run := func(args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := execute(sealing{}, append(args, "--config", path), &out, &errs); code != exitOK {
			t.Fatalf("%v: %d %s", args, code, errs.String())
		}
		return out.String()
	}
	// reaches asks often enough to meet both servers if both are in the choice.
	reaches := func() (other bool) {
		t.Helper()
		for range 6 {
			if _, body := page(t, client, "https://app.localhost/"); body != "second" {
				other = true
			}
		}
		return other
	}
	run("drain", second.URL) // so that the WebSocket goes to the first
	c := dialSocket(t, ctx, client)
	run("drain", "--undo", second.URL)
	if !reaches() {
		t.Error("only one server is asked though none is drained")
	}
	if out := run("drain", first.URL); !strings.Contains(out, "no new requests") {
		t.Errorf("it says %q", out)
	}
	if reaches() {
		t.Error("a drained server got a request")
	}
	say(t, ctx, c, "still there")
	var s admin.Status
	asked(t, path, &s, "status")
	if m := s.Upstreams[0].Servers[0]; m.State != "draining" || m.UnderWay != 1 {
		t.Errorf("status says %+v, want one under way", m)
	}
	writeFile(t, path, read(t, path)+"watch: true\n")
	run("reload")
	if reaches() {
		t.Error("a reload brought a drained server back")
	}
	say(t, ctx, c, "after a reload")
	select {
	case err := <-ended:
		t.Errorf("the WebSocket ended: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	run("drain", "--undo", first.URL)
	if !reaches() {
		t.Error("undone, and it gets no requests")
	}
}
