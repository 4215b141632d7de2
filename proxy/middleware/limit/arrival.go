package limit

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Arrival bounds the time in which the whole body of a request has to arrive,
// counted from when its head had been read. Past it whoever reads the body gets
// an error that is a timeout, and the client 408 (RFC 9110 section 15.5.9) if
// nothing was answered yet. Requests without a body, and the bytes that follow
// an upgrade, are not bounded. Zero or less is no limit.
func Arrival(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if d <= 0 {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
				next.ServeHTTP(w, r)
				return
			}
			left := d
			if x := exchange.Of(r); !x.Started.IsZero() {
				left -= time.Since(x.Started)
			}
			body := &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
			body.timer = time.AfterFunc(max(left, 0), body.expire)
			defer body.end()
			timed := new(http.Request)
			*timed = *r
			timed.Body = body
			next.ServeHTTP(w, timed)
		})
	}
}

// timedBody is a body that has to be there by a certain time.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	timer   *time.Timer
	late    atomic.Bool

	mu   sync.Mutex // guards what follows, not reading
	done bool
}

// expire wakes up a read that waits for the client.
func (b *timedBody) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return // the connection may be at its next request
	}
	b.late.Store(true)
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	if b.late.Load() {
		return 0, lateError{}
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.end()
	case err != nil && b.late.Load():
		err = lateError{}
	}
	return n, err
}

// end stops the clock.
func (b *timedBody) end() {
	b.timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
}

// lateError is a body that did not arrive in time.
type lateError struct{}

func (lateError) Error() string { return "the request's body did not arrive in time" }

// Timeout reports true, as [net.Error] wants.
func (lateError) Timeout() bool { return true }

// Temporary reports false, as [net.Error] wants.
func (lateError) Temporary() bool { return false }
