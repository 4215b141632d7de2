package h1

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options shapes a [Server]. A duration of zero or less is no limit.
type Options struct {
	// Handler answers the requests; required. A panic in it ends the
	// connection; [http.ErrAbortHandler] does so without a line in the log.
	Handler http.Handler

	// HeaderBytes bounds a request's head, from the request line to the empty
	// line: 431 (RFC 6585 section 5). Zero or less is 64 KiB.
	HeaderBytes int

	// HeaderCount bounds the field lines of a head, and those of the trailers:
	// 431. Zero or less is 128.
	HeaderCount int

	// TargetBytes bounds the request target: 414 (RFC 9110 section 15.5.15).
	// Zero or less leaves it to HeaderBytes.
	TargetBytes int

	// HeaderTimeout bounds the time from a request's first byte to the end of
	// its head (408 if it is over), and that from the beginning of a connection to
	// its first byte.
	HeaderTimeout time.Duration

	// IdleTimeout bounds the time between two requests.
	IdleTimeout time.Duration

	// State is told when a connection has read the head of a request
	// ([http.StateActive]), when it waits for the next ([http.StateIdle]), and
	// when a handler takes it over ([http.StateHijacked]). Nil is fine.
	State func(net.Conn, http.ConnState)

	// Refused is told of every malformed request, after it was answered, and
	// of every malformed body when that is seen, which the handler answers. It
	// must not block. Nil is fine.
	Refused func(net.Conn, *ProtocolError)

	// Logger receives panics; required.
	Logger *zap.Logger
}

const (
	defaultHeaderBytes = 64 << 10
	defaultHeaderCount = 128
)

// Server serves connections. It starts nothing by itself.
type Server struct {
	options Options
	ins     sync.Pool // of *scratch
	outs    sync.Pool // of *[bufferSize]byte
	date    atomic.Pointer[stamp]

	draining atomic.Bool // answers say that they are the last
	ending   atomic.Bool // no request is waited for any more
	mu       sync.Mutex
	open     map[*conn]struct{}
	empty    chan struct{} // set by Shutdown; closed when open is empty
}

// New prepares a Server.
func New(o Options) *Server {
	if o.HeaderBytes <= 0 {
		o.HeaderBytes = defaultHeaderBytes
	}
	if o.HeaderCount <= 0 {
		o.HeaderCount = defaultHeaderCount
	}
	if o.TargetBytes <= 0 {
		o.TargetBytes = o.HeaderBytes
	}
	s := &Server{options: o, open: make(map[*conn]struct{})}
	s.ins.New = func() any { return new(scratch) }
	s.outs.New = func() any { return new([bufferSize]byte) }
	return s
}

// Serve serves a connection on the caller's goroutine and closes it, unless a
// handler has hijacked it: then it is the handler's. A TLS connection has had
// its handshake. Serve returns when the connection ends or has been idle for a
// while; then a goroutine of the Server's own goes on, which Shutdown waits for.
func (s *Server) Serve(nc net.Conn) {
	c := newConn(s, nc)
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	s.run(c)
}

// run serves a connection, or has another goroutine do so.
func (s *Server) run(c *conn) {
	resumed := false
	defer func() {
		if !resumed {
			s.remove(c)
		}
	}()
	if c.serve(); c.tired {
		resumed = true
		go s.run(c)
	}
}

// Open is how many connections are served; hijacked ones do not count.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Drain makes each answer from now on the last of its connection (RFC 9112
// section 9.6). Connections that wait for a request go on waiting: it may be on
// its way.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown closes the connections that wait for a request and lets the others
// end with the answer that they are about to give (RFC 9112 section 9.6). It
// returns when none is left, or with ctx's error. Connections that come to
// Serve from now on are closed. Hijacked ones do not count.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	s.ending.Store(true)
	for c := range s.open {
		c.closeIfIdle()
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
		if len(s.open) == 0 {
			close(s.empty)
		}
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections at once. It does not wait for their handlers.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.ending.Store(true)
	for c := range s.open {
		_ = c.raw().Close()
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Load() {
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 && s.empty != nil {
		close(s.empty) // once: add lets nothing in any more
	}
}

// stamp is a Date field (RFC 9110 section 6.6.1) and the second that it is for.
type stamp struct {
	second int64
	line   string
}

// dateLine returns the Date field for now. It is made once a second.
func (s *Server) dateLine(now time.Time) string {
	second := now.Unix()
	last := s.date.Load()
	if last == nil || last.second != second {
		last = &stamp{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		s.date.Store(last)
	}
	return last.line
}
