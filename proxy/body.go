package proxy

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/failure"
)

// lingerTimeout bounds how long a connection stays open for a request body
// that nobody wants any more, so that the client gets to read the answer
// (RFC 9112 section 9.6).
const lingerTimeout = 5 * time.Second

// requestBody is a client's body on its way to a server. The engine may read
// it on a goroutine of its own and longer than the exchange lasts; requestBody
// remembers why reading failed, hands over the trailers, and can be taken away.
type requestBody struct {
	in  *http.Request
	end *http.Request // whose Trailer the server fills
	out *http.Request // whose Trailer is filled at the end

	reserved []string // what a trailer must not be

	mu     sync.Mutex // held while reading
	closed atomic.Bool
	whole  atomic.Bool
	failed atomic.Pointer[failure.Body]
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.in.Body.Read(p)
	switch {
	case err == io.EOF:
		for name, values := range b.end.Trailer {
			if trailerAllowed(name) && !slices.Contains(b.reserved, name) {
				b.out.Trailer[name] = values
			}
		}
		b.whole.Store(true)
	case err != nil && !b.closed.Load():
		broken := &failure.Body{Err: err}
		b.failed.Store(broken)
		return n, broken
	}
	return n, err
}

// Close does nothing: the server behind the seam closes the client's body when
// the request is done.
func (b *requestBody) Close() error { return nil }

// unread reports whether some of the body is still to come.
func (b *requestBody) unread() bool { return b != nil && !b.whole.Load() }

// failure returns why the client's body could not be read, or nil.
func (b *requestBody) failure() error {
	if b == nil {
		return nil
	}
	if err := b.failed.Load(); err != nil {
		return err
	}
	return nil
}

// release takes the body away from the engine before the request's handler
// returns. A read that waits for a client is woken up: otherwise it would keep
// the connection's server waiting for as long as the client likes.
func (b *requestBody) release(w http.ResponseWriter) {
	if !b.unread() {
		return
	}
	b.closed.Store(true)
	if b.in.ProtoMajor != 1 {
		return // in HTTP/2 the end of the handler ends the stream
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Unix(1, 0))
	b.mu.Lock() // waits for the read
	defer b.mu.Unlock()
	_ = control.SetReadDeadline(time.Now().Add(lingerTimeout))
}

// leaveBody prepares a response that is written without having read the
// request's body: it goes out at once instead of after the body, and in
// HTTP/1.1 ends the connection, since where the next request begins can only be
// known by reading on.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	_ = control.SetReadDeadline(time.Now().Add(lingerTimeout))
	w.Header().Set("Connection", "close")
}
