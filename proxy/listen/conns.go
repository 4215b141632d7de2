package listen

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// phase is what a connection is doing, as far as a stop needs to know.
type phase int32

const (
	fresh phase = iota // no request yet: handshake, or silence after it
	idle               // between two requests
	busy               // a request is under way, or a handler took the connection over
)

// conn is an accepted connection that its table knows until its owner closes
// it.
type conn struct {
	net.Conn
	table *table
	phase atomic.Int32
	once  sync.Once
}

// Close closes the connection and takes it out of the table. Its owner (the
// engine, or the handler that hijacked it) calls it when done.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.table.remove(c) })
	return err
}

// CloseWrite sends FIN. The engine uses it to let a client read a final answer
// before the connection goes, an upgraded connection to end one direction.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// cut ends the connection under its owner's feet. It stays in the table until
// the owner has noticed.
func (c *conn) cut() { _ = c.Conn.Close() }

// table holds every open connection of a Server.
type table struct {
	mu   sync.Mutex
	open map[*conn]struct{}
	wake chan struct{} // closed and renewed when the last connection leaves
}

func newTable() *table {
	return &table{open: make(map[*conn]struct{}), wake: make(chan struct{})}
}

func (t *table) add(plain net.Conn) *conn {
	c := &conn{Conn: plain, table: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = struct{}{}
	return c
}

func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if len(t.open) == 0 {
		close(t.wake)
		t.wake = make(chan struct{})
	}
}

// observe is the engine's ConnState hook.
func (t *table) observe(nc net.Conn, state http.ConnState) {
	if wrapped, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = wrapped.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.phase.Store(int32(busy))
	case http.StateIdle:
		c.phase.Store(int32(idle))
	}
}

// cut ends the connections in a phase and returns at once; they leave the
// table when their owners have noticed.
func (t *table) cut(in phase) {
	t.each(func(c *conn) {
		if phase(c.phase.Load()) == in {
			c.cut()
		}
	})
}

// cutAll ends all connections.
func (t *table) cutAll() { t.each((*conn).cut) }

// count returns how many connections are in a phase.
func (t *table) count(in phase) int {
	n := 0
	t.each(func(c *conn) {
		if phase(c.phase.Load()) == in {
			n++
		}
	})
	return n
}

func (t *table) each(do func(*conn)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		do(c)
	}
}

// wait returns when no connection is open, or with ctx's error.
func (t *table) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		left, wake := len(t.open), t.wake
		t.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
