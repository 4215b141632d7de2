package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDeadlineThatWasDueAtRestCostsNothing: deadlines are left standing when
// their wait is over, and one may be due while its connection is not in use.
func TestDeadlineThatWasDueAtRestCostsNothing(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := o.engine(t, Options{ResponseHeaderTimeout: time.Minute})
	fetch(t, e, get(t))
	for _, req := range []*http.Request{get(t), post(t, "looked at before"), get(t)} {
		e.pool.idle[0].armRead(time.Unix(1, 0))
		if _, body := fetch(t, e, req); body != "ok" {
			t.Errorf("got %q", body)
		}
	}
	if n := o.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// silentOnSecond answers the first request on a connection and no other.
func silentOnSecond(c *net.TCPConn, r *bufio.Reader, _ int) {
	if _, err := http.ReadRequest(r); err == nil {
		io.WriteString(c, okResponse)
		io.Copy(io.Discard, r)
	}
}

func TestKeptConnectionWhoseServerIsSilentIsGivenUp(t *testing.T) {
	o := serve(t, silentOnSecond)
	e := o.engine(t, Options{ResponseHeaderTimeout: 50 * time.Millisecond})
	fetch(t, e, get(t))
	_, err := e.RoundTrip(get(t))
	if slow, ok := errors.AsType[*TimeoutError](err); !ok || slow.After != 50*time.Millisecond {
		t.Errorf("%v", err)
	}
	if n := o.accepted.Load(); n != 1 {
		t.Errorf("%d connections: a request that was not answered in time is not repeated", n)
	}
}

func TestClientThatLeavesEndsTheWaitOnAKeptConnection(t *testing.T) {
	asked := make(chan bool, 2)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for first := true; ; first = false {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if first {
				io.WriteString(c, okResponse)
			}
			asked <- true
		}
	})
	e := o.engine(t, Options{})
	fetch(t, e, get(t))
	<-asked
	gone := errors.New("gone")
	ctx, leave := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		leave(gone)
	}()
	if _, err := e.RoundTrip(newRequest(ctx, "GET", nil)); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// TestRequestThatTheSocketDoesNotTakeAtOnce: what remains is sent when there is
// room.
func TestRequestThatTheSocketDoesNotTakeAtOnce(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body := fmt.Sprint(len(req.Header.Get("X-Large")))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	e := o.engine(t, Options{})
	fetch(t, e, get(t))
	for range 2 {
		req := get(t)
		req.Header.Set("X-Large", strings.Repeat("x", 16<<20))
		if _, body := fetch(t, e, req); body != fmt.Sprint(16<<20) {
			t.Errorf("%s bytes arrived", body)
		}
	}
	if n := o.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
