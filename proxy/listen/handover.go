package listen

import (
	"net"
	"sync"
)

// handover is a listener for connections that somebody else has accepted.
type handover struct {
	ready chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandover() *handover {
	return &handover{ready: make(chan net.Conn), done: make(chan struct{})}
}

// pass hands a connection over, or closes it if nobody takes any.
func (h *handover) pass(c net.Conn) {
	select {
	case h.ready <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// Accept returns the next connection. The error is [net.ErrClosed].
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.ready:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and pass.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr returns nothing that means anything: each connection has its own.
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }
