package listen

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// guard looks, a few times a second at most, after what no event announces:
// clients that do not take what is written to them. One look at all connections
// costs less than a deadline for each write.
type guard struct {
	conns    *table
	flows    *flows
	patience time.Duration // with one write; 0 or less is no limit
	logger   *zap.Logger
}

// writeSize is about the most that is written to a socket at once. What a write
// may take follows from it and the least rate.
const writeSize = 16 << 10

// newGuard returns a guard that cuts connections on which a write makes no
// progress. Progress within one write cannot be seen, so a client may take as
// long for it as the grace, or as the least rate allows for a full write.
func newGuard(o Options, conns *table, flows *flows, logger *zap.Logger) *guard {
	g := &guard{conns: conns, flows: flows, logger: logger}
	if o.MinRate > 0 {
		g.patience = max(o.MinRateGrace, time.Duration(writeSize)*time.Second/time.Duration(o.MinRate))
	}
	return g
}

// run keeps the table's clock and watch until ctx ends.
func (g *guard) run(ctx context.Context) {
	began := time.Now()
	tick := 250 * time.Millisecond
	if g.patience > 0 {
		tick = min(tick, max(min(g.patience, g.flows.grace)/8, 5*time.Millisecond))
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.look(time.Since(began).Nanoseconds() + 1)
		}
	}
}

// look cuts the connections whose client has had its time.
func (g *guard) look(now int64) {
	before := g.conns.clock.Swap(now)
	if g.patience <= 0 {
		return
	}
	g.flows.account(time.Duration(now - before))
	g.conns.each(func(c *conn) {
		if c.exempt.Load() {
			return
		}
		if began := c.writing.Load(); began != 0 {
			if now-began > g.patience.Nanoseconds() {
				g.cut(c)
			}
			return
		}
		// Without a request, but its last answer still waits in the kernel:
		// asked once, when the time for it has passed.
		rested := c.rested.Load() + g.patience.Nanoseconds()
		if phase(c.phase.Load()) == idle && rested > before && rested <= now && unsent(c.Conn) > 0 {
			g.cut(c)
		}
	})
}

// cut ends a connection at once: what it did not take must not stay in the
// kernel, trying to be sent.
func (g *guard) cut(c *conn) {
	if tcp, ok := c.Conn.(lingerer); ok {
		_ = tcp.SetLinger(0)
	}
	g.logger.Debug("connection cut: the client reads slower than limits.min_rate", zap.Stringer("client", c.RemoteAddr()))
	c.cut()
}
