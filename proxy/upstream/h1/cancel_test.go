package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var errGone = errors.New("the client is gone")

func cancelled(t testing.TB, method string, body io.Reader) (*http.Request, func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	return newRequest(ctx, method, body), func() { cancel(errGone) }
}

func TestCancelWhileWaiting(t *testing.T) {
	reached, ended := make(chan bool), make(chan bool, 1)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		reached <- true
		_, err := r.ReadByte()
		ended <- err != nil
	})
	e := o.engine(t, Options{})
	req, cancel := cancelled(t, "GET", nil)
	go func() {
		<-reached
		cancel()
	}()
	if _, err := e.RoundTrip(req); err != errGone {
		t.Errorf("got %v", err)
	}
	if !<-ended {
		t.Error("the connection lives on")
	}
	if _, err := e.RoundTrip(req); err != errGone {
		t.Errorf("afterwards: got %v", err)
	}
	if o.accepted.Load() != 1 {
		t.Error("a request that was over from the start was sent")
	}
}

func TestCancelWhileReadingTheBody(t *testing.T) {
	for _, read := range []func(io.Reader) ([]byte, error){io.ReadAll, copied} {
		o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
			r.ReadByte()
		})
		e := o.engine(t, Options{})
		req, cancel := cancelled(t, "GET", nil)
		res, err := e.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for running("h1.(*conn).readSome") == 0 {
			}
			cancel()
		}()
		if body, err := read(res.Body); string(body) != "x" || err != errGone {
			t.Errorf("got %q, %v", body, err)
		}
		if e.pool.count() != 0 {
			t.Error("the connection was kept")
		}
	}
}

func TestCancelWhileSending(t *testing.T) {
	reached := make(chan bool)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		reached <- true
		<-t.Context().Done() // reads nothing more
	})
	e := o.engine(t, Options{})
	req, cancel := cancelled(t, "POST", nil)
	body := &tracked{Reader: endless{}}
	req.Body = body
	go func() {
		<-reached
		cancel()
	}()
	if _, err := e.RoundTrip(req); err != errGone {
		t.Errorf("got %v", err)
	}
	eventually(t, "the body to be closed", body.closed.Load)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestCancelWhileDialling(t *testing.T) {
	req, cancel := cancelled(t, "GET", nil)
	e := engine(t, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if _, err := e.RoundTrip(req); err != errGone {
		t.Errorf("got %v", err)
	}
}

// TestCancelAtTheEnd cancels just as a response ends, again and again: a
// connection that the cancellation may still hit must not be in the pool.
func TestCancelAtTheEnd(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := o.engine(t, Options{})
	var all sync.WaitGroup
	var good, bad atomic.Int32
	for range 8 {
		all.Go(func() {
			for range 200 {
				req, cancel := cancelled(t, "GET", nil)
				res, err := e.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				go cancel()
				if _, err = io.ReadAll(res.Body); err == nil {
					good.Add(1)
				} else if err == errGone {
					bad.Add(1)
				} else {
					t.Error(err)
				}
				res.Body.Close()
				fetch(t, e, post(t, "not to be repeated")) // with nothing to cancel it
			}
		})
	}
	all.Wait()
	t.Logf("%d responses, %d cancelled, %d connections", good.Load(), bad.Load(), o.accepted.Load())
}

// TestNoGoroutines: a request without a body, or with a small one at hand, runs on its
// caller's goroutine alone, and an idle connection has none.
func TestNoGoroutines(t *testing.T) {
	const frame = "proxy/upstream/h1.(*"
	reached, answer := make(chan bool), make(chan bool)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			reached <- true
			<-answer
			io.WriteString(c, okResponse)
		}
	})
	e := o.engine(t, Options{})
	for name, req := range map[string]*http.Request{"GET": get(t), "small POST": atHand(t, "x"), "large POST": post(t, strings.Repeat("x", 100_000)), "unknown POST": post(t, "x")} {
		ctx, cancel := context.WithCancel(t.Context())
		var caller sync.WaitGroup
		caller.Go(func() { fetch(t, e, req.WithContext(ctx)) })
		<-reached
		eventually(t, "one goroutine", func() bool { return running(frame) == 1 })
		answer <- true
		caller.Wait()
		if n := running(frame); n != 0 {
			t.Errorf("%s: %d goroutines afterwards", name, n)
		}
		cancel()
	}
	if o.accepted.Load() != 1 {
		t.Errorf("%d connections", o.accepted.Load())
	}
}
