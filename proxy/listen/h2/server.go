package h2

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options shapes a Server. A time or a limit of 0 or less is the default that
// its comment names.
type Options struct {
	// Handler answers requests, each on a goroutine of its own; required. An
	// extended CONNECT (RFC 8441) has its :protocol among the request's fields,
	// under that name, where no client can put it otherwise.
	Handler http.Handler

	// HeaderBytes is the most that a request's fields may take, each counted
	// as RFC 9113 section 6.5.2 says: name, value and 32. Default 64 KiB.
	HeaderBytes int

	// HeaderCount is the most fields that a request may have; more is answered
	// with 431. Default: what fits into HeaderBytes.
	HeaderCount int

	// URILength is the longest :path; a longer one is answered with 414.
	// Default: what fits into HeaderBytes.
	URILength int

	// HeaderTimeout bounds the time for the client's preface and for a request
	// head that comes in pieces. Default: 10 s.
	HeaderTimeout time.Duration

	// IdleTimeout is how long a connection without a request stays open.
	// Default: no limit but that the peer answers pings.
	IdleTimeout time.Duration

	// LastWriteTimeout bounds how long the rest of a response, which is less
	// than a buffer, waits for the client's window when its handler has returned
	// without setting a deadline. Then the stream is reset. Default: no limit.
	LastWriteTimeout time.Duration

	// Streams is how many requests may be under way on one connection, those
	// included that the client has reset and whose handlers have not returned
	// yet. Default: 128.
	Streams int

	// State is told when a connection becomes active (its first request) and
	// idle (no request any more); nil is told nothing.
	State func(net.Conn, http.ConnState)

	// Refused is told of every refusal that the engine makes by itself; it may
	// be called with locks held and must not block. Nil is told nothing.
	Refused func(Refusal)

	// Context is what requests' contexts take their values from; nil is
	// [context.Background].
	Context context.Context

	// Logger gets panics of handlers, and at debug level what clients did
	// wrong; required.
	Logger *zap.Logger
}

// Server serves HTTP/2 on connections that others accepted.
type Server struct {
	options Options
	names   *names
	pools   pools
	date    atomic.Pointer[date]

	draining atomic.Bool

	mu     sync.Mutex
	conns  map[*conn]struct{}
	ending bool // no connection is served any more that comes now
	closed bool
	wake   chan struct{} // closed and renewed when the last connection ends
}

// New returns a server. It starts nothing.
func New(o Options) *Server {
	o.HeaderBytes = defaulted(o.HeaderBytes, 64<<10)
	o.HeaderCount = defaulted(o.HeaderCount, o.HeaderBytes)
	o.URILength = defaulted(o.URILength, o.HeaderBytes)
	o.Streams = defaulted(o.Streams, 128)
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = 10 * time.Second
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.State == nil {
		o.State = func(net.Conn, http.ConnState) {}
	}
	if o.Refused == nil {
		o.Refused = func(Refusal) {}
	}
	s := &Server{options: o, names: newNames(), conns: make(map[*conn]struct{}), wake: make(chan struct{})}
	s.pools.init()
	return s
}

// pools are of buffers that connections hold only while they need them.
type pools struct {
	frames sync.Pool // of *[frameSize]byte: payloads that do not fit into smallFrame
	small  sync.Pool // of *chunk
	large  sync.Pool // of *chunk
	tails  sync.Pool // of *[tailSize]byte
	outs   sync.Pool // of *[]byte
}

func (p *pools) init() {
	p.frames.New = func() any { return new([frameSize]byte) }
	p.small.New = func() any { return &chunk{data: make([]byte, smallChunk)} }
	p.large.New = func() any { return &chunk{data: make([]byte, largeChunk)} }
	p.tails.New = func() any { return new([tailSize]byte) }
	p.outs.New = func() any { b := make([]byte, 0, 4<<10); return &b }
}

func defaulted(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Serve serves one connection, a [tls.Conn] whose handshake is done or a plain
// one. It returns when the connection is closed and all its handlers have
// returned, or when it has been idle for a while; then a goroutine of the
// Server's own goes on, which Shutdown waits for.
func (s *Server) Serve(nc net.Conn) {
	c := newConn(s, nc)
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	s.run(c, c.start())
}

// run serves a connection until its end, or has another goroutine do so.
func (s *Server) run(c *conn, err error) {
	resting := false
	defer func() {
		if !resting {
			s.remove(c)
		}
	}()
	if resting = c.serve(err); resting {
		go s.resume(c)
	}
}

// Open is how many connections are served.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain tells clients by GOAWAY to send no more requests (RFC 9113 section 6.8).
// Connections that come later are served, and told so at once.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for c := range s.conns {
		c.drain()
	}
}

// Shutdown tells clients by GOAWAY to send no more requests (RFC 9113 section
// 6.8), and returns when those under way are answered and all connections
// closed, or with ctx's error. Connections that come later are closed at once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	for {
		s.mu.Lock()
		left, wake := len(s.conns), s.wake
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes all connections at once. Serve returns when the handlers have
// noticed.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.cut()
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ending {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 {
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

// date is a value of the Date field, and the second that it is of.
type date struct {
	second int64
	text   string
}

// now returns the value of a Date field (RFC 9110 section 5.6.7).
func (s *Server) now() string {
	t := time.Now()
	second := t.Unix()
	if d := s.date.Load(); d != nil && d.second == second {
		return d.text
	}
	text := t.UTC().Format(http.TimeFormat)
	s.date.Store(&date{second, text})
	return text
}
