package h1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// origin is a server on a real socket whose connections are handled by a
// function that gets bytes and sends bytes.
type origin struct {
	addr     string
	accepted atomic.Int32
}

// serve starts an origin. handle is told which connection it has, from 1; when
// it returns the connection is closed.
func serve(t testing.TB, handle func(c *net.TCPConn, r *bufio.Reader, n int)) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{addr: l.Addr().String()}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			n := int(o.accepted.Add(1))
			all.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn), bufio.NewReader(c), n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return o
}

func (o *origin) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", o.addr)
}

// engine returns a Transport to the origin and sees to it that nothing of it
// is left running.
func (o *origin) engine(t testing.TB, options Options) *Transport {
	options.Dial = o.dial
	return engine(t, options)
}

func engine(t testing.TB, options Options) *Transport {
	e := New(options)
	t.Cleanup(func() {
		e.Close()
		eventually(t, "goroutines to end", func() bool { return running("h1.(*sender)") == 0 })
	})
	return e
}

// running counts the goroutines with a frame that contains text.
func running(text string) int {
	buf := make([]byte, 1<<20)
	n := 0
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, text) {
			n++
		}
	}
	return n
}

// eventually yields until what is going on elsewhere has come so far.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// answering reads requests with net/http's parser and answers each with the
// same bytes.
func answering(response string) func(*net.TCPConn, *bufio.Reader, int) {
	return func(c *net.TCPConn, r *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func get(t testing.TB) *http.Request { return newRequest(t.Context(), "GET", nil) }

func newRequest(ctx context.Context, method string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "http://app.test/path?q", body)
	if err != nil {
		panic(err)
	}
	return req
}

// opaque hides what a reader is, so that nobody knows its length or how to
// read it again.
type opaque struct{ io.Reader }

func post(t testing.TB, body string) *http.Request {
	req := newRequest(t.Context(), "POST", opaque{strings.NewReader(body)})
	req.ContentLength = int64(len(body))
	return req
}

// ready is a body that knows how much of it is there.
type ready struct{ *bufio.Reader }

func (ready) Close() error { return nil }

// atHand makes a post whose body is there.
func atHand(t testing.TB, body string) *http.Request {
	req := post(t, body)
	r := bufio.NewReaderSize(strings.NewReader(body), len(body)+16)
	r.Peek(len(body))
	req.Body = ready{r}
	return req
}

// fetch has a whole exchange.
func fetch(t testing.TB, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res, string(body)
}

func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
