package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/socket"
	"github.com/sallyport/sallyport/proxy/listen/proxyproto"
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
	stream io.ReadWriter // over Conn
	table  *table
	peer   netip.Addr // as caps count it
	mine   bool       // counted by the caps until it leaves the table
	phase  atomic.Int32
	once   sync.Once

	rested  atomic.Int64 // by the table's clock: when it was last without a request
	writing atomic.Int64 // by the table's clock: when the write under way began; 0 is none
	left    atomic.Bool  // left HTTP
	bounded atomic.Bool  // its owner has a deadline for writing
	debt    debt         // the guard's; under the table's lock
	shed    bool         // cut to make room; under the table's lock
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

// SetLinger makes Close reset the connection if it is 0. The engine uses it
// where an orderly end would make a cut answer look whole.
func (c *conn) SetLinger(seconds int) error {
	if socket, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return socket.SetLinger(seconds)
	}
	return net.ErrClosed
}

// Write writes to the socket. The guard knows when it began and cuts who does
// not take it: two stores are cheaper than a deadline for each write.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Store(c.table.now())
	n, err := c.stream.Write(p)
	c.writing.Store(0)
	return n, err
}

// Read reads from the socket.
func (c *conn) Read(p []byte) (int, error) { return c.stream.Read(p) }

// SetWriteDeadline bounds writes. As long as an owner has set a deadline, it is
// the owner who says how long a peer may take, and not the guard.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.bounded.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SyscallConn is for an engine that waits for something to read without a buffer
// to read into.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := c.Conn.(syscall.Conn); ok {
		return socket.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// rest notes that the connection is without a request from now on.
func (c *conn) rest(in phase) {
	c.rested.Store(c.table.now())
	c.phase.Store(int32(in))
}

// cut ends the connection under its owner's feet. It stays in the table until
// the owner has noticed.
func (c *conn) cut() { _ = c.Conn.Close() }

// table holds every open connection of a Server.
type table struct {
	caps  *caps
	clock atomic.Int64 // set by the guard

	counters counters

	mu      sync.Mutex
	open    map[*conn]struct{}
	wake    chan struct{} // closed and renewed when the last connection leaves
	quic    int           // those of open that are QUIC's
	leaving int           // those of open that were shed
	victims []victim      // whom to shed next
}

func newTable(caps *caps) *table {
	t := &table{caps: caps, open: make(map[*conn]struct{}), wake: make(chan struct{})}
	t.clock.Store(1)
	return t
}

// now returns the time in nanoseconds as the guard saw it last. It is never 0.
func (t *table) now() int64 { return t.clock.Load() }

// add takes in a connection that the caps have admitted. They are told when it
// leaves if it is counted here and not by its transport.
func (t *table) add(plain net.Conn, peer netip.Addr, counted bool) *conn {
	c := &conn{Conn: plain, stream: streamOf(plain), table: t, peer: peer, mine: counted}
	c.rested.Store(t.now())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = struct{}{}
	if _, is := plain.(datagrams); is {
		t.quic++
		t.counters.quic.accepted.Add(1)
	} else {
		t.counters.tcp.accepted.Add(1)
	}
	return c
}

// streamOf returns what moves bytes over an accepted connection.
func streamOf(plain net.Conn) io.ReadWriter {
	if passed, ok := plain.(*proxyproto.Conn); ok {
		plain = passed.TCPConn
	}
	return socket.New(plain)
}

func (t *table) remove(c *conn) {
	if c.mine {
		t.caps.release(c.peer)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if _, is := c.Conn.(datagrams); is {
		t.quic--
	}
	if c.shed {
		t.leaving--
	}
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
		c.rest(idle)
	case http.StateHijacked:
		c.left.Store(true)
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
