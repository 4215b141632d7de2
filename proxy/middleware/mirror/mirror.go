package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Defaults of [Options].
const (
	DefaultMaxBody    = 64 << 10
	DefaultConcurrent = 16
	DefaultTimeout    = 10 * time.Second
)

// mostAnswer is how much of an answer is read, to leave the connection usable.
const mostAnswer = 256 << 10

// Options shape a [Mirror]. They are comparable if To is.
type Options struct {
	// To takes the copies.
	To http.RoundTripper

	// Percent is how many of a hundred requests are copied: above 0, at most
	// 100.
	Percent float64

	// MaxBody is the largest body that is copied, in bytes; requests with a
	// larger one are not. Zero is [DefaultMaxBody]; negative is an error.
	MaxBody int64

	// Concurrent is how many copies may be under way, each with its body in
	// memory; more are left out. Zero is [DefaultConcurrent].
	Concurrent int

	// Timeout ends a copy. Zero is [DefaultTimeout].
	Timeout time.Duration
}

// Mirror copies requests.
type Mirror struct {
	options Options
	report  func(error)
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	underway int
	closed   bool
	sending  sync.WaitGroup
}

// New returns a mirror. Report is told of copies that failed, on a goroutine of
// the mirror's; nil is nobody.
func New(o Options, report func(error)) (*Mirror, error) {
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.Concurrent == 0 {
		o.Concurrent = DefaultConcurrent
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	switch {
	case o.To == nil:
		return nil, errors.New("there is nowhere to send copies to")
	case !(o.Percent > 0 && o.Percent <= 100):
		return nil, fmt.Errorf("%v percent of the requests cannot be copied", o.Percent)
	case o.MaxBody < 0 || o.Concurrent < 0 || o.Timeout < 0:
		return nil, errors.New("a limit cannot be negative")
	}
	if report == nil {
		report = func(error) {}
	}
	m := &Mirror{options: o, report: report}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Close ends what is under way and waits for it. Nothing is copied afterwards.
func (m *Mirror) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.sending.Wait()
}

// Wrap copies what next is asked. Outgoing makes the request to send, without a
// body and a context; it must share nothing with r that next may change. What
// asks for an upgrade is never copied.
func (m *Mirror) Wrap(next http.Handler, outgoing func(r *http.Request) *http.Request) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.chosen(r) || !m.enter() {
			next.ServeHTTP(w, r)
			return
		}
		c := &copying{mirror: m, out: outgoing(r)}
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			c.launch()
			next.ServeHTTP(w, r)
			return
		}
		defer c.abandon()
		c.in = r.Body
		copied := new(http.Request)
		*copied = *r
		copied.Body = c
		next.ServeHTTP(w, copied)
	})
}

// chosen throws the dice.
func (m *Mirror) chosen(r *http.Request) bool {
	return (m.options.Percent >= 100 || rand.Float64()*100 < m.options.Percent) &&
		r.ContentLength <= m.options.MaxBody && len(r.Header["Upgrade"]) == 0
}

// enter takes a place among the copies under way.
func (m *Mirror) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.underway >= m.options.Concurrent {
		return false
	}
	m.underway++
	m.sending.Add(1)
	return true
}

func (m *Mirror) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.underway--
	m.sending.Done()
}

// copying is a request whose body is copied while the request itself is served.
type copying struct {
	mirror *Mirror
	out    *http.Request
	in     io.ReadCloser

	mu    sync.Mutex
	body  bytes.Buffer
	ended bool // sent, or given up
}

// Read implements [io.Reader] for whoever serves the request.
func (c *copying) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return n, err
	}
	switch {
	case int64(c.body.Len()+n) > c.mirror.options.MaxBody, err != nil && err != io.EOF:
		c.giveUp()
	default:
		c.body.Write(p[:n])
		if err == io.EOF {
			c.ended = true
			c.launch()
		}
	}
	return n, err
}

// Close implements [io.Closer].
func (c *copying) Close() error { return c.in.Close() }

// abandon gives up what was not read to its end.
func (c *copying) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.giveUp()
	}
}

// giveUp is called with the lock held.
func (c *copying) giveUp() {
	c.ended = true
	c.body = bytes.Buffer{}
	c.mirror.leave()
}

// launch sends the copy.
func (c *copying) launch() {
	go func() {
		defer c.mirror.leave()
		defer func() {
			// A copy must not take the process along, whatever happens to it.
			if thrown := recover(); thrown != nil {
				c.mirror.report(fmt.Errorf("sending a copy: panic: %v", thrown))
			}
		}()
		if err := c.send(); err != nil && c.mirror.ctx.Err() == nil {
			c.mirror.report(fmt.Errorf("sending a copy: %w", err))
		}
	}()
}

func (c *copying) send() error {
	ctx, cancel := context.WithTimeout(c.mirror.ctx, c.mirror.options.Timeout)
	defer cancel()
	out := c.out.WithContext(ctx)
	out.Body, out.ContentLength, out.Trailer, out.TransferEncoding = nil, int64(c.body.Len()), nil, nil
	if c.body.Len() > 0 {
		out.Body = io.NopCloser(bytes.NewReader(c.body.Bytes()))
	}
	res, err := c.mirror.options.To.RoundTrip(out)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.CopyN(io.Discard, res.Body, mostAnswer)
	if err == io.EOF {
		err = nil
	}
	return err
}
