package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
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

	RequestHeaderBytes   int           // largest request head; 0 is net/http's 1 MiB
	RequestHeaderTimeout time.Duration // to receive a request head
	HandshakeTimeout     time.Duration // for a whole TLS handshake
	IdleTimeout          time.Duration // between two requests
	HTTP2Streams         int           // requests under way on one HTTP/2 connection; 0 is net/http's 250
	ShutdownTimeout      time.Duration // for requests under way at a stop; 0 cuts them at once

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
		_, port, _ := net.SplitHostPort(e.Address)
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
	s := &Server{options: o, logger: o.Logger, conns: newTable()}
	var err error
	if s.http, err = openAll(ctx, o.HTTP); err != nil {
		return nil, err
	}
	if s.https, err = openAll(ctx, o.HTTPS); err != nil {
		closeAll(s.http)
		return nil, err
	}
	return s, nil
}

func openAll(ctx context.Context, addresses []string) ([]net.Listener, error) {
	config := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4},
	}
	config.SetMultipathTCP(false) // as nginx: no socket option that middleboxes have opinions about
	var opened []net.Listener
	for _, address := range addresses {
		// An empty host listens on both address families with one socket.
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			closeAll(opened)
			return nil, &Error{Address: address, Err: plainCause(err)}
		}
		opened = append(opened, l)
	}
	return opened, nil
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

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}
