package h2

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/socket"
	"github.com/sallyport/sallyport/proxy/internal/tlsmemory"
)

// wakefulness is how long a connection without a request keeps what the last one
// needed: grown stacks and buffers. It ends before memory is given back to the
// system (proxy/pressure), so that this is among it.
const wakefulness = 200 * time.Millisecond

// errResting tells the reading goroutine to go, because nothing goes on.
var errResting = errors.New("the connection is at rest")

// restSoon has look see what can be let go. With the lock held.
func (c *conn) restSoon() {
	if !c.soon && !c.dead {
		c.soon = true
		c.timer.Reset(wakefulness)
	}
}

// slacken lets go of what a connection in use does not need: it may be one with a
// stream that lasts for hours. It reports whether more may go later. With the
// lock held.
func (c *conn) slacken() bool {
	c.dismiss(c.spare)
	c.letOut()
	return len(c.resting) > 0
}

// letOut gives an empty buffer back. With the lock held.
func (c *conn) letOut() {
	if !c.flushing && len(c.out) == 0 {
		c.server.pools.giveUp(c.out, c.box)
		c.out, c.box = nil, nil
	}
}

// settle lets go of what only requests need, and has the reading goroutine do
// the same. With the lock held.
func (c *conn) settle() {
	c.dismiss(len(c.resting))
	if len(c.streams) == 0 {
		c.streams = nil
	}
	c.letOut()
	if !c.resized {
		c.encoder, c.encoded = nil, bytes.Buffer{}
	}
	c.waiting = nil
	if !c.dozing {
		c.roused.Store(true)
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// rested is settle's part that is the reading goroutine's.
func (c *conn) rested() {
	c.block.drop()
	if secure, ok := c.nc.(*tls.Conn); ok {
		tlsmemory.Release(secure)
	}
	c.mu.Lock()
	c.dozing = true
	c.mu.Unlock()
}

// resume goes on with a connection that has settled.
func (s *Server) resume(c *conn) {
	var err error
	if !c.doze() {
		err = c.readFrame()
	}
	c.mu.Lock()
	c.dozing = false
	c.restSoon()
	c.mu.Unlock()
	s.run(c, err)
}

// doze waits for the socket, on a stack that is as small as that needs; a stack
// that has grown does not shrink by itself. Nothing is buffered above the socket,
// or reading would have found it. It reports false if there is no socket.
func (c *conn) doze() bool { return socket.Await(c.nc) }

// limitRead bounds reading from now on; zero is without limit. For the reading
// goroutine.
func (c *conn) limitRead(t time.Time) {
	c.limit = t
	_ = c.nc.SetReadDeadline(t)
	if c.stopped.Load() {
		c.stopReading()
	}
}

// readFull fills p from the connection. If it may rest, and is to, the error is
// errResting and nothing was read.
func (c *conn) readFull(p []byte, mayRest bool) error {
	for n := 0; n < len(p); {
		m, err := c.nc.Read(p[n:])
		n += m
		switch {
		case err == nil || n == len(p):
		case c.early(err):
			if mayRest && n == 0 {
				return errResting
			}
			c.missed = true
		case err == io.EOF && n > 0:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	return nil
}

// early reports whether a read has failed only because settle wanted the
// reader's attention, and brings its true deadline back.
func (c *conn) early(err error) bool {
	if !c.roused.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.roused.Store(false)
	c.limitRead(c.limit)
	return !c.stopped.Load()
}

// stopReading lets the reading goroutine end the connection.
func (c *conn) stopReading() {
	c.stopped.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// cut closes the connection under the feet of those who use it. A TLS
// connection's own Close would wait for a write under way.
func (c *conn) cut() {
	c.stopped.Store(true)
	nc := c.nc
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	_ = nc.SetDeadline(time.Unix(1, 0))
}
