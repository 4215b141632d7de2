package proxyproto

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options says whose preambles are read.
type Options struct {
	// Listed reports whether a peer speaks the protocol. Required.
	Listed func(netip.Addr) bool

	// Timeout bounds how long a preamble may take; 0 or less is 5 s.
	Timeout time.Duration

	// Logger is told of connections that are closed. Required.
	Logger *zap.Logger
}

// mostPending bounds the connections whose preamble has not come yet. At the
// bound no more are accepted: they wait in the kernel's queue.
const mostPending = 1024

// Listener accepts connections and has read the preambles of those that have to
// have one.
type Listener struct {
	net.Listener
	options Options
	ready   chan accepted
	places  chan struct{}
	done    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	pending map[net.Conn]struct{}
}

type accepted struct {
	conn net.Conn
	err  error
}

// New returns a listener on l. It accepts nothing before Run.
func New(l net.Listener, o Options) *Listener {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	return &Listener{
		Listener: l,
		options:  o,
		ready:    make(chan accepted),
		places:   make(chan struct{}, mostPending),
		done:     make(chan struct{}),
		pending:  make(map[net.Conn]struct{}),
	}
}

// Run accepts until Close, or until the listener below is closed, and returns
// when it holds no connection any more.
func (l *Listener) Run() {
	var readers sync.WaitGroup
	defer readers.Wait()
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				// The listener below may have been closed by itself: then those
				// who are here already are still let in.
				readers.Wait()
				_ = l.Close()
				return
			}
			if !l.deliver(accepted{err: err}) {
				_ = l.Close()
				return
			}
			continue // whoever calls Accept decides how long to wait
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok || !l.options.Listed(peerOf(conn)) {
			l.deliver(accepted{conn: conn})
			continue
		}
		select {
		case l.places <- struct{}{}:
		case <-l.done:
			_ = conn.Close()
			continue
		}
		readers.Go(func() {
			defer func() { <-l.places }()
			l.introduce(tcp)
		})
	}
}

// Accept returns the next connection. The error is [net.ErrClosed] after Close,
// else that of the listener below.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close closes the listener and the connections that were not handed out.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.mu.Lock()
		defer l.mu.Unlock()
		for conn := range l.pending {
			_ = conn.Close()
		}
	})
	return l.Listener.Close()
}

// deliver hands a connection to Accept. It reports false, and closes the
// connection, when the listener was closed.
func (l *Listener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.done:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// introduce reads a connection's preamble and hands it out.
func (l *Listener) introduce(tcp *net.TCPConn) {
	if !l.hold(tcp) {
		_ = tcp.Close()
		return
	}
	_ = tcp.SetReadDeadline(time.Now().Add(l.options.Timeout))
	from, err := read(tcp)
	_ = tcp.SetReadDeadline(time.Time{})
	l.mu.Lock()
	delete(l.pending, tcp)
	l.mu.Unlock()
	if err != nil {
		l.refuse(tcp, err)
		return
	}
	var conn net.Conn = tcp
	if from.IsValid() {
		conn = &Conn{TCPConn: tcp, remote: net.TCPAddrFromAddrPort(from)}
	}
	l.deliver(accepted{conn: conn})
}

func (l *Listener) hold(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	l.pending[conn] = struct{}{}
	return true
}

// refuse closes a connection and says why. One that was closed without a byte
// is a balancer that looks whether the port is open.
func (l *Listener) refuse(conn net.Conn, err error) {
	defer func() { _ = conn.Close() }() // whoever sees the end finds the reason in the log
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("the PROXY preamble did not come in time")
	}
	l.options.Logger.Warn("connection refused", zap.Error(err), zap.Stringer("peer", conn.RemoteAddr()),
		zap.String("hint", "listen.proxy_protocol lists this peer: switch the PROXY protocol on in the load balancer, or take the peer off the list"))
}

func peerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// Conn is a connection that a balancer passed on.
type Conn struct {
	*net.TCPConn
	remote net.Addr
}

// RemoteAddr returns the address of the client, as the balancer names it.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Balancer returns the address of the peer that passed the connection on.
func (c *Conn) Balancer() net.Addr { return c.TCPConn.RemoteAddr() }
