package listen

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// acceptor is a listener that puts what it accepts into the table and survives
// every failure but its own Close: running out of file descriptors must not
// end the service, nor spin.
type acceptor struct {
	net.Listener
	conns  *table
	logger *zap.Logger

	once sync.Once
	done chan struct{}
}

func newAcceptor(l net.Listener, conns *table, logger *zap.Logger) *acceptor {
	return &acceptor{Listener: l, conns: conns, logger: logger, done: make(chan struct{})}
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// Accept returns the next connection. The error is [net.ErrClosed] after
// Close, and there is no other.
func (a *acceptor) Accept() (net.Conn, error) {
	pause := shortestPause
	for {
		plain, err := a.Listener.Accept()
		if err == nil {
			return a.conns.add(plain), nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		a.complain(err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		case <-a.done:
			return nil, net.ErrClosed
		}
	}
}

func (a *acceptor) complain(err error) {
	fields := []zap.Field{zap.String("address", a.Addr().String()), zap.Error(err)}
	if errors.Is(err, syscall.EMFILE) {
		fields = append(fields, zap.String("hint", "raise the limit on open files: LimitNOFILE= in systemd, ulimits in compose"))
	}
	a.logger.Error("cannot accept connections", fields...)
}

// Close closes the socket and ends a pause of Accept.
func (a *acceptor) Close() error {
	a.once.Do(func() { close(a.done) })
	return a.Listener.Close()
}
