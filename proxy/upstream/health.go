package upstream

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// health judges a server by what is seen of it: the answers to health checks
// (active), and how requests fare (passive). The two are independent; a server
// is up if neither speaks against it.
type health struct {
	options *MemberOptions
	notify  func(Event)
	node    *balance.Node
	begun   time.Time // times are counted from here

	unhealthy atomic.Bool  // by checks
	ejected   atomic.Int64 // by requests: until then, in nanoseconds since begun
	doubt     atomic.Bool  // something failed since the last success: what success has to look at

	mu      sync.Mutex
	seen    bool // some check was answered or not
	falls   int  // bad checks in a row
	rises   int  // good checks in a row
	fails   int  // of requests, in the window
	window  time.Time
	told    bool      // that it is down
	changed time.Time // when that last became so, or otherwise
	cause   error     // of the last failure
}

// up reports whether requests should go to the server.
func (h *health) up() bool {
	if h.unhealthy.Load() {
		return false
	}
	until := h.ejected.Load()
	return until == 0 || int64(time.Since(h.begun)) >= until
}

// checked takes the result of a health check. The very first decides alone: a
// server that is dead from the start need not disappoint Fall times.
func (h *health) checked(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.seen
	h.seen = true
	if err != nil {
		h.rises = 0
		h.falls++
		h.cause = err
		if h.falls >= h.options.Fall || first {
			h.unhealthy.Store(true)
			h.tellDown()
		}
		return
	}
	h.falls = 0
	h.rises++
	if h.unhealthy.Load() && h.rises >= h.options.Rise {
		h.node.SlowStart(h.options.SlowStart)
		h.unhealthy.Store(false)
		if h.fails == 0 {
			h.tellUp()
		}
	}
}

// failed takes note of a request that failed for the server's fault.
func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cause = err
	h.doubt.Store(true)
	now := time.Now()
	if h.fails > 0 && now.Sub(h.window) > h.options.FailTimeout && h.ejected.Load() == 0 {
		h.fails = 0
	}
	if h.fails == 0 {
		h.window = now
	}
	h.fails++
	if h.options.MaxFails > 0 && h.fails >= h.options.MaxFails {
		h.eject(now)
	}
}

// absent takes note that neither this server nor any other is there: then one
// refusal is enough.
func (h *health) absent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doubt.Store(true)
	h.fails = max(h.fails, h.options.MaxFails, 1)
	if h.options.MaxFails > 0 {
		h.eject(time.Now())
	} else {
		h.tellDown()
	}
}

// eject keeps the server out of the choice for a while. The count stays, so
// that the first failure after it ejects again.
func (h *health) eject(now time.Time) {
	h.ejected.Store(int64(now.Sub(h.begun) + h.options.FailTimeout))
	h.tellDown()
}

// succeeded takes note of a request that the server answered.
func (h *health) succeeded() {
	if !h.doubt.Load() { // nearly always
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doubt.Store(false)
	h.fails = 0
	if h.ejected.Swap(0) != 0 {
		h.node.SlowStart(h.options.SlowStart)
	}
	if !h.unhealthy.Load() {
		h.tellUp()
	}
}

func (h *health) tellDown() {
	if !h.told {
		h.changed = time.Now()
	}
	if !h.told && h.notify != nil {
		h.notify(Event{Upstream: h.options.Upstream, Server: h.options.Address, Err: h.cause})
	}
	h.told = true
}

func (h *health) tellUp() {
	if h.told {
		h.changed = time.Now()
	}
	if h.told && h.notify != nil {
		h.notify(Event{Upstream: h.options.Upstream, Server: h.options.Address, Up: true})
	}
	h.told = false
}

// gone reports whether the server failed its health checks because nothing is
// there.
func (h *health) gone() bool {
	if !h.unhealthy.Load() {
		return false
	}
	failed, ok := errors.AsType[*Error](h.lastCause())
	return ok && failed.Refused()
}

// lastCause is what was wrong last.
func (h *health) lastCause() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cause
}
