package h2

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// pings is what is known about whether the client is still there.
type pings struct {
	frames atomic.Uint64 // that came
	seen   uint64        // of them when the timer looked last
	asked  bool          // by PING
}

var probe = [8]byte{'s', 't', 'i', 'l', 'l', 'u', 'p', '?'}

// nextLook returns when the connection's one timer should look again. It looks
// now and then instead of being moved for every request.
func (c *conn) nextLook() time.Duration {
	next := pingAfter
	if c.pings.asked {
		next = pingPatience
	}
	if c.drained && !c.ending {
		return goAwayPatience
	}
	if idle := c.server.options.IdleTimeout; idle > 0 && c.running == 0 {
		next = min(next, max(time.Until(c.since.Add(idle)), time.Millisecond))
	}
	return next
}

// look ends the connection if it was idle for too long, if its client has
// vanished or does not read, and moves a stop forward.
func (c *conn) look() {
	c.mu.Lock()
	defer c.unlockAndFlush()
	if c.dead {
		return
	}
	now := time.Now()
	frames := c.pings.frames.Load()
	idle := c.server.options.IdleTimeout
	switch {
	case !c.writing.IsZero() && now.Sub(c.writing) > writePatience:
		c.give("the client does not read")
		return
	case c.running == 0 && idle > 0 && now.Sub(c.since) >= idle:
		c.finalGoAway()
	case c.drained && !c.ending:
		c.finalGoAway()
	case frames != c.pings.seen:
		c.pings.asked = false
	case c.pings.asked:
		c.give("the client does not answer")
		return
	default:
		c.pings.asked = true
		c.out = appendPing(c.out, 0, probe[:])
	}
	c.pings.seen = frames
	c.timer.Reset(c.nextLook())
}

// give gives up a connection. With the lock held.
func (c *conn) give(why string) {
	c.server.options.Logger.Debug("HTTP/2 connection given up", zap.String("client", c.client), zap.String("reason", why))
	closeNow(c.nc)
}

// drain begins to end the connection, in two steps (RFC 9113 section 6.8), so
// that requests on their way are served.
//
// A connection that has just begun does so once its preface is through; its first
// request is on its way, and is served.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.unlockAndFlush()
	if c.begun {
		c.beginDrain()
	}
}

// begin notes that the prefaces are exchanged.
func (c *conn) begin() {
	c.mu.Lock()
	c.begun = true
	c.mu.Unlock()
	if c.server.draining.Load() {
		c.drain()
	}
}

// beginDrain is drain with the lock held.
func (c *conn) beginDrain() {
	if c.dead || c.drained {
		return
	}
	c.drained = true
	c.out = appendGoAway(c.out, mostWindow, codeNone, "")
	c.out = appendPing(c.out, 0, probe[:]) // its answer comes behind what was on its way
	c.timer.Reset(goAwayPatience)
}

// finalGoAway tells the client which requests are served. With the lock held.
func (c *conn) finalGoAway() {
	if c.ending {
		return
	}
	c.ending = true
	c.dismiss()
	c.out = appendGoAway(c.out, c.last, codeNone, "")
}

// finished reports whether everything is said. With the lock held.
func (c *conn) finished() bool {
	return c.ending && len(c.streams) == 0 && !c.flushing && !c.dead
}

// stopReading lets the reading goroutine end the connection.
func (c *conn) stopReading() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// closeNow closes a connection under the feet of those who use it. A TLS
// connection's own Close would wait for a write under way.
func closeNow(nc net.Conn) {
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	_ = nc.SetDeadline(time.Unix(1, 0))
}

// why are the fields of a remark about a client.
func why(c *conn, reason string) []zap.Field {
	return []zap.Field{zap.String("client", c.client), zap.String("reason", reason)}
}
