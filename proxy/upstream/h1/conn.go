package h1

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/socket"
	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// readSize is the size of a connection's read buffer. It holds most heads; a
// larger body is read past it.
const readSize = 4 << 10

// conn is a connection to the server. One exchange at a time has it; idle, it
// has no buffer.
type conn struct {
	nc        net.Conn
	stream    io.ReadWriter // over nc
	tls       *tls.ConnectionState
	socket    syscall.RawConn // nil if there is none to look at
	reused    bool
	idleSince time.Duration // by the pool's clock

	// interrupt makes reads and writes fail from now on. It is a field so
	// that handing it over allocates nothing.
	interrupt   func()
	interrupted atomic.Bool

	*scratch     // while in an exchange
	r, w     int // buf[r:w] was read and not yet used

	patience time.Duration // with each read; zero or negative: no limit
	limits

	look    func(fd uintptr) bool // likewise a field
	silence bool                  // what look found
	direct  bool                  // ask may be used
	ask     func(fd uintptr) bool // likewise a field
	asking  question
}

// scratch is what reading a response needs. It is kept between exchanges but
// not with a connection, so that idle ones are small.
type scratch struct {
	buf    []byte // fixed, or larger for a larger head
	fixed  [readSize]byte
	fields []wire.Span
}

func newConn(nc net.Conn) *conn {
	c := &conn{nc: nc, stream: socket.New(nc)}
	c.interrupt = func() {
		c.interrupted.Store(true)
		_ = nc.SetDeadline(time.Unix(1, 0))
	}
	c.look, c.ask = c.lookAt, c.askAt
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	inner := nc
	if wrapped, ok := nc.(interface{ NetConn() net.Conn }); ok {
		inner = wrapped.NetConn()
	}
	if sc, ok := inner.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.socket = raw
			c.direct = inner == nc && socket.Direct(nc) != nil
		}
	}
	return c
}

func (c *conn) close() { _ = c.nc.Close() }

// quiet reports whether an idle connection is open with nothing to read. A
// server has nothing to say unasked: what it said anyway must not be taken for
// the answer to the next request (RFC 9112 section 9.2). Over TLS a late
// session ticket looks the same, which costs one connection.
func (c *conn) quiet() bool {
	if c.socket == nil {
		return true
	}
	c.silence = false
	return c.rested(func() error { return c.socket.Read(c.look) }) == nil && c.silence
}

// open gives the connection what an exchange needs.
func (c *conn) open(s *scratch) {
	if s.buf == nil {
		s.buf = s.fixed[:]
	}
	c.scratch = s
	c.r, c.w = 0, 0
}

// leave takes it back.
func (c *conn) leave() *scratch {
	c.patience = 0
	c.limitRead(time.Time{})
	s := c.scratch
	c.scratch = nil
	s.buf = s.fixed[:]
	if cap(s.fields) > defaultFields {
		s.fields = nil
	}
	return s
}

func (c *conn) buffered() []byte { return c.buf[c.r:c.w] }

// setWriteDeadline sets a limit for writing, or none, unless the connection was
// interrupted, which stays so.
func (c *conn) setWriteDeadline(t time.Time) {
	_ = c.nc.SetWriteDeadline(t)
	if c.interrupted.Load() {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
	}
}

// fill reads once into the buffer, which has room or is moved to have some.
func (c *conn) fill() error {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(c.buf):
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	n, err := c.readSome(c.buf[c.w:])
	c.w += n
	return err
}

// readSome reads at least one byte from the network or fails.
func (c *conn) readSome(p []byte) (int, error) {
	if c.patience > 0 {
		c.limitRead(time.Now().Add(c.patience))
	}
	for range 100 {
		n, err := c.stream.Read(p)
		if n > 0 {
			return n, nil // an error will come again
		}
		if err != nil && !c.early(err) {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// read returns what is in the buffer or else reads once, past the buffer if p
// is not smaller.
func (c *conn) read(p []byte) (int, error) {
	if c.r == c.w {
		if len(p) >= readSize {
			return c.readSome(p)
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// grow makes room for a head that does not fit, up to limit bytes in all. It
// reports whether there is room.
func (c *conn) grow(limit int) bool {
	if c.r > 0 || c.w < len(c.buf) {
		return true
	}
	if len(c.buf) >= limit {
		return false
	}
	larger := make([]byte, min(2*len(c.buf), limit))
	copy(larger, c.buf)
	c.buf = larger
	return true
}
