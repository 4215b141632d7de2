package proxy

import "sync"

// tunnels holds a pool's upgraded connections, so that a retired pool can end
// them.
type tunnels struct {
	mu     sync.Mutex
	open   map[*tunnel]struct{}
	closed bool
}

// add reports false when no tunnel may be opened any more.
func (ts *tunnels) add(t *tunnel) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return false
	}
	if ts.open == nil {
		ts.open = make(map[*tunnel]struct{})
	}
	ts.open[t] = struct{}{}
	return true
}

func (ts *tunnels) remove(t *tunnel) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
}

// count is how many are open.
func (ts *tunnels) count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.open)
}

// setClosed ends all tunnels and refuses new ones, or allows them again. It does
// not wait.
func (ts *tunnels) setClosed(closed bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = closed
	if closed {
		for t := range ts.open {
			t.part()
		}
	}
}
