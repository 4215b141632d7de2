package listen

import (
	"sync"
	"sync/atomic"
	"time"
)

// flow is one direction of one exchange: a request's body, or the body of an
// answer on a stream of HTTP/2 or HTTP/3. Whoever moves it says when it waits
// for the client and how much has moved; the guard keeps the account. That
// costs the mover three atomic operations for each piece, and nobody a timer.
type flow struct {
	stop    stopper
	waiting atomic.Bool
	moved   atomic.Int64
	exempt  atomic.Bool // from now on: the client may take its time

	mu    sync.Mutex // held while stop runs
	ended bool
	slow  atomic.Bool // stop was called

	credit     time.Duration // the guard's: how long the client may yet stand still
	accounted  int64         // the guard's: of moved
	prev, next *flow         // under the list's lock
}

// stopper wakes up who waits for the client. It is asked at most once, and not
// after [flows.end].
type stopper interface{ stop() }

// flows is the list of those that are under way.
type flows struct {
	rate  atomic.Int64 // bytes a second; 0 or less is no limit
	grace atomic.Int64 // a time.Duration

	mu    sync.Mutex
	first *flow
}

// set changes the rate and the grace, for those under way as well.
func (l *flows) set(rate int64, grace time.Duration) {
	l.rate.Store(rate)
	l.grace.Store(int64(grace))
}

// patience is the grace.
func (l *flows) patience() time.Duration { return time.Duration(l.grace.Load()) }

// begin puts a flow on the list. It must be ended.
func (l *flows) begin(f *flow) {
	f.credit = l.patience()
	l.mu.Lock()
	defer l.mu.Unlock()
	f.next = l.first
	if l.first != nil {
		l.first.prev = f
	}
	l.first = f
}

// end takes it off. Once it has returned, stop is not called any more.
func (l *flows) end(f *flow) {
	l.mu.Lock()
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
	l.mu.Unlock()
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
}

// account charges the time that has passed to those who are waited for, and
// stops those whose credit is used up.
//
// Credit is time: it begins at the grace, which is also the most, shrinks while
// the client is waited for and grows by what its bytes would take at the least
// rate. So nobody is slower than that rate for longer than the grace, and a
// quick start does not pay for standing still later.
func (l *flows) account(passed time.Duration) {
	var slow []*flow
	l.mu.Lock()
	for f := l.first; f != nil; f = f.next {
		if f.waiting.Load() {
			f.credit -= passed
		}
		moved := f.moved.Load()
		f.credit = l.earn(f.credit, moved-f.accounted)
		f.accounted = moved
		if f.credit <= 0 && !f.exempt.Load() {
			slow = append(slow, f)
		}
	}
	l.mu.Unlock()
	for _, f := range slow {
		f.cut()
	}
}

// earn adds to a credit what moving some bytes is worth, up to the grace.
func (l *flows) earn(credit time.Duration, moved int64) time.Duration {
	grace := l.patience()
	if worth := float64(moved) / float64(max(l.rate.Load(), 1)); worth < grace.Seconds() {
		return min(credit+time.Duration(worth*float64(time.Second)), grace)
	}
	return grace
}

// cut wakes up who waits for the client.
func (f *flow) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended && f.slow.CompareAndSwap(false, true) {
		f.stop.stop()
	}
}
