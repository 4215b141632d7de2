package pressure

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
)

// Pacer sets the collector. A high percentage makes collections rare where
// little is in use, as in most proxies; but it lets garbage grow to many times
// what a flood has in use for a moment. So the runtime gets, besides the limit
// that the process must keep, a nearer one that follows what is in use: where
// little is, it is not in the way; where much is, garbage is about as much at most.
//
// It looks after each collection, called by the runtime about an object that the
// collection has found to be unreachable, and has no goroutine. Make one with
// [NewPacer]; one in a process. It is safe for concurrent use.
type Pacer struct {
	set func(limit int64) // a field for tests

	mu     sync.Mutex
	meter  *meter
	limit  uint64 // that must be kept
	near   uint64 // that the runtime has
	pacing bool
	awaits bool // pace will be called
}

// leastLimit is below which no limit needs to follow what is in use: with what
// the program's file takes on top, a process under attack stays below 75 MB.
const leastLimit = 48 << 20

// NewPacer prepares a pacer. It changes nothing yet.
func NewPacer() *Pacer {
	return &Pacer{meter: newMeter(), set: func(limit int64) { debug.SetMemoryLimit(limit) }}
}

// Set sets by how many percent of what is in use garbage may grow, and the most
// bytes that the runtime should use, 0 or less for no limit. From the first call
// on the pacer is at work.
func (p *Pacer) Set(percent int, limit int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit = uint64(limit); limit <= 0 {
		p.limit = math.MaxInt64
	}
	p.near = 0
	p.follow()
	debug.SetGCPercent(percent)
	p.pacing = true
	if !p.awaits {
		p.await()
	}
}

// Stop ends the pacing. What is set stays, until the next Set.
func (p *Pacer) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pacing = false
}

// Limit returns the most bytes that the runtime should use, [math.MaxInt64] if
// that is not limited.
func (p *Pacer) Limit() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// collected is found unreachable by the next collection. It is not of a size
// that the runtime packs with others.
type collected struct{ _ [64]byte }

// await has pace called after the next collection. With the lock held.
func (p *Pacer) await() {
	p.awaits = true
	runtime.AddCleanup(new(collected), (*Pacer).pace, p)
}

// pace is called after a collection.
func (p *Pacer) pace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaits = p.pacing; p.pacing {
		p.await()
		p.follow()
	}
}

// follow sets the limit for what is in use. With the lock held.
func (p *Pacer) follow() {
	used, _ := p.meter.read()
	near := min(nearLimit(used), p.limit)
	differ := max(near, p.near) - min(near, p.near)
	if differ == 0 || near != p.limit && near != leastLimit && differ < p.near/8 {
		return // a change stops the world
	}
	p.near = near
	p.set(int64(near))
}

// nearLimit returns what the runtime may use in all when so much is in use for
// good: half as much again, and twice as much where that is a lot and collecting
// takes its time.
func nearLimit(used uint64) uint64 {
	return max(leastLimit, used+used/2, 2*used-min(used, leastLimit))
}
