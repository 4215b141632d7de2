package h2

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// What a body's reader and a response's writer are told.
var (
	errReset     = errors.New("the client reset the stream")
	errMalformed = errors.New("the client broke the rules of the stream")
	errTrailers  = errors.New("end of the body, with trailers") // never leaves the package
	errReturned  = errors.New("the handler has returned")
)

// stream is a request and its response. It is also the request's context, so
// that the common request does not pay for one.
type stream struct {
	conn     *conn
	id       uint32
	expect   bool  // the client waits for 100 Continue
	late     bool  // it is to begin a little late; see run
	declared int64 // Content-Length of the request, -1 if there is none
	head     int   // size of the request's field section
	trailer  http.Header
	request  http.Request
	url      url.URL
	body     body
	response response

	// With the connection's lock held.
	remoteClosed bool // END_STREAM came
	localClosed  bool // END_STREAM is sent
	reset        bool // by either side
	byClient     bool
	window       int64
	received     int // bytes of DATA not yet given back
	unreturned   int
	allowed      int   // window that the client has
	arrived      int64 // bytes of the body
	trailers     http.Header
	waits        bool // in the connection's list of writers that wait
	wake         chan struct{}

	ctx context.Context // values only

	context struct {
		sync.Mutex
		err   error
		done  chan struct{} // made when asked for
		first func()        // to call at the end; the common request has one
		taken bool          // there is or was a first
		after []*after      // the others
	}
}

// after is a function to call when the context ends.
type after struct{ do func() }

// newStream makes the stream of the request in b. With the lock held.
func newStream(c *conn, id uint32, b *block, ended bool) *stream {
	s := &stream{
		conn:         c,
		id:           id,
		declared:     b.length,
		remoteClosed: ended,
		window:       c.initialWindow,
		allowed:      streamWindow,
		ctx:          c.server.options.Context,
	}
	s.response.stream = s
	s.body.stream = s
	header := b.header()
	target, uri := b.target(&s.url)
	s.request = *(&http.Request{
		Method:     b.method,
		URL:        target,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     header,
		Host:       b.authority,
		RemoteAddr: c.client,
		RequestURI: uri,
		TLS:        c.tls,
	}).WithContext(s)
	r := &s.request
	if ended {
		r.Body = http.NoBody
	} else {
		r.Body = &s.body
		r.ContentLength = b.length
	}
	if expect := header["Expect"]; expect != nil && strings.EqualFold(expect[0], "100-continue") {
		s.expect = !ended
		delete(header, "Expect")
	}
	if announced, ok := header["Trailer"]; ok {
		delete(header, "Trailer")
		for _, list := range announced {
			for name := range strings.SplitSeq(list, ",") {
				name = strings.ToLower(strings.TrimSpace(name))
				if !ended && isName(name) && trailing(name) && !forbidden(name) {
					if r.Trailer == nil {
						r.Trailer = make(http.Header)
					}
					r.Trailer[b.names.header(name)] = nil
				}
			}
		}
		s.trailer = r.Trailer
	}
	return s
}

// run lets the handler answer. It reports whether the worker that called it is
// to wait for the next stream.
//
// Late are those of connections that take many requests back: the client gets a
// moment to do so with this one too.
func (s *stream) run(w *worker) (again bool) {
	if s.late {
		timer := time.NewTimer(probation)
		select {
		case <-timer.C:
		case <-s.Done():
			timer.Stop()
		}
	}
	returned, aborted := false, true
	defer func() {
		if !returned { // the handler has ended the goroutine
			s.finish(nil, true)
		}
	}()
	if s.Err() == nil {
		aborted = s.handle()
	}
	returned = true
	return s.finish(w, aborted)
}

// handle reports whether the response is to be seen as broken.
func (s *stream) handle() (aborted bool) {
	aborted = true
	defer func() {
		if !aborted {
			return
		}
		if e := recover(); e != nil && e != http.ErrAbortHandler {
			s.conn.server.options.Logger.Error("a request handler panicked", zap.String("client", s.conn.client),
				zap.Any("panic", e), zap.ByteString("stack", debug.Stack()))
		}
	}()
	if s.request.URL == nil {
		s.response.WriteHeader(http.StatusBadRequest)
	} else {
		s.conn.server.options.Handler.ServeHTTP(&s.response, &s.request)
	}
	return false
}

// finish ends the response and the stream, and tells the worker whether to wait
// for another.
func (s *stream) finish(w *worker, aborted bool) (again bool) {
	c := s.conn
	if !aborted {
		aborted = s.response.finish() != nil
	}
	s.response.release()
	_ = s.body.Close()
	c.mu.Lock()
	switch {
	case s.reset || c.dead:
	case aborted || !s.localClosed:
		c.out = appendReset(c.out, s.id, codeInternal)
		c.remember(s.id)
		s.reset = true
	case !s.remoteClosed:
		// The response is whole; the rest of the request is not wanted (RFC
		// 9113 section 8.1).
		c.out = appendReset(c.out, s.id, codeNone)
		c.remember(s.id)
		c.resets.earn(1)
	default:
		c.resets.earn(1)
	}
	delete(c.streams, s.id)
	c.heads -= s.head
	if c.running--; c.running == 0 {
		c.since = time.Now()
		c.server.options.State(c.nc, http.StateIdle)
	}
	c.restSoon()
	flush := c.kick()
	leave := c.finished() && !flush
	if !flush {
		again = c.rest(w)
	}
	c.mu.Unlock()
	if leave {
		c.stopReading()
	}
	if flush {
		c.flushAll() // what other streams have written too
		c.mu.Lock()
		again = c.rest(w)
		c.mu.Unlock()
	}
	s.end(context.Canceled)
	return again
}

// ended reports whether nothing more goes either way. With the lock held.
func (s *stream) ended() bool { return s.reset || s.remoteClosed && s.localClosed }

// cancel wakes up everything that works for the stream. With the connection's
// lock held.
func (s *stream) cancel(why error) {
	s.body.abort(why)
	s.wakeUp()
	s.end(context.Canceled)
}

// wakeUp wakes a writer that waits.
func (s *stream) wakeUp() {
	if s.wake == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// handOver gives the trailers to the request when its body has been read.
func (s *stream) handOver() {
	for name, values := range s.trailers {
		s.trailer[name] = values
	}
}

// Deadline implements [context.Context].
func (s *stream) Deadline() (time.Time, bool) { return time.Time{}, false }

// Peer is [http.Request.RemoteAddr], invalid if that is no address with a port.
func (s *stream) Peer() netip.AddrPort { return s.conn.peer }

// Value implements [context.Context].
func (s *stream) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return s.conn.nc.LocalAddr()
	}
	return s.ctx.Value(key)
}

// Err implements [context.Context].
func (s *stream) Err() error {
	s.context.Lock()
	defer s.context.Unlock()
	return s.context.err
}

// Done implements [context.Context].
func (s *stream) Done() <-chan struct{} {
	s.context.Lock()
	defer s.context.Unlock()
	if s.context.done == nil {
		s.context.done = make(chan struct{})
		if s.context.err != nil {
			close(s.context.done)
		}
	}
	return s.context.done
}

// AfterFunc calls f on a goroutine of its own when the context ends. Package
// context looks for this method: without it, every context derived from this
// one would cost a goroutine.
func (s *stream) AfterFunc(f func()) (stop func() bool) {
	s.context.Lock()
	defer s.context.Unlock()
	if s.context.err != nil {
		go f()
		return func() bool { return false }
	}
	if !s.context.taken {
		s.context.taken, s.context.first = true, f
		return s.takeBackFirst
	}
	a := &after{f}
	s.context.after = append(s.context.after, a)
	return func() bool {
		s.context.Lock()
		defer s.context.Unlock()
		i := slices.Index(s.context.after, a)
		if i < 0 {
			return false
		}
		s.context.after = slices.Delete(s.context.after, i, i+1)
		return true
	}
}

// takeBackFirst is what AfterFunc returns when it is called first.
func (s *stream) takeBackFirst() bool {
	s.context.Lock()
	defer s.context.Unlock()
	waiting := s.context.first != nil
	s.context.first = nil
	return waiting
}

// end ends the context.
func (s *stream) end(err error) {
	s.context.Lock()
	defer s.context.Unlock()
	if s.context.err != nil {
		return
	}
	s.context.err = err
	if s.context.done != nil {
		close(s.context.done)
	}
	if s.context.first != nil {
		go s.context.first()
	}
	for _, a := range s.context.after {
		go a.do()
	}
	s.context.first, s.context.after = nil, nil
}
