package listen

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// guard looks, a few times a second, after what no event announces: clients
// that do not take what is written to them. One look at all connections costs
// less than a deadline for each write.
type guard struct {
	conns  *table
	flows  *flows // whose rate and grace hold for sockets as well
	logger *zap.Logger
}

// debt is the guard's account of a connection on which something waits for the
// client. See [flows.account] for how it is kept.
type debt struct {
	open   bool
	acked  uint64 // bytes that the client had acknowledged at the last look
	credit time.Duration
}

// run keeps the table's clock and watch until ctx ends.
func (g *guard) run(ctx context.Context) {
	began := time.Now()
	tick := g.tick()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.look(time.Since(began).Nanoseconds() + 1)
			if now := g.tick(); now != tick {
				tick = now
				ticker.Reset(tick)
			}
		}
	}
}

// tick is how often to look.
func (g *guard) tick() time.Duration {
	const most = 250 * time.Millisecond
	if g.flows.rate.Load() <= 0 {
		return most
	}
	return min(most, max(g.flows.patience()/8, 5*time.Millisecond))
}

// look takes note of the time, and cuts those whose client has had its share.
func (g *guard) look(now int64) {
	before := g.conns.clock.Swap(now)
	if g.flows.rate.Load() <= 0 {
		return
	}
	passed := time.Duration(now - before)
	g.flows.account(passed)
	g.conns.each(func(c *conn) {
		if !c.left.Load() && !c.bounded.Load() && c.waits(before, now) {
			g.charge(c, passed)
		} else {
			c.debt.open = false
		}
	})
}

// waits reports whether something waits for the client: a write that had begun
// at the look before, or an answer that is still in the kernel while the
// connection rests. The latter is asked once, a moment after the answer, and
// again as long as it holds: asking costs a system call.
func (c *conn) waits(before, now int64) bool {
	if began := c.writing.Load(); began != 0 {
		return began < now
	}
	if phase(c.phase.Load()) != idle {
		return false
	}
	due := c.rested.Load() + settle.Nanoseconds()
	return (c.debt.open || before < due && due <= now) && unsent(c.Conn) > 0
}

// charge charges a client the time that passed, and credits what it has taken.
// How much of one write has been taken only the kernel knows; where it does not
// tell, a write may take as long as the grace.
func (g *guard) charge(c *conn, passed time.Duration) {
	taken := acknowledged(c.Conn)
	if !c.debt.open {
		c.debt = debt{open: true, acked: taken, credit: g.flows.patience()}
		return
	}
	c.debt.credit = g.flows.earn(c.debt.credit-passed, int64(taken-c.debt.acked))
	c.debt.acked = taken
	if c.debt.credit <= 0 {
		g.cut(c)
	}
}

// cut ends a connection at once: what it did not take must not stay in the
// kernel, trying to be sent.
func (g *guard) cut(c *conn) {
	if tcp, ok := c.Conn.(lingerer); ok {
		_ = tcp.SetLinger(0)
	}
	g.conns.counters.refused.add(tcpSlow)
	g.logger.Debug("connection cut: the client reads slower than limits.min_rate", zap.Stringer("client", c.RemoteAddr()))
	c.cut()
}
