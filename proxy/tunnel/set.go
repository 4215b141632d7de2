package tunnel

import (
	"io"
	"sync"
)

// Set holds the tunnels of an upstream, so that they can be counted and ended.
// The zero value is empty and open. It may be used by many goroutines.
type Set struct {
	mu     sync.Mutex
	open   map[*Tunnel]struct{}
	closed bool

	buffers sync.Pool // of *[pieceSize]byte
}

// Open makes a tunnel between a client and a server and adds it, or reports
// false if the set is closed. The ends stay the caller's to close, after
// [Tunnel.Copy] has returned; a tunnel that is ended from elsewhere closes them
// too. Whoever opened a tunnel has to Release it.
func (ts *Set) Open(client, server io.ReadWriteCloser, o Options) (*Tunnel, bool) {
	t := &Tunnel{set: ts, client: client, server: server, limit: o.Silence, framed: o.WebSocket}
	t.up.to, t.up.masked = server, true
	t.down.to = client
	t.up.frames.lost, t.down.frames.lost = !t.framed, !t.framed
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, false
	}
	if ts.open == nil {
		ts.open = make(map[*Tunnel]struct{})
	}
	ts.open[t] = struct{}{}
	return t, true
}

// Release takes the tunnel out of its set.
func (t *Tunnel) Release() {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	delete(t.set.open, t)
}

// Count is how many are open.
func (ts *Set) Count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.open)
}

// SetClosed ends all tunnels and refuses new ones, or allows them again. It does
// not wait: WebSockets get a close frame at both ends and a second for it.
func (ts *Set) SetClosed(closed bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = closed
	if closed {
		for t := range ts.open {
			t.part()
		}
	}
}

func (ts *Set) buffer() *[pieceSize]byte {
	if used, ok := ts.buffers.Get().(*[pieceSize]byte); ok {
		return used
	}
	return new([pieceSize]byte)
}
