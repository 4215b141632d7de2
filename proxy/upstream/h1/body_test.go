package h1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// tracked is a body that remembers being closed.
type tracked struct {
	io.Reader
	closed atomic.Bool
}

func (b *tracked) Close() error {
	b.closed.Store(true)
	return nil
}

// random-looking, so that a piece out of place shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*17)
	}
	return b
}

func TestLargeBodies(t *testing.T) {
	for _, n := range []int{0, 1, readSize - 1, readSize, readSize + 1, copySize, 100_000, 3 << 20} {
		data := pattern(n)
		for framing, respond := range map[string]func(io.Writer){
			"length": func(w io.Writer) { fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, data) },
			"close":  func(w io.Writer) { fmt.Fprintf(w, "HTTP/1.1 200 OK\r\n\r\n%s", data) },
			"chunks": func(w io.Writer) {
				io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for rest := data; len(rest) > 0; {
					size := min(len(rest), len(rest)%4099+1)
					fmt.Fprintf(w, "%x\r\n%s\r\n", size, rest[:size])
					rest = rest[size:]
				}
				io.WriteString(w, "0\r\n\r\n")
			},
		} {
			o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
				http.ReadRequest(r)
				w := bufio.NewWriterSize(c, 5000)
				respond(w)
				w.Flush()
			})
			e := o.engine(t, Options{MaxIdle: -1})
			for name, read := range map[string]func(io.Reader) ([]byte, error){"Read": io.ReadAll, "WriteTo": copied} {
				res, err := e.RoundTrip(get(t))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := read(res.Body); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes, by %s, %s: got %d, %v", n, framing, name, len(got), err)
				}
				res.Body.Close()
			}
		}
	}
}

func TestRequestBodies(t *testing.T) {
	for _, n := range []int{1, 100, maxAtHand, maxAtHand + 1, copySize, 1 << 20} {
		for _, known := range []bool{true, false} {
			o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				body, err := io.ReadAll(req.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n%40s", fmt.Sprint(bytes.Equal(body, pattern(n)), req.ContentLength, err))
			})
			e := o.engine(t, Options{RequestBuffer: 3 * maxAtHand})
			body := &tracked{Reader: bytes.NewReader(pattern(n))}
			req := newRequest(t.Context(), "POST", body)
			want := "true -1 <nil>"
			if known {
				req.ContentLength = int64(n)
				want = fmt.Sprint(true, n, nil)
			}
			_, got := fetch(t, e, req)
			if strings.TrimSpace(got) != want {
				t.Errorf("%d bytes: %s", n, got)
			}
			eventually(t, "the body to be closed", body.closed.Load)
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, announced := req.Trailer["X-Sum"]
		io.Copy(io.Discard, req.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Got, X-Never, Set-Cookie\r\n\r\n1\r\nx\r\n0\r\n"+
			"X-Got: %v %v\r\nx-more: 1\r\nX-More: 2\r\nSet-Cookie: a\r\nContent-Length: 7\r\nAuthorization: b\r\n\r\n", announced, req.Trailer)
	})
	e := o.engine(t, Options{})
	req := newRequest(t.Context(), "POST", nil)
	req.Trailer = http.Header{"X-Sum": nil, "Host": nil}
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader("data"), ending(func() {
		req.Trailer.Set("X-Sum", "42")
		req.Trailer.Set("Host", "evil")
		req.Trailer.Set("X-Unannounced", "1")
	})))
	res, err := e.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := res.Trailer["X-Got"]; got != nil || !ok || len(res.Trailer) != 2 || res.Header["Trailer"] != nil {
		t.Errorf("announced %v", res.Trailer)
	}
	if body, err := io.ReadAll(res.Body); string(body) != "x" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	if got := fmt.Sprint(res.Trailer); got != "map[X-Got:[true map[X-Sum:[42] X-Unannounced:[1]]] X-More:[1 2] X-Never:[]]" {
		t.Errorf("got %s", got)
	}
}

// ending is an empty reader that does something at its end.
type ending func()

func (f ending) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestEarlyResponse(t *testing.T) {
	for name, rest := range map[string]string{
		"without a body":                     "Content-Length: 0\r\n\r\n",
		"with a body":                        "Content-Length: 4\r\n\r\nstop",
		"to a small body that does not come": "Content-Length: 0\r\n\r\n",
	} {
		o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
			http.ReadRequest(r) // but not its body
			io.WriteString(c, "HTTP/1.1 413 Too Large\r\n"+rest)
			io.Copy(io.Discard, r)
		})
		e := o.engine(t, Options{})
		body, w := io.Pipe() // never written to
		req := newRequest(t.Context(), "POST", body)
		if strings.Contains(name, "small") {
			req.ContentLength = 3
		}
		if res, _ := fetch(t, e, req); res.StatusCode != 413 {
			t.Errorf("%s: got %s", name, res.Status)
		}
		if e.pool.count() != 0 {
			t.Errorf("%s: the connection of an unfinished request was kept", name)
		}
		w.Close() // the client ends it
	}
}

// TestBothDirectionsAtOnce: a response that depends on later parts of the
// request.
func TestBothDirectionsAtOnce(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		req, _ := http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		lines := bufio.NewReader(req.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(line), line)
		}
		io.WriteString(c, "0\r\n\r\n")
		http.ReadRequest(r)
		io.WriteString(c, okResponse)
	})
	e := o.engine(t, Options{})
	body, w := io.Pipe()
	res, err := e.RoundTrip(newRequest(t.Context(), "POST", body))
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(res.Body)
	for i := range 100 {
		fmt.Fprintf(w, "line %d\n", i)
		if got, err := r.ReadString('\n'); got != fmt.Sprintf("line %d\n", i) || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	w.Close()
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	if fetch(t, e, get(t)); o.accepted.Load() != 1 {
		t.Error("the connection was not used again although the request was sent")
	}
}

// TestAnswerOfAServerThatStopsReading: a response is seen even if the rest of
// the request could not be delivered.
func TestAnswerOfAServerThatStopsReading(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		req, _ := http.ReadRequest(r)
		io.CopyN(io.Discard, req.Body, 1000)
		c.CloseRead()
		io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		io.Copy(io.Discard, r)
	})
	e := o.engine(t, Options{})
	if res, body := fetch(t, e, post(t, strings.Repeat("x", 8<<20))); res.StatusCode != 403 || body != "no" {
		t.Errorf("got %s", res.Status)
	}
}

func TestBrokenRequestBodies(t *testing.T) {
	broken := errors.New("the client is gone")
	for _, size := range []int64{100, 100_000, -1} {
		for name, c := range map[string]struct {
			body io.Reader
			want error
		}{
			"error": {io.MultiReader(strings.NewReader("some"), failing{broken}), broken},
			"short": {strings.NewReader("some"), errShortBody},
		} {
			if size < 0 && name == "short" {
				continue
			}
			whole := make(chan bool, 1)
			o := serve(t, func(_ *net.TCPConn, r *bufio.Reader, _ int) {
				req, err := http.ReadRequest(r)
				if err == nil {
					_, err = io.Copy(io.Discard, req.Body)
				}
				whole <- err == nil
			})
			e := o.engine(t, Options{RequestBuffer: maxAtHand})
			body := &tracked{Reader: c.body}
			req := newRequest(t.Context(), "POST", body)
			req.ContentLength = size
			if _, err := e.RoundTrip(req); !errors.Is(err, c.want) {
				t.Errorf("%s, length %d: got %v", name, size, err)
			}
			eventually(t, "the body to be closed", body.closed.Load)
			if size > maxAtHand && <-whole {
				t.Errorf("%s, length %d: the server takes it for whole", name, size)
			}
		}
	}
	o := serve(t, answering(okResponse))
	req := post(t, "longer than it says")
	req.ContentLength = 3
	if _, err := o.engine(t, Options{RequestBuffer: maxAtHand}).RoundTrip(req); err == nil || o.accepted.Load() != 0 {
		t.Errorf("too long a body: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBodyClosedEarly(t *testing.T) {
	o := serve(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000)))
	e := o.engine(t, Options{})
	for range 3 {
		res, err := e.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, 10))
		if err := errors.Join(res.Body.Close(), res.Body.Close()); err != nil {
			t.Error(err)
		}
		if n, err := res.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errBodyClosed) {
			t.Errorf("after Close: %d, %v", n, err)
		}
		if e.pool.count() != 0 {
			t.Error("the connection of a half-read response was kept")
		}
	}
}

// TestBodyClosedWhileRead closes a body under a reader that waits.
func TestBodyClosedWhileRead(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
		io.Copy(io.Discard, r)
	})
	e := o.engine(t, Options{})
	res, err := e.RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, err := io.ReadAll(res.Body); !errors.Is(err, errBodyClosed) {
			t.Errorf("got %v", err)
		}
	})
	eventually(t, "the reader", func() bool { return running("h1.(*conn).readSome") > 0 })
	res.Body.Close()
	reader.Wait()
}

// TestStreamIsNotHeldBack: what a server has sent is seen before it sends more.
func TestStreamIsNotHeldBack(t *testing.T) {
	next := make(chan bool)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i := range 5 {
			fmt.Fprintf(c, "1\r\n%d\r\n", i)
			<-next
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	res, err := o.engine(t, Options{}).RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for i := range 5 {
		if n, err := res.Body.Read(buf); n != 1 || buf[0] != byte('0'+i) || err != nil {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		next <- true
	}
	if n, err := res.Body.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("got %d, %v", n, err)
	}
}
