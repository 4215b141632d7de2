package h1

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// An idle connection waits where the smallest stack suffices, whatever came
// before, and whatever wakes it up loses nothing.
func TestIdleConnectionsWaitForTheSocketItself(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		w := serve(t, secure, Options{IdleTimeout: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n)
		})
		const n, size = 20, 40 << 10
		var clients []*client
		for range n {
			clients = append(clients, w.connect(secure))
		}
		for range 2 {
			for _, c := range clients {
				c.say(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
				if res, body := c.answer("POST"); res.StatusCode != 200 || body != fmt.Sprint(size) {
					t.Fatalf("%d: %q", res.StatusCode, body)
				}
			}
			awaitRest(t, n)
			for i := range get { // bytewise, all at once
				for _, c := range clients {
					c.say(get[i : i+1])
				}
			}
			for _, c := range clients {
				if res, body := c.answer("GET"); res.StatusCode != 200 || body != "0" {
					t.Fatalf("%d: %q", res.StatusCode, body)
				}
			}
			awaitRest(t, n)
		}
		if err := w.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, c := range clients {
			c.closed()
		}
	})
}

// awaitRest returns when so many connections of this process wait where an idle
// one does.
func awaitRest(t *testing.T, n int) {
	t.Helper()
	patience := time.After(20 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for at := -1; at != n; {
		select {
		case <-again.C:
		case <-patience:
			t.Fatalf("%d of %d connections are at rest", at, n)
		}
		var goroutines bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&goroutines, 2)
		at = strings.Count(goroutines.String(), "socket.Await(")
	}
}
