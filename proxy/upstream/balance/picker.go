package balance

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Method is a way to choose.
type Method string

// The methods.
const (
	RoundRobin Method = "round_robin" // in turn, smoothly by weight
	RandomTwo  Method = "random_two"  // the less busy of two at random
	LeastConn  Method = "least_conn"  // the least busy for its weight
	Hash       Method = "hash"        // by key: the same key, the same server
)

// NoKey is the key of a request that has none.
const NoKey uint64 = 0

// Picker chooses a node. It is safe for concurrent use.
type Picker interface {
	// Pick returns the index of one of the nodes in allowed, which MUST NOT
	// be empty. Key is the request's, [NoKey] if it has none; only [Hash]
	// looks at it. Nothing is allocated.
	Pick(allowed Set, key uint64) int
}

// New returns a picker for the nodes, of which there are 1 to [Most].
func New(m Method, nodes []*Node) (Picker, error) {
	if len(nodes) == 0 || len(nodes) > Most {
		return nil, fmt.Errorf("an upstream has 1 to %d servers, not %d", Most, len(nodes))
	}
	switch m {
	case RoundRobin:
		return &roundRobin{nodes: nodes, current: make([]int64, len(nodes))}, nil
	case RandomTwo:
		return randomTwo{nodes}, nil
	case LeastConn:
		return &leastConn{nodes: nodes}, nil
	case Hash:
		return hashed{randomTwo{nodes}}, nil
	}
	return nil, fmt.Errorf("%q is no way to balance", m)
}

// Key returns the key of a text. It is never [NoKey].
func Key(text string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a; hash/fnv would want a []byte
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h) | 1
}

// roundRobin is nginx's smooth weighted round robin: {5, 1, 1} gives
// a a b a c a a rather than five a in a row.
type roundRobin struct {
	nodes []*Node

	mu      sync.Mutex
	current []int64
}

func (p *roundRobin) Pick(allowed Set, _ uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, total := -1, int64(0)
	for i := range allowed.each {
		weight := int64(p.nodes[i].effective())
		total += weight
		p.current[i] += weight
		if best < 0 || p.current[i] > p.current[best] {
			best = i
		}
	}
	p.current[best] -= total
	return best
}

// randomTwo draws two nodes by weight and takes the one that is less busy for
// its weight. It needs no shared turn, and proxies that know nothing of each
// other do not herd on the same server as they would with least_conn.
type randomTwo struct{ nodes []*Node }

func (p randomTwo) Pick(allowed Set, _ uint64) int {
	first := p.draw(&allowed)
	if allowed.Remove(first); allowed.Empty() {
		return first
	}
	second := p.draw(&allowed)
	if lessBusy(p.nodes[second], p.nodes[first]) {
		return second
	}
	return first
}

// draw returns a node of the set at random, by weight.
func (p randomTwo) draw(allowed *Set) int {
	total := uint64(0)
	for i := range allowed.each {
		total += p.nodes[i].effective()
	}
	ticket, last := rand.Uint64N(total), -1
	for i := range allowed.each {
		weight := p.nodes[i].effective()
		last = i
		if ticket < weight {
			break
		}
		ticket -= weight
	}
	return last // with a slow start weights may have grown in between
}

// lessBusy reports whether a has less to do for its weight than b.
func lessBusy(a, b *Node) bool {
	return uint64(max(a.InFlight(), 0))*b.effective() < uint64(max(b.InFlight(), 0))*a.effective()
}

// leastConn takes the node that would be least busy for its weight with one
// request more. Ties go round, lest the first node get everything while all
// are idle.
type leastConn struct {
	nodes []*Node
	turn  atomic.Uint64
}

func (p *leastConn) Pick(allowed Set, _ uint64) int {
	start := int(p.turn.Add(1) % uint64(len(p.nodes)))
	best, least, weight := -1, uint64(0), uint64(1)
	for k := range p.nodes {
		i := start + k
		if i >= len(p.nodes) {
			i -= len(p.nodes)
		}
		if !allowed.Has(i) {
			continue
		}
		busy, w := uint64(max(p.nodes[i].InFlight(), 0))+1, p.nodes[i].effective()
		if best < 0 || busy*weight < least*w {
			best, least, weight = i, busy, w
		}
	}
	return best
}

// hashed gives a key to the node with the highest claim (weighted rendezvous
// hashing). A request without a key goes where there is room.
type hashed struct{ keyless randomTwo }

func (p hashed) Pick(allowed Set, key uint64) int {
	if key == NoKey {
		return p.keyless.Pick(allowed, key)
	}
	best, highest := -1, 0.0
	for i := range allowed.each {
		if score := p.keyless.nodes[i].score(key); best < 0 || score > highest {
			best, highest = i, score
		}
	}
	return best
}
