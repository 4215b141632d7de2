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
	"testing/synctest"
	"time"
)

// bubble runs a test on synthetic time against a server behind a pipe. The
// bubble does not end before every goroutine has, so that none can leak.
func bubble(t *testing.T, o Options, handle func(c net.Conn, r *bufio.Reader), test func(t *testing.T, e *Transport)) {
	synctest.Test(t, func(t *testing.T) {
		var servers sync.WaitGroup
		o.Dial = func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			servers.Go(func() {
				defer theirs.Close()
				handle(theirs, bufio.NewReader(theirs))
			})
			return ours, nil
		}
		e := New(o)
		test(t, e)
		e.Close()
		servers.Wait()
	})
}

func TestResponseHeaderTimeout(t *testing.T) {
	silent := func(_ net.Conn, r *bufio.Reader) {
		if req, err := http.ReadRequest(r); err == nil {
			io.Copy(io.Discard, req.Body)
			r.ReadByte()
		}
	}
	for name, body := range map[string]string{"GET": "", "small": "x", "large": strings.Repeat("x", 100_000)} {
		bubble(t, Options{ResponseHeaderTimeout: time.Minute}, silent, func(t *testing.T, e *Transport) {
			begin := time.Now()
			req := post(t, body)
			_, err := e.RoundTrip(req)
			if slow, ok := errors.AsType[*TimeoutError](err); !ok || slow.After != time.Minute || time.Since(begin) != time.Minute {
				t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			}
		})
	}
}

// TestHeaderTimeoutCountsFromTheEndOfTheRequest, and not for the body of the
// response.
func TestHeaderTimeoutCountsFromTheEndOfTheRequest(t *testing.T) {
	slow := func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			time.Sleep(59 * time.Second)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			time.Sleep(time.Hour)
			io.WriteString(c, "k")
		}
	}
	bubble(t, Options{ResponseHeaderTimeout: time.Minute}, slow, func(t *testing.T, e *Transport) {
		for range 2 {
			if _, body := fetch(t, e, newRequest(t.Context(), "POST", &dawdling{pieces: 100})); body != "ok" {
				t.Errorf("got %q", body)
			}
			if _, body := fetch(t, e, get(t)); body != "ok" {
				t.Errorf("got %q", body)
			}
		}
	})
}

// dawdling is a body that takes its time.
type dawdling struct{ pieces int }

func (d *dawdling) Read(p []byte) (int, error) {
	if d.pieces--; d.pieces < 0 {
		return 0, io.EOF
	}
	time.Sleep(30 * time.Second)
	return copy(p, "piece"), nil
}

func TestHeadThatTricklesIsCut(t *testing.T) {
	trickle := func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nA: ")
		for {
			time.Sleep(time.Second)
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
		}
	}
	bubble(t, Options{ResponseHeaderTimeout: time.Minute}, trickle, func(t *testing.T, e *Transport) {
		if _, err := e.RoundTrip(get(t)); !isDeadlineError(err) {
			t.Errorf("got %v", err)
		}
	})
}

func isDeadlineError(err error) bool {
	_, ok := errors.AsType[*TimeoutError](err)
	return ok
}

func TestBodyIdleTimeout(t *testing.T) {
	stalling := func(c net.Conn, r *bufio.Reader) {
		for pause := time.Second; ; pause = time.Hour {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
			for range 100 {
				time.Sleep(pause)
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}
	}
	for _, read := range []func(io.Reader) ([]byte, error){io.ReadAll, copied} {
		bubble(t, Options{BodyIdleTimeout: time.Minute}, stalling, func(t *testing.T, e *Transport) {
			fetch(t, e, get(t)) // slow but steady
			time.Sleep(time.Hour)
			begin := time.Now()
			res, err := e.RoundTrip(get(t))
			if err != nil {
				t.Fatal(err)
			}
			_, err = read(res.Body)
			if slow, ok := errors.AsType[*TimeoutError](err); !ok || slow.Waiting != forBody || time.Since(begin) != time.Minute {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

// TestServerThatTakesNoMore: its last words are waited for, and no longer.
func TestServerThatTakesNoMore(t *testing.T) {
	full := func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		time.Sleep(time.Hour)
	}
	bubble(t, Options{BodyIdleTimeout: time.Minute}, full, func(t *testing.T, e *Transport) {
		for _, length := range []int64{1 << 30, -1} {
			begin := time.Now()
			req := newRequest(t.Context(), "POST", opaque{endless{}})
			req.ContentLength = length
			_, err := e.RoundTrip(req)
			if slow, ok := errors.AsType[*TimeoutError](err); !ok || slow.Waiting != forIntake || time.Since(begin) != time.Minute+lastWords {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		}
	})
}

func TestExpectContinueTimeout(t *testing.T) {
	for _, size := range []int{5, 100_000} {
		var came time.Duration
		quiet := func(c net.Conn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			begin := time.Now()
			req.Body.Read(make([]byte, 1))
			came = time.Since(begin)
			io.Copy(io.Discard, req.Body)
			time.Sleep(time.Minute) // longer than either limit alone
			io.WriteString(c, okResponse)
		}
		bubble(t, Options{ExpectContinueTimeout: time.Second, ResponseHeaderTimeout: 2 * time.Minute}, quiet, func(t *testing.T, e *Transport) {
			if _, body := fetch(t, e, expecting(t, strings.Repeat("x", size))); body != "ok" || came != time.Second {
				t.Errorf("%q, the body came after %v", body, came)
			}
		})
	}
}

// TestContinueArrivesInPieces: the head of the 100 is half there when the
// patience with it ends.
func TestContinueArrivesInPieces(t *testing.T) {
	slow := func(c net.Conn, r *bufio.Reader) {
		req, _ := http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 100 Con")
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "tinue\r\n\r\n"+okResponse)
	}
	bubble(t, Options{ExpectContinueTimeout: time.Second}, slow, func(t *testing.T, e *Transport) {
		req, told := informed(expecting(t, "body"))
		if _, body := fetch(t, e, req); body != "ok" || len(*told) != 2 {
			t.Errorf("%q, told %v", body, *told)
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	var open atomic.Int32
	polite := func(c net.Conn, r *bufio.Reader) {
		open.Add(1)
		defer open.Add(-1)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, okResponse)
		}
	}
	bubble(t, Options{IdleTimeout: time.Minute}, polite, func(t *testing.T, e *Transport) {
		for range 3 {
			fetch(t, e, get(t))
			time.Sleep(59 * time.Second)
			if n := open.Load(); n != 1 {
				t.Errorf("%d connections are open", n)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Errorf("%d connections are open after their time", n)
		}
		// Two, of which one goes on being used.
		first, err := e.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		fetch(t, e, get(t))
		io.Copy(io.Discard, first.Body)
		for range 3 {
			time.Sleep(25 * time.Second)
			fetch(t, e, get(t))
		}
		synctest.Wait()
		if n := open.Load(); n != 1 {
			t.Errorf("%d connections are open where one is needed", n)
		}
	})
}

// TestEarlyResponseDoesNotWait: at the end of a response, a sender that is
// nowhere near its own is not waited for.
func TestEarlyResponseDoesNotWait(t *testing.T) {
	early := func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, okResponse)
		io.Copy(io.Discard, r)
	}
	bubble(t, Options{}, early, func(t *testing.T, e *Transport) {
		begin := time.Now()
		fetch(t, e, newRequest(t.Context(), "POST", &dawdling{pieces: 3}))
		if waited := time.Since(begin); waited != 0 || e.pool.count() != 0 {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(time.Hour) // until the body comes to its end
	})
}
