package h1

import (
	"context"
	"sync"
	"time"
)

// longAgo as a deadline wakes up whoever waits.
func longAgo() time.Time { return time.Unix(1, 0) }

// watchDelay is how long a request is under way, at least, before somebody
// listens for the client's leaving. It is up to twice that.
const watchDelay = 50 * time.Millisecond

// watcher notices that a client has gone while its request is being answered.
//
// That takes a read, and a read takes a goroutine; net/http starts one for
// every request. But most requests are answered within milliseconds, and one
// that was given up so late costs next to nothing. So a timer of the connection
// looks now and then, and only a request that was under way already when it
// looked before gets a goroutine. The timer runs on from one request to the next, so
// that a request costs no more than the counting of it.
//
// A read rather than a look at the socket's state: it works on every
// connection, over TLS it understands a farewell, and waiting costs nothing.
type watcher struct {
	mu     sync.Mutex
	timer  *time.Timer
	armed  bool
	count  uint64        // of requests
	seen   uint64        // count when the timer looked last
	on     *exchange     // the request under way, if it may be watched
	active chan struct{} // closed when the watching goroutine has ended; nil: there is none
}

// beginWatch allows the request to be watched: nobody else reads.
func (c *conn) beginWatch(x *exchange) {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	w.on = x
	if w.armed {
		return
	}
	w.armed = true
	w.seen = w.count
	if w.timer == nil {
		w.timer = time.AfterFunc(watchDelay, c.look)
		return
	}
	w.timer.Reset(watchDelay)
}

// look starts watching, or looks again later.
func (c *conn) look() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.on == nil:
		w.armed = false // the next request sets the timer
	case w.seen != w.count || !w.on.body.quiet():
		w.seen = w.count
		w.timer.Reset(watchDelay)
	default:
		w.armed = false
		if w.active == nil && !c.ahead && (c.scratch == nil || c.r == c.w) {
			w.active = make(chan struct{})
			go c.watch(w.on, w.active)
		}
	}
}

// watch reads a byte. It is the first of the next request, or of the body, or
// the client has gone.
func (c *conn) watch(x *exchange, ended chan<- struct{}) {
	defer close(ended)
	n, err := c.readSome(c.first[:])
	if n > 0 {
		c.ahead = true
		return
	}
	if !isDeadline(err) {
		c.ended.Store(true)
		x.context.cancel(context.Canceled)
	}
}

// endWatch ends watching for good.
func (c *conn) endWatch() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = nil
	c.stopWatch()
}

// beginBody ends watching because the body is about to be read.
func (c *conn) beginBody(b *body) {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	b.phase.Store(bodyBegun)
	c.stopWatch()
}

// stopWatch returns when nobody reads any more. The lock is held; watch does
// not take it.
func (c *conn) stopWatch() {
	w := &c.watcher
	if w.active == nil {
		return
	}
	_ = c.limitReadNow(longAgo())
	<-w.active
	w.active = nil
	_ = c.limitReadNow(time.Time{})
}

// stopTimer is for the end of the connection, or a long rest.
func (c *conn) stopTimer() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.armed = false
}
