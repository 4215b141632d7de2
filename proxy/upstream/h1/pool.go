package h1

import (
	"net"
	"sync"
	"time"
)

// sweepInterval bounds how long an idle connection that its server has closed
// keeps its descriptor.
const sweepInterval = 10 * time.Second

// pool keeps idle connections, the most recently used on top: under little
// load the others grow old and go. One timer serves all of them, and only
// while there are any; a timer for each, as in net/http, would be set and
// stopped with every request.
type pool struct {
	max     int
	timeout time.Duration // zero or negative: none
	usable  func(net.Conn) bool

	began time.Time // when its clock stood at 0

	mu     sync.Mutex
	idle   []*conn // oldest first
	closed bool
	timer  *time.Timer
	armed  bool
}

// take returns a connection that seems alive, or nil. One that is asked with
// is looked at then.
func (p *pool) take(asks bool) *conn {
	for {
		c := p.pop()
		if c == nil {
			return nil
		}
		if !p.expired(c) && (asks && c.direct || c.quiet()) && p.welcome(c) {
			c.reused = true
			return c
		}
		c.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

func (p *pool) welcome(c *conn) bool { return p.usable == nil || p.usable(c.nc) }

// now is the pool's clock: half as dear as [time.Now], which looks at two.
func (p *pool) now() time.Duration { return time.Since(p.began) }

func (p *pool) expired(c *conn) bool {
	return p.timeout > 0 && p.now()-c.idleSince >= p.timeout
}

// put keeps a connection, or closes it if there are enough.
func (p *pool) put(c *conn) {
	if p.timeout > 0 {
		c.idleSince = p.now()
	}
	if !p.push(c) {
		c.close()
	}
}

func (p *pool) push(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= p.max {
		return false
	}
	p.idle = append(p.idle, c)
	if p.timeout > 0 && !p.armed {
		p.arm(p.timeout)
	}
	return true
}

// arm sets the timer. The lock is held.
func (p *pool) arm(wait time.Duration) {
	p.armed = true
	wait = min(wait, sweepInterval)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.sweep)
		return
	}
	p.timer.Reset(wait)
}

// sweep closes the connections whose time is over, whose server has closed
// them, or that lead to where the server is no more.
func (p *pool) sweep() {
	var gone []*conn
	p.mu.Lock()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if p.expired(c) || !c.quiet() || !p.welcome(c) {
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.armed = false
	if len(kept) > 0 {
		p.arm(kept[0].idleSince + p.timeout - p.now())
	}
	p.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) reopen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	gone := p.idle
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
	}
	p.armed = false
	p.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}
