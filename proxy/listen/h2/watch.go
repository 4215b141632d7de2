package h2

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// pings is what is known about whether the client is still there.
type pings struct {
	frames atomic.Uint64 // that came
	seen   uint64        // of them when they were last looked at
	due    time.Time     // when to look at them again
	asked  bool          // by PING
}

var question = [8]byte{'s', 't', 'i', 'l', 'l', 'u', 'p', '?'}

// nextLook returns when the connection's one timer should look again. It looks
// now and then instead of being moved for every request.
func (c *conn) nextLook(now time.Time) time.Duration {
	next := c.pings.due
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if c.drained && !c.ending {
		sooner(c.partBy)
	}
	if c.running == 0 && !c.ending {
		if idle := c.server.options.IdleTimeout; idle > 0 {
			sooner(c.since.Add(idle))
		}
	}
	switch {
	case c.soon && c.running == 0:
		sooner(c.since.Add(wakefulness))
	case c.soon:
		sooner(now.Add(wakefulness))
	}
	return max(next.Sub(now), time.Millisecond)
}

// look lets go of what a connection at rest does not need, ends it if it was
// idle for too long, if its client has vanished or does not read, and moves a
// stop forward.
func (c *conn) look() {
	c.mu.Lock()
	defer c.unlockAndFlush()
	if c.dead {
		return
	}
	now := time.Now()
	idle := c.server.options.IdleTimeout
	switch {
	case !c.writing.IsZero() && now.Sub(c.writing) > writePatience:
		c.give("the client does not read")
		return
	case c.running == 0 && idle > 0 && now.Sub(c.since) >= idle, c.drained && !now.Before(c.partBy):
		c.finalGoAway()
	}
	if !now.Before(c.pings.due) && !c.probe(now) {
		c.give("the client does not answer")
		return
	}
	switch {
	case !c.soon:
	case c.running > 0:
		c.soon = c.slacken()
	case now.Sub(c.since) >= wakefulness:
		c.soon = false
		c.settle()
	}
	c.timer.Reset(c.nextLook(now))
}

// probe asks a client from which nothing has come for a while whether it is
// still there. It reports false if it was asked before. With the lock held.
func (c *conn) probe(now time.Time) bool {
	frames := c.pings.frames.Load()
	wait := pingAfter
	switch {
	case frames != c.pings.seen:
		c.pings.asked = false
	case c.pings.asked:
		return false
	default:
		c.pings.asked, wait = true, pingPatience
		c.out = appendPing(c.out, 0, question[:])
	}
	c.pings.seen, c.pings.due = frames, now.Add(wait)
	return true
}

// give gives up a connection. With the lock held.
func (c *conn) give(why string) {
	c.server.options.Logger.Debug("HTTP/2 connection given up", zap.String("client", c.client), zap.String("reason", why))
	c.cut()
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
	c.restSoon()
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
	c.drained, c.partBy = true, time.Now().Add(goAwayPatience)
	c.out = appendGoAway(c.out, mostWindow, codeNone, "")
	c.out = appendPing(c.out, 0, question[:]) // its answer comes behind what was on its way
	c.timer.Reset(goAwayPatience)
}

// finalGoAway tells the client which requests are served. With the lock held.
func (c *conn) finalGoAway() {
	if c.ending {
		return
	}
	c.ending = true
	c.dismiss(len(c.resting))
	c.out = appendGoAway(c.out, c.last, codeNone, "")
}

// finished reports whether everything is said. With the lock held.
func (c *conn) finished() bool {
	return c.ending && len(c.streams) == 0 && !c.flushing && !c.dead
}

// why are the fields of a remark about a request; a status of 0 is a reset.
func why(c *conn, status int, reason string) []zap.Field {
	return []zap.Field{zap.String("client", c.client), zap.Int("status", status), zap.String("reason", reason)}
}
