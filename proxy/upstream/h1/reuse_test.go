package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConnectionIsReused(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := o.engine(t, Options{})
	var reused []bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = append(reused, i.Reused) }})
	for range 3 {
		if _, body := fetch(t, e, get(t).WithContext(ctx)); body != "ok" {
			t.Errorf("got %q", body)
		}
	}
	fetch(t, e, post(t, "small"))
	fetch(t, e, post(t, strings.Repeat("large", 10_000)))
	fetch(t, e, get(t))
	if n := o.accepted.Load(); n != 1 || len(reused) != 3 || reused[0] || !reused[2] {
		t.Errorf("%d connections, %v", n, reused)
	}
}

func TestConnectionIsNotReused(t *testing.T) {
	for name, response := range map[string]string{
		"Connection: close":           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":                    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"bytes behind the response":   okResponse + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"a 204 that announces a body": "HTTP/1.1 204 OK\r\nContent-Length: 2\r\n\r\n",
		"a byte behind a 304":         "HTTP/1.1 304 OK\r\n\r\nx",
	} {
		o := serve(t, answering(response))
		e := o.engine(t, Options{})
		for range 2 {
			if _, body := fetch(t, e, get(t)); body != "ok" && body != "" {
				t.Errorf("%s: got %q", name, body)
			}
		}
		if n := o.accepted.Load(); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

func TestRequestThatClosesIsTheLast(t *testing.T) {
	sent := make(chan http.Header, 4)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			sent <- http.Header{"Close": {map[bool]string{true: "close"}[req.Close]}}
			io.WriteString(c, okResponse)
		}
	})
	e := o.engine(t, Options{})
	req := get(t)
	req.Close = true
	fetch(t, e, req)
	req = get(t)
	req.Header.Set("Connection", "close")
	fetch(t, e, req)
	if n := o.accepted.Load(); n != 2 || (<-sent).Get("Close") != "close" || (<-sent).Get("Close") != "close" {
		t.Errorf("%d connections", n)
	}
}

// TestUnsolicitedBytesAreNotAnAnswer: a server that sends a second response by
// and by must not have it taken for the answer to the next request.
func TestUnsolicitedBytesAreNotAnAnswer(t *testing.T) {
	more, sent := make(chan bool), make(chan bool)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, n int) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, okResponse)
		if n == 1 {
			<-more
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			close(sent)
			r.ReadByte()
		}
	})
	e := o.engine(t, Options{})
	fetch(t, e, get(t))
	close(more)
	<-sent
	if _, body := fetch(t, e, get(t)); body != "ok" {
		t.Errorf("got %q", body)
	}
}

// TestClosedIdleConnectionIsNoticed: even a request that may not be repeated
// survives the server's closing of an idle connection.
func TestClosedIdleConnectionIsNoticed(t *testing.T) {
	closed := make(chan bool, 10)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		if req, err := http.ReadRequest(r); err == nil {
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, okResponse)
		}
		c.Close()
		closed <- true
	})
	e := o.engine(t, Options{})
	for range 5 {
		if _, body := fetch(t, e, post(t, "once")); body != "ok" {
			t.Errorf("got %q", body)
		}
		<-closed
	}
}

// staleOnce is a server that, on its first connection, answers one request and
// closes when it has seen the second.
func staleOnce(t testing.TB) *origin {
	return serve(t, func(c *net.TCPConn, r *bufio.Reader, n int) {
		for requests := 1; ; requests++ {
			req, err := http.ReadRequest(r)
			if err != nil || n == 1 && requests == 2 {
				return
			}
			body, _ := io.ReadAll(req.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			io.WriteString(c, "4\r\nbody\r\n")
			if len(body) > 0 {
				io.WriteString(c, "1\r\n+\r\n")
			}
			io.WriteString(c, "0\r\n\r\n")
		}
	})
}

func TestStaleConnectionIsReplacedOnce(t *testing.T) {
	large := strings.Repeat("x", 100_000)
	for name, build := range map[string]func() *http.Request{
		"GET":                   func() *http.Request { return get(t) },
		"HEAD":                  func() *http.Request { return newRequest(t.Context(), "HEAD", nil) },
		"GET with a small body": func() *http.Request { r := atHand(t, "x"); r.Method = "GET"; return r },
		"idempotency key": func() *http.Request {
			r := atHand(t, "x")
			r.Header.Set("Idempotency-Key", "1")
			return r
		},
		"large body that can be had again": func() *http.Request {
			r := newRequest(t.Context(), "POST", strings.NewReader(large))
			r.Header.Set("X-Idempotency-Key", "1")
			return r
		},
	} {
		o := staleOnce(t)
		e := o.engine(t, Options{})
		fetch(t, e, get(t))
		if _, body := fetch(t, e, build()); !strings.HasPrefix(body, "body") && name != "HEAD" {
			t.Errorf("%s: got %q", name, body)
		}
		if n := o.accepted.Load(); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

func TestWhatMayNotBeRepeatedIsNot(t *testing.T) {
	for name, build := range map[string]func() *http.Request{
		"POST":                func() *http.Request { return post(t, "x") },
		"POST without a body": func() *http.Request { return newRequest(t.Context(), "POST", nil) },
		"large POST with GetBody": func() *http.Request {
			return newRequest(t.Context(), "POST", strings.NewReader(strings.Repeat("x", 50_000)))
		},
		"DELETE":                     func() *http.Request { return newRequest(t.Context(), "DELETE", nil) },
		"GET with a large body gone": func() *http.Request { r := post(t, strings.Repeat("x", 50_000)); r.Method = "GET"; return r },
	} {
		o := staleOnce(t)
		e := o.engine(t, Options{})
		fetch(t, e, get(t))
		if res, err := e.RoundTrip(build()); err == nil {
			t.Errorf("%s: got %v", name, res.Status)
		}
		if n := o.accepted.Load(); n != 1 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

// TestFreshConnectionThatFailsIsNotReplaced: no endless dialling of a server
// that does not like a request.
func TestFreshConnectionThatFailsIsNotReplaced(t *testing.T) {
	o := serve(t, func(_ *net.TCPConn, r *bufio.Reader, _ int) { http.ReadRequest(r) })
	e := o.engine(t, Options{})
	if _, err := e.RoundTrip(get(t)); !errors.Is(err, ErrServerClosed) {
		t.Errorf("got %v", err)
	}
	if n := o.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	const clients = 8
	for limit, want := range map[int]int{3: 3, -1: 0, 0: clients} {
		var together sync.WaitGroup
		together.Add(clients)
		o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
			http.ReadRequest(r)
			together.Done()
			together.Wait()
			io.WriteString(c, okResponse)
			r.ReadByte()
		})
		e := o.engine(t, Options{MaxIdle: limit})
		var all sync.WaitGroup
		for range clients {
			all.Go(func() { fetch(t, e, get(t)) })
		}
		all.Wait()
		if n := e.pool.count(); n != want {
			t.Errorf("limit %d: %d are kept", limit, n)
		}
	}
}

func TestCloseLetsExchangesFinish(t *testing.T) {
	reached, answer := make(chan bool), make(chan bool)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/slow" {
				reached <- true
				<-answer
			}
			io.WriteString(c, okResponse)
		}
	})
	e := o.engine(t, Options{})
	fetch(t, e, get(t))
	var slow sync.WaitGroup
	slow.Go(func() {
		req := get(t)
		req.URL.Path = "/slow"
		fetch(t, e, req)
	})
	<-reached
	e.Close()
	close(answer)
	slow.Wait()
	if n := e.pool.count(); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
	fetch(t, e, get(t)) // still works
	if n := e.pool.count(); n != 0 {
		t.Errorf("%d connections are kept after the end", n)
	}
	e.Reopen()
	fetch(t, e, get(t))
	if n := e.pool.count(); n != 1 {
		t.Errorf("%d connections are kept after Reopen", n)
	}
}

func TestDialErrorIsReturnedAsItIs(t *testing.T) {
	refused := errors.New("refused")
	e := engine(t, Options{Dial: func(context.Context) (net.Conn, error) { return nil, refused }})
	body := &tracked{Reader: strings.NewReader("x")}
	req := newRequest(t.Context(), "POST", body)
	if _, err := e.RoundTrip(req); err != refused || !body.closed.Load() {
		t.Errorf("got %v, body closed %t", err, body.closed.Load())
	}
}

// TestOnlyWhatNobodyElseHasIsTakenBack: a response that somebody may still use
// must not become that of another request.
func TestOnlyWhatNobodyElseHasIsTakenBack(t *testing.T) {
	o := serve(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Kept: value\r\n\r\n0123456789"))
	e := o.engine(t, Options{})
	ask := func(req *http.Request) *http.Response {
		res, err := e.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	get := func() *http.Request { return newRequest(context.Background(), "GET", nil) }
	taken := func(res *http.Response) bool { return res.Body.(Recycler).Recycle() }
	read := func(res *http.Response) *http.Response { io.Copy(io.Discard, res.Body); return res }

	first := read(ask(get()))
	if first.Body.Close(); taken(first) {
		t.Error("on a connection that was made for the request, and so may know its context")
	}
	if open := read(ask(get())); taken(open) {
		t.Error("before it was closed")
	}
	if sent := read(ask(post(t, strings.Repeat("x", 1<<20)))); sent.Body.Close() != nil || taken(sent) {
		t.Error("while a sender may have the request's body")
	}
	if watched := read(ask(newRequest(t.Context(), "GET", nil))); watched.Body.Close() != nil || taken(watched) {
		t.Error("while package context may look at the request's")
	}
	whole := read(ask(get()))
	header := whole.Header
	if whole.Body.Close(); !taken(whole) {
		t.Error("although it is over")
	}
	if again := read(ask(get())); header.Get("X-Kept") != "value" || again.StatusCode != 200 {
		t.Errorf("the header of the one that was given back: %v", header)
	}
	half := ask(get())
	if half.Body.Close(); taken(half) {
		t.Error("before it was read to its end")
	}
}

// calling is a context with an AfterFunc method, and says when somebody waits
// for its end in another way.
type calling struct {
	context.Context
	waited *atomic.Int32
}

func (c calling) AfterFunc(func()) func() bool { return func() bool { return true } }

func (c calling) Done() <-chan struct{} {
	c.waited.Add(1)
	return c.Context.Done()
}

// TestNobodyLooksAtAContextThatWasGivenBack: a goroutine of package context that
// waits for the end of a request may begin to do so after that.
func TestNobodyLooksAtAContextThatWasGivenBack(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := o.engine(t, Options{})
	fetch(t, e, newRequest(t.Context(), "GET", nil)) // whoever connects may look
	for _, limited := range []bool{false, true} {
		var waited atomic.Int32
		var ctx context.Context = calling{t.Context(), &waited}
		if limited {
			ctx = WithResponseHeaderTimeout(ctx, time.Minute)
		}
		res, _ := fetch(t, e, newRequest(ctx, "GET", nil))
		if !res.Body.(Recycler).Recycle() {
			t.Errorf("limited %t: not taken back", limited)
		}
		if n := waited.Load(); n > 0 {
			t.Errorf("limited %t: %d looks at the context", limited, n)
		}
	}
}
