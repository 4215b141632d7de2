package upstream

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// slots bounds the requests under way at one server. Those for which there is
// no room wait in the order in which they came.
type slots struct {
	mu      sync.Mutex
	free    int
	queue   int // most that may wait
	waiting []*waiter
}

// waiter is a request in the queue. Its channel is closed when it gets a slot.
type waiter struct{ granted chan struct{} }

// acquire takes a slot, waiting for one if there is room in the queue. It
// returns why there is none, or 0. A request whose context ended is told
// QueueTimeout; nobody will read it.
func (s *slots) acquire(ctx context.Context, limit time.Duration) Reason {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return 0
	}
	if len(s.waiting) >= s.queue || limit <= 0 {
		s.mu.Unlock()
		return QueueFull
	}
	w := &waiter{make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.granted:
		return 0
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, w)
	if i < 0 {
		return 0 // granted at the last moment
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return QueueTimeout
}

// release gives a slot to the request that has waited longest, or back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	close(s.waiting[0].granted)
	s.waiting = slices.Delete(s.waiting, 0, 1)
}

// room reports whether a request would get a slot at once, or else at least a
// place in the queue.
func (s *slots) room() (now, later bool) {
	if s == nil {
		return true, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free > 0, s.free > 0 || len(s.waiting) < s.queue
}

// lease is one request's place at a member.
type lease struct {
	member   *Member
	released atomic.Bool
}

// release gives the place back. Only the first call counts.
func (l *lease) release() {
	if l == nil || l.released.Swap(true) {
		return
	}
	l.member.node.End()
	if l.member.slots != nil {
		l.member.slots.release()
	}
}

// leased ties a place at a server to a response's body: it is given back when
// the body is closed. What the body can do besides reading is kept.
func leased(body io.ReadCloser, l *lease) io.ReadCloser {
	b := leasedBody{body, l}
	switch with := body.(type) {
	case io.ReadWriteCloser: // an upgraded connection
		return leasedConn{b, with}
	case pieces:
		return leasedPieces{b, with}
	}
	return b
}

type leasedBody struct {
	io.ReadCloser
	lease *lease
}

func (b leasedBody) Close() error {
	defer b.lease.release()
	return b.ReadCloser.Close()
}

// pieces is what our own engine's bodies can do besides.
type pieces interface {
	io.WriterTo
	AtHand() (more, ended bool)
}

type leasedPieces struct {
	leasedBody
	pieces
}

type leasedConn struct {
	leasedBody
	io.Writer
}

// CloseWrite ends the sending direction, where the connection can.
func (c leasedConn) CloseWrite() error {
	half, ok := c.ReadCloser.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
