package h1

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// requestContext is the context of one request: it is done when the client has
// gone or the handler has returned. It is a part of the exchange, and makes
// its channel only for those who ask for it.
//
// Its AfterFunc method is what [context.AfterFunc] and derived contexts look
// for, so that they need no goroutine to wait for it.
type requestContext struct {
	conn    *conn
	began   time.Time
	carries interface{ Value(key any) any }

	mu    sync.Mutex
	done  chan struct{}
	err   error
	last  uint64            // key of the function that was added last
	only  func()            // the first function, whose key is 1
	funcs map[uint64]func() // the others
}

// Deadline reports that there is none.
func (*requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements [context.Context].
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	return x.done
}

// Err implements [context.Context].
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Began is when the request's head had been read, or, if it has no body and its
// head came in two pieces at most, when its first byte came.
func (x *requestContext) Began() time.Time { return x.began }

// Peer is [http.Request.RemoteAddr], invalid if that is no address with a port.
func (x *requestContext) Peer() netip.AddrPort { return x.conn.peer }

// Carry gives the context what a handler wants to find in it, and so spares a
// copy of the request. It is for the first handler, before there are others.
func (x *requestContext) Carry(what interface{ Value(key any) any }) { x.carries = what }

// Value knows what Carry was given, and [http.LocalAddrContextKey].
func (x *requestContext) Value(key any) any {
	if x.carries != nil {
		if value := x.carries.Value(key); value != nil {
			return value
		}
	}
	if key == http.LocalAddrContextKey {
		return net.Addr(x.conn.nc.LocalAddr())
	}
	return nil
}

// AfterFunc arranges for f to be called when the context is done, or calls it
// now if it is. f must not wait for anything. The returned function takes that
// back, and reports whether it was in time.
func (x *requestContext) AfterFunc(f func()) func() bool {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		f()
		return func() bool { return false }
	}
	defer x.mu.Unlock()
	x.last++
	if x.last == 1 {
		x.only = f
		return x.takeBackOnly
	}
	if x.funcs == nil {
		x.funcs = make(map[uint64]func())
	}
	key := x.last
	x.funcs[key] = f
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, waiting := x.funcs[key]
		delete(x.funcs, key)
		return waiting
	}
}

func (x *requestContext) takeBackOnly() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	waiting := x.only != nil
	x.only = nil
	return waiting
}

// cancel ends the context.
func (x *requestContext) cancel(err error) {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return
	}
	x.err = err
	only, funcs := x.only, x.funcs
	x.only, x.funcs = nil, nil
	if x.done != nil {
		close(x.done)
	}
	x.mu.Unlock()
	if only != nil {
		only()
	}
	for _, f := range funcs {
		f()
	}
}

var _ context.Context = (*requestContext)(nil)
