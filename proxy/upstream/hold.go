package upstream

import (
	"context"
	"sync"
	"time"
)

const (
	// mostHeld bounds the requests that one pool holds.
	mostHeld = 1024
	// firstPause and lastPause are the least and the greatest between two
	// rounds of looking for a server that is back.
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
	// probeTimeout bounds one look, so that a server which is silent does not
	// hide another.
	probeTimeout = time.Second
)

// holder keeps requests while no server is there. One of them, the leader,
// looks for a server on behalf of all; when it leaves another takes over. So
// there is no goroutine that somebody would have to own.
type holder struct {
	lead chan struct{} // the leader has put something in

	mu      sync.Mutex
	waiting int
	total   uint64        // that have ever waited
	wake    chan struct{} // closed when a server is back, and replaced
}

func newHolder() holder {
	return holder{lead: make(chan struct{}, 1), wake: make(chan struct{})}
}

// enter counts one more that waits; ok is false if there are too many.
func (h *holder) enter() (wake chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting >= mostHeld {
		return nil, false
	}
	h.waiting++
	h.total++
	return h.wake, true
}

func (h *holder) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
}

// wakeAll lets everybody who waits go on.
func (h *holder) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting > 0 {
		close(h.wake)
		h.wake = make(chan struct{})
	}
}

// waitForServer waits until some member takes connections again, and reports
// false if that was not before ctx ended or if too many wait already.
func (p *Pool) waitForServer(ctx context.Context) bool {
	wake, ok := p.hold.enter()
	if !ok {
		return false
	}
	defer p.hold.leave()
	select {
	case <-wake:
		return true
	case <-ctx.Done():
		return false
	case p.hold.lead <- struct{}{}:
	}
	defer func() { <-p.hold.lead }()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		timer := time.NewTimer(pause)
		select {
		case <-wake: // a health check was quicker
			timer.Stop()
			return true
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		if p.look(ctx) {
			p.hold.wakeAll()
			return true
		}
	}
}

// look asks each member whether it is there, until one is.
func (p *Pool) look(ctx context.Context) bool {
	for _, m := range p.members {
		limited, cancel := context.WithTimeout(ctx, probeTimeout)
		there := m.answers(limited)
		cancel()
		if there {
			return true
		}
	}
	return false
}
