package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Options says where and how to listen. A duration of zero or less is no
// limit; the configuration language allows that for none of them.
type Options struct {
	// HTTP are addresses (host:port, the host may be empty) for plain
	// HTTP/1.1; Redirect answers there.
	HTTP     []string
	Redirect http.Handler

	// HTTPS are addresses for HTTP/1.1 and HTTP/2 over TLS; Handler answers
	// there with the certificates that GetCertificate returns.
	HTTPS          []string
	Handler        http.Handler
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// HTTP3 also serves HTTP/3 on the addresses of HTTPS, over UDP, and
	// announces it to the clients of HTTP/1.1 and HTTP/2.
	HTTP3 bool

	// Balancers reports whether a peer is a load balancer that begins each
	// connection with a PROXY preamble. Then the address in it is the client's,
	// for caps and handlers alike. Nil is none. Does not concern HTTP/3.
	Balancers func(netip.Addr) bool

	// ClientAuth says what a server name wants of a client's certificate, nil
	// for nothing. It is asked in each handshake, over TCP and QUIC, and must be
	// quick. A nil function is nothing for every name.
	ClientAuth func(serverName string) *ClientAuth

	Connections           int // open at once; 0 is no limit but half of the descriptors
	ConnectionsPerAddress int // likewise, from one address; 0 is no limit

	// MinRate is how many bytes a second a client must take of what is written
	// to it, once it has been slower for MinRateGrace. 0 is no limit. Upgraded
	// connections, and those whose handler set a write deadline, are exempt.
	MinRate      int
	MinRateGrace time.Duration

	// Overloaded reports that no connection can be taken in. It is asked for
	// each and must be quick; nil is never.
	Overloaded func() bool

	RequestHeaderBytes   int           // largest request head; 0 is net/http's 1 MiB
	RequestHeaderCount   int           // fields in it; 0 is no limit
	URILength            int           // bytes of the request target; 0 is no limit
	RequestHeaderTimeout time.Duration // to receive a request head
	HandshakeTimeout     time.Duration // for a whole TLS handshake
	IdleTimeout          time.Duration // between two requests
	HTTP2Streams         int           // requests under way on one HTTP/2 or HTTP/3 connection; 0 is net/http's 250
	ShutdownTimeout      time.Duration // for requests under way at a stop; 0 cuts them at once

	// Part is called shortly before a stop cuts what is still under way, so that
	// handlers which took a connection over can say so to their peers. It must
	// not wait, and may be called more than once; nil is nobody.
	Part func()

	// Passed are sockets that were open before the process began; Open takes
	// them over instead of opening the same. See [Passed].
	Passed []Passed

	Logger *zap.Logger // required
}

// Error says which address could not be opened, why, and what to do.
type Error struct {
	Address string
	Err     error
}

// Error names the address and the cause; Hint has the cure.
func (e *Error) Error() string { return fmt.Sprintf("listen on %s: %v", e.Address, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do, or nothing.
func (e *Error) Hint() string {
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		address, udp := strings.CutSuffix(e.Address, udpSuffix)
		_, port, _ := net.SplitHostPort(address)
		if udp {
			return fmt.Sprintf("another program listens there: `ss -lunp 'sport = :%s'` names it", port)
		}
		return fmt.Sprintf("another program listens there: `ss -ltnp 'sport = :%s'` names it", port)
	case errors.Is(e.Err, syscall.EACCES):
		return "ports below 1024 need the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, " +
			"Docker: cap_add) or `sysctl net.ipv4.ip_unprivileged_port_start=0`"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return "no network interface of this machine has that address"
	}
	return ""
}

// Open opens all sockets or none. Nothing is accepted before Run; a client
// that connects earlier waits. The error is an [*Error] if a socket could not
// be opened.
func Open(ctx context.Context, o Options) (*Server, error) {
	if len(o.HTTPS) > 0 && (o.Handler == nil || o.GetCertificate == nil) {
		return nil, errors.New("listen: HTTPS needs a handler and certificates")
	}
	if len(o.HTTP) > 0 && o.Redirect == nil {
		return nil, errors.New("listen: HTTP needs a handler")
	}
	s := &Server{logger: o.Logger, quiet: sampled(o.Logger), flows: &flows{}, shut: make(chan struct{})}
	s.hurried, s.hurry = context.WithCancel(context.Background())
	s.conns = newTable(newCaps(0, 0))
	s.tls = tlsConfig(&o)
	s.quic = newHTTP3Engine(s)
	passed := o.Passed
	o.Passed = nil
	c, err := s.prepare(ctx, o, passed)
	if err != nil {
		return nil, err
	}
	s.Commit(c)
	return s, nil
}

func openTCP(ctx context.Context, address string, shared bool) (*net.TCPListener, error) {
	config := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4},
		Control:         control(shared),
	}
	config.SetMultipathTCP(false) // as nginx: no socket option that middleboxes have opinions about
	// An empty host listens on both address families with one socket.
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &Error{Address: address, Err: plainCause(err)}
	}
	return l.(*net.TCPListener), nil
}

// udpSuffix marks an address as one for UDP, as Docker does.
const udpSuffix = "/udp"

// openUDP opens the address, with the port that it got for TCP.
func openUDP(ctx context.Context, address string, tcp net.Addr, shared bool) (*net.UDPConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Address: address + udpSuffix, Err: err}
	}
	_, port, err := net.SplitHostPort(tcp.String())
	if err != nil {
		return nil, &Error{Address: address + udpSuffix, Err: err}
	}
	config := net.ListenConfig{Control: control(shared)}
	socket, err := config.ListenPacket(ctx, "udp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, &Error{Address: address + udpSuffix, Err: plainCause(err)}
	}
	return socket.(*net.UDPConn), nil
}

// plainCause strips "listen tcp :443: bind: " from an error: the address is
// named once, as the user wrote it.
func plainCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}
