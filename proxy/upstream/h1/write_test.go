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
	"syscall"
	"testing"
)

// flaky is a connection whose write number fail stops after some bytes.
type flaky struct {
	net.Conn
	fail, after int
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.fail--; f.fail != 0 {
		return f.Conn.Write(p)
	}
	n, _ := f.Conn.Write(p[:min(f.after, len(p))])
	return n, syscall.EPIPE
}

// through dials connections of which the first is flaky.
func (o *origin) through(first flaky) func(context.Context) (net.Conn, error) {
	dials := 0
	return func(ctx context.Context) (net.Conn, error) {
		c, err := o.dial(ctx)
		if dials++; dials == 1 {
			return &flaky{c, first.fail, first.after}, err
		}
		return c, err
	}
}

// TestRequestOfWhichNothingWasSentIsRepeated, whatever its method, and its
// body is still whole, since it was at hand or not touched.
func TestRequestOfWhichNothingWasSentIsRepeated(t *testing.T) {
	for _, req := range []*http.Request{newRequest(t.Context(), "POST", nil), atHand(t, "x")} {
		o := serve(t, answering(okResponse))
		e := engine(t, Options{Dial: o.through(flaky{fail: 2})})
		fetch(t, e, get(t))
		if _, got := fetch(t, e, req); got != "ok" || o.accepted.Load() != 2 {
			t.Errorf("got %q over %d connections", got, o.accepted.Load())
		}
	}
}

func TestHalfSentHeadIsNotRepeated(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := engine(t, Options{Dial: o.through(flaky{fail: 2, after: 10})})
	fetch(t, e, get(t))
	if _, err := e.RoundTrip(atHand(t, "x")); !errors.Is(err, syscall.EPIPE) || o.accepted.Load() != 1 {
		t.Errorf("got %v over %d connections", err, o.accepted.Load())
	}
}

// TestAnswerToAHalfSentHead: a server that is full says so and closes.
func TestAnswerToAHalfSentHead(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		io.ReadFull(r, make([]byte, 10))
		io.WriteString(c, "HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n")
	})
	e := engine(t, Options{Dial: o.through(flaky{fail: 1, after: 10})})
	if res, _ := fetch(t, e, get(t)); res.StatusCode != 503 || e.pool.count() != 0 {
		t.Errorf("got %s, %d connections are kept", res.Status, e.pool.count())
	}
}

func TestWriterThatFails(t *testing.T) {
	full := errors.New("full")
	for _, framing := range []string{"Content-Length: 9\r\n\r\nsomething", "Transfer-Encoding: chunked\r\n\r\n9\r\nsomething\r\n0\r\n\r\n"} {
		o := serve(t, answering("HTTP/1.1 200 OK\r\n"+framing))
		e := o.engine(t, Options{})
		res, err := e.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(limited{4, full}, res.Body); n != 4 || err != full {
			t.Errorf("%d, %v", n, err)
		}
		res.Body.Close()
	}
}

type limited struct {
	room int
	err  error
}

func (l limited) Write(p []byte) (int, error) { return min(l.room, len(p)), l.err }

func TestReadersOfOneBodyAtATime(t *testing.T) {
	inside := make(chan error)
	o := serve(t, answering(okResponse))
	res, err := o.engine(t, Options{}).RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(during(func() {
			_, err := res.Body.Read(make([]byte, 1))
			inside <- err
			res.Body.Close()
		}), res.Body)
		inside <- err
	}()
	if err := <-inside; !errors.Is(err, errConcurrentRead) {
		t.Errorf("got %v", err)
	}
	if err := <-inside; err != nil {
		t.Errorf("got %v", err)
	}
}

// during is a writer that does something while it is written to.
type during func()

func (f during) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestErrorsSayWhatHappened(t *testing.T) {
	for want, err := range map[string]error{
		"malformed response: a line does not end in CRLF":   &ProtocolError{badLineEnd},
		"request cannot be sent: the method is not a token": &RequestError{"the method is not a token"},
		"waited 5ns for the response to begin":              &TimeoutError{forHead, 5},
	} {
		if err.Error() != want {
			t.Errorf("got %q", err)
		}
	}
	if !net.Error(&TimeoutError{}).Timeout() {
		t.Error("a timeout is none")
	}
}

// TestHeadsOfEverySizeGoWithBodies, in whatever pieces these are sent.
func TestHeadsOfEverySizeGoWithBodies(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, req.Body)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n%30s", fmt.Sprint(n, " ", len(req.Header.Get("X-Fill")), " ", err))
		}
	})
	e := o.engine(t, Options{})
	for _, fill := range []int{0, 1000, 100_000} {
		for _, size := range []int{1, 15, 16, 4096, copySize - 1, copySize, 3 * copySize} {
			for _, length := range []int64{int64(size), -1} {
				req := post(t, strings.Repeat("x", size))
				req.ContentLength = length
				req.Header.Set("X-Fill", strings.Repeat("f", fill))
				if _, got := fetch(t, e, req); strings.TrimSpace(got) != fmt.Sprint(size, " ", fill, " <nil>") {
					t.Errorf("head %d, body %d: %s", fill, size, got)
				}
			}
		}
	}
	if o.accepted.Load() != 1 {
		t.Errorf("%d connections", o.accepted.Load())
	}
}
