package h1

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// readSize is the size of a connection's read buffer. It holds most heads; a
// larger body is read past it.
const readSize = 4 << 10

// What a connection is doing, as far as Shutdown needs to know.
const (
	resting int32 = iota // waits for the first byte of a request
	working
	closing // Shutdown has closed it
)

// conn is a connection to a client. Between two requests it has no buffer.
type conn struct {
	server *Server
	nc     net.Conn
	tls    *tls.ConnectionState
	remote string
	peer   netip.AddrPort // the same
	state  atomic.Int32

	*scratch           // from the first byte of a request to its end
	r, w     int       // buf[r:w] was read and not yet used
	began    time.Time // when the first byte of the request came
	fills    int       // of the buffer since then
	first    [1]byte   // what await and watch read into
	ahead    bool      // first was read and is not in buf yet

	used     bool      // it has begun to wait for its first request
	tired    bool      // it waits, or should wait, on a goroutine of its own for that
	patience time.Time // until when it waits; zero: for ever

	broken atomic.Bool // nothing can be written any more
	ended  atomic.Bool // nothing can be read any more

	deadlines
	watcher
}

// scratch is what reading a request needs. It is kept between requests but not
// with a connection, so that idle ones are small.
type scratch struct {
	buf    []byte // fixed, or larger for a larger head
	fixed  [readSize]byte
	fields []wire.Span
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, nc: nc, remote: nc.RemoteAddr().String()}
	c.peer, _ = netip.ParseAddrPort(c.remote)
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	return c
}

// raw returns the connection below TLS. Closing that one says no farewell, so
// that a client does not take what was cut for what has ended, and does not
// wait for a peer that does not read.
func (c *conn) raw() net.Conn {
	if secure, ok := c.nc.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c.nc
}

// observe tells of a change of state.
func (c *conn) observe(state http.ConnState) {
	if f := c.server.options.State; f != nil {
		f(c.nc, state)
	}
}

// closeIfIdle closes the connection unless a request has begun. What a client
// has sent at this very moment is lost, as it is whenever a server closes.
func (c *conn) closeIfIdle() {
	if c.state.CompareAndSwap(resting, closing) {
		_ = c.raw().Close()
	}
}

// open gives the connection its read buffer, with what is ahead in it.
func (c *conn) open() {
	if c.scratch == nil {
		c.scratch = c.server.ins.Get().(*scratch)
		c.buf = c.fixed[:]
		c.r, c.w = 0, 0
	}
	if c.ahead {
		c.ahead = false
		c.makeRoom()
		c.buf[c.w] = c.first[0]
		c.w++
	}
}

// release takes the read buffer back if there is nothing in it.
func (c *conn) release() {
	if c.scratch == nil || c.r != c.w {
		return
	}
	s := c.scratch
	c.scratch = nil
	s.buf = nil
	if cap(s.fields) > defaultHeaderCount {
		s.fields = nil
	}
	c.server.ins.Put(s)
}

func (c *conn) buffered() []byte { return c.buf[c.r:c.w] }

// makeRoom moves what is buffered to the front if nothing else can be added.
func (c *conn) makeRoom() {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(c.buf):
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
}

// fill reads once into the buffer, which has room or is moved to have some.
func (c *conn) fill() error {
	c.makeRoom()
	c.fills++
	n, err := c.readSome(c.buf[c.w:])
	c.w += n
	return err
}

// readSome reads at least one byte from the network or fails.
func (c *conn) readSome(p []byte) (int, error) {
	for range 100 {
		n, err := c.nc.Read(p)
		if n > 0 {
			return n, nil // an error will come again
		}
		if err != nil && !(isDeadline(err) && c.early()) {
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

// write writes p, in pieces that whoever watches the socket can see move. It has
// no deadline unless the handler has set one: that a client takes what it is sent
// is for the owner of the socket to see to. After an error the connection is
// broken.
func (c *conn) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), outSize)
		if _, err := c.nc.Write(p[:n]); err != nil {
			c.broken.Store(true)
			return err
		}
		p = p[n:]
	}
	return nil
}

// deadlines are the limits of a connection's reads. Setting one on a
// socket costs a lock and a timer, and most are replaced long before they
// are due. So one that is too early is left as it is: when it is due and the
// limit is not, it is set anew (early).
type deadlines struct {
	mu        sync.Mutex
	readLimit time.Time // what is meant; zero: none
	readArmed time.Time // what is set; zero: none
	writeOwn  bool      // a handler has set the write deadline
}

// limitRead bounds reading from now on. Zero means without limit.
func (c *conn) limitRead(t time.Time) {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	c.readLimit = t
	if !t.IsZero() && (c.readArmed.IsZero() || c.readArmed.After(t)) {
		c.armRead(t)
	}
}

// limitReadNow does the same and wakes up a read that waits.
func (c *conn) limitReadNow(t time.Time) error {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	c.readLimit = t
	return c.armRead(t)
}

// armRead sets the socket's deadline. The lock is held.
func (c *conn) armRead(t time.Time) error {
	c.readArmed = t
	return c.nc.SetReadDeadline(t)
}

// early reports whether a deadline was due before its time, and sets it anew.
func (c *conn) early() bool {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	if !c.readLimit.IsZero() && !time.Now().Before(c.readLimit) {
		return false
	}
	return c.armRead(c.readLimit) == nil
}

// setWriteDeadline is the handler's.
func (c *conn) setWriteDeadline(t time.Time) error {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	c.writeOwn = true
	return c.nc.SetWriteDeadline(t)
}

// disownDeadlines forgets the handler's limits.
func (c *conn) disownDeadlines() {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	c.readLimit = time.Time{}
	if c.writeOwn {
		c.writeOwn = false
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
}

// dropDeadlines removes all limits, for whoever gets the connection.
func (c *conn) dropDeadlines() {
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	c.readLimit, c.readArmed = time.Time{}, time.Time{}
	_ = c.nc.SetDeadline(time.Time{})
}
