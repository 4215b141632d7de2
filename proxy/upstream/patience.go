package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// WithResponseTimeout returns a context for requests that wait for another time
// for the head of their response than [Options.ResponseHeaderTimeout] says.
// Zero is no limit.
func WithResponseTimeout(ctx context.Context, d time.Duration) context.Context {
	return h1.WithResponseHeaderTimeout(ctx, d)
}

// slowError is a server that did not begin its answer in time.
type slowError struct{ limit time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("no response came within %v", e.limit)
}

// Timeout reports true, as [net.Error] wants.
func (e *slowError) Timeout() bool { return true }

// Temporary reports true, as [net.Error] wants.
func (e *slowError) Temporary() bool { return true }

// patiently bounds the wait for the head of a response, counted from when the
// request was handed over or, if it has a body, from when that was read to its
// end. The library has a limit of its own, but only one for all requests. Zero
// or less is no limit.
func patiently(engine http.RoundTripper, req *http.Request, limit time.Duration) (*http.Response, error) {
	if limit <= 0 {
		return engine.RoundTrip(req)
	}
	// The body of the response needs the context, so it is not ended here but
	// with the client's request.
	ctx, cancel := context.WithCancelCause(req.Context())
	slow := &slowError{limit}
	clock := &patience{limit: limit, expire: func() { cancel(slow) }}
	out := req.WithContext(ctx)
	if req.Body == nil || req.Body == http.NoBody {
		clock.start()
	} else {
		out.Body = &handedOver{ReadCloser: req.Body, clock: clock}
	}
	res, err := engine.RoundTrip(out)
	clock.stop()
	if req.Context().Err() == nil && context.Cause(ctx) == error(slow) {
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, slow
	}
	if err != nil {
		cancel(err)
	}
	return res, err
}

// patience is the clock of one request. It runs at most once, and not after the
// head of the response has come.
type patience struct {
	limit  time.Duration
	expire func()

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func (p *patience) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil && !p.stopped {
		p.timer = time.AfterFunc(p.limit, p.expire)
	}
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// handedOver is a body at whose end the server's time begins.
type handedOver struct {
	io.ReadCloser
	clock *patience
}

// Read implements [io.Reader].
func (b *handedOver) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.clock.start()
	}
	return n, err
}
