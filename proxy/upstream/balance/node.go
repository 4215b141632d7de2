package balance

import (
	"hash/fnv"
	"math"
	"sync/atomic"
	"time"
)

// scale is how finely weights are divided during a slow start.
const scale = 1 << 10

// Node is one server as balancing sees it. It is safe for concurrent use.
type Node struct {
	id       uint64
	weight   uint64 // times scale
	inFlight atomic.Int64
	ramp     atomic.Pointer[ramp] // nil: up to speed
}

// ramp is a slow start under way.
type ramp struct {
	begun time.Time
	took  time.Duration
}

// NewNode returns a node with a weight of at least 1. The name is what
// consistent hashing knows it by: two proxies that call a server the same send
// the same keys to it.
func NewNode(name string, weight int) *Node {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return &Node{id: mix(h.Sum64()), weight: uint64(max(weight, 1)) * scale}
}

// Begin counts one more request under way, End one less.
func (n *Node) Begin() { n.inFlight.Add(1) }

// End counts one request less under way.
func (n *Node) End() { n.inFlight.Add(-1) }

// InFlight is the number of requests under way.
func (n *Node) InFlight() int64 { return n.inFlight.Load() }

// SlowStart lets the node's weight grow from next to nothing to what it is
// within d, from now on. Zero is up to speed at once.
func (n *Node) SlowStart(d time.Duration) {
	if d <= 0 {
		n.ramp.Store(nil)
		return
	}
	n.ramp.Store(&ramp{begun: time.Now(), took: d})
}

// effective is the weight at the moment, times scale and at least 1.
func (n *Node) effective() uint64 {
	r := n.ramp.Load()
	if r == nil {
		return n.weight
	}
	elapsed := time.Since(r.begun)
	if elapsed >= r.took {
		n.ramp.CompareAndSwap(r, nil)
		return n.weight
	}
	return max(1, uint64(float64(n.weight)*float64(elapsed)/float64(r.took)))
}

// score is the node's claim to a key in weighted rendezvous hashing: the
// highest claim wins, so a node's loss moves its own keys only.
func (n *Node) score(key uint64) float64 {
	const most = 1 << 53
	uniform := (float64(mix(key^n.id)>>11) + 0.5) / most // within (0, 1)
	return float64(n.effective()) / -math.Log(uniform)
}

// mix spreads a hash over all bits (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
