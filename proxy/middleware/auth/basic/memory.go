package basic

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"sync"
)

const (
	// mostKnown and mostWrong bound what is remembered: good pairs of name and
	// password, and bad ones, each by itself so that guesses cannot push users
	// out.
	mostKnown = 4096
	mostWrong = 1024

	// mostWaiting is how many requests may wait for their hash to be computed.
	mostWaiting = 128
)

// digest stands for a name and a password.
type digest [sha256.Size]byte

// memory remembers the outcome of comparisons for one set of users.
type memory struct {
	key [32]byte

	mu      sync.Mutex
	known   map[digest]struct{}
	wrong   map[digest]struct{}
	pending map[digest]chan struct{} // closed when the outcome is known
}

func newMemory() *memory {
	m := &memory{known: make(map[digest]struct{}), wrong: make(map[digest]struct{}), pending: make(map[digest]chan struct{})}
	_, _ = rand.Read(m.key[:]) // never fails
	return m
}

// digest is keyed, so that neither time nor memory tells anything about the
// pair. The name cannot hold a zero byte.
func (m *memory) digest(name, password string) (d digest) {
	mac := hmac.New(sha256.New, m.key[:])
	mac.Write([]byte(name))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(d[:0])
	return d
}

// workers computes hashes, a few at a time: logging in must not take the
// processors from those who are.
type workers struct {
	slots   chan struct{}
	waiting chan struct{}
}

func newWorkers() *workers {
	return &workers{
		slots:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		waiting: make(chan struct{}, mostWaiting),
	}
}

// begin takes a place among those who compute. It reports false when too many
// wait already, or ctx ends.
func (w *workers) begin(ctx context.Context) bool {
	select {
	case w.waiting <- struct{}{}:
		defer func() { <-w.waiting }()
	default:
		return false
	}
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *workers) end() { <-w.slots }

// outcome of a login.
type outcome int

const (
	wrong outcome = iota
	right
	busy // too much to do; not known
)

// recall returns what is remembered. Else either it has waited for somebody who
// computes the same and asks again, or the caller is the one to compute: then
// settle must follow.
func (m *memory) recall(ctx context.Context, d digest) (o outcome, known bool) {
	for {
		m.mu.Lock()
		if _, ok := m.known[d]; ok {
			m.mu.Unlock()
			return right, true
		}
		if _, ok := m.wrong[d]; ok {
			m.mu.Unlock()
			return wrong, true
		}
		wait, ok := m.pending[d]
		if !ok {
			m.pending[d] = make(chan struct{})
			m.mu.Unlock()
			return busy, false
		}
		m.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return busy, true
		}
	}
}

// settle remembers an outcome and wakes those who wait for it.
func (m *memory) settle(d digest, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.pending[d])
	delete(m.pending, d)
	switch o {
	case right:
		remember(m.known, d, mostKnown)
	case wrong:
		remember(m.wrong, d, mostWrong)
	}
}

// remember adds to a bounded set; a full one forgets any other entry.
func remember(set map[digest]struct{}, d digest, most int) {
	if len(set) >= most {
		for old := range set {
			delete(set, old)
			break
		}
	}
	set[d] = struct{}{}
}
