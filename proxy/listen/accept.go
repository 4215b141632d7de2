package listen

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// acceptor is a listener that puts what it accepts into the table, within the
// caps, and survives every failure but its own Close: running out of file
// descriptors must not end the service, nor spin.
type acceptor struct {
	net.Listener
	conns      *table
	overloaded func() bool
	logger     *zap.Logger

	pause    time.Duration // before the next attempt after a failure
	failed   time.Time     // the last failure
	quiet    time.Time     // until then no failure is logged
	silenced int           // failures that were not logged

	once sync.Once
	done chan struct{}
}

func newAcceptor(l net.Listener, conns *table, overloaded func() bool, logger *zap.Logger) *acceptor {
	return &acceptor{Listener: l, conns: conns, overloaded: overloaded, logger: logger, pause: shortestPause, done: make(chan struct{})}
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second

	// How often to look for a connection that has come to rest, when each had
	// a request and no more may be accepted. The end of one is noticed at once.
	fullPause = 100 * time.Millisecond

	// One line a minute tells of failing to accept: the cause does not change
	// faster than somebody can read it.
	complainEvery = time.Minute
)

// Accept returns the next connection. The error is [net.ErrClosed] after
// Close, and there is no other.
//
// At the limit on all connections one without a request makes room; if each
// has one, nothing is accepted: clients wait in the kernel's queue, where they
// cost next to nothing, instead of being refused what may be free in a moment.
func (a *acceptor) Accept() (net.Conn, error) {
	for {
		for !a.conns.room() {
			if !a.wait(fullPause) {
				return nil, net.ErrClosed
			}
		}
		plain, err := a.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !a.recover(err) {
				return nil, net.ErrClosed
			}
			continue
		}
		if c := a.admit(plain); c != nil {
			return c, nil
		}
	}
}

// admit takes a connection in, or refuses it by a reset: no handshake, no
// state left in the kernel.
func (a *acceptor) admit(plain net.Conn) *conn {
	peer := household(plain.RemoteAddr())
	reason, counted := "limits.connections_per_address", tcpAddress
	if a.overloaded != nil && a.overloaded() {
		reason, counted = "memory is short", tcpMemory
	} else if a.conns.caps.admit(peer) {
		return a.conns.add(plain, peer, true)
	}
	if tcp, ok := plain.(lingerer); ok {
		_ = tcp.SetLinger(0)
	}
	_ = plain.Close()
	a.conns.counters.refused.add(counted)
	a.logger.Warn("connection refused", zap.String("cause", reason), zap.Stringer("address", peer))
	return nil
}

// recover sees to it that accepting may work again, and reports false when the
// acceptor was closed meanwhile. Without descriptors a connection that nobody
// uses is given up for them, and the next attempt is made when some connection
// has ended, or after a pause.
func (a *acceptor) recover(err error) bool {
	now := time.Now()
	if now.Sub(a.failed) > 2*longestPause {
		a.pause = shortestPause
	}
	a.complain(err, now)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		a.conns.shed(1)
	}
	if a.pause = min(2*a.pause, longestPause); !a.wait(a.pause) {
		return false
	}
	a.failed = time.Now()
	return true
}

// wait returns when a connection has left the table or the pause is over. It
// reports false when the acceptor was closed.
func (a *acceptor) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-a.conns.caps.vacated():
	case <-timer.C:
	case <-a.done:
		return false
	}
	return true
}

func (a *acceptor) complain(err error, now time.Time) {
	if now.Before(a.quiet) {
		a.silenced++
		return
	}
	fields := []zap.Field{zap.String("listen", a.Addr().String()), zap.Error(err)}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		fields = append(fields, zap.String("hint", "raise the limit on open files: LimitNOFILE= in systemd, ulimits in compose"))
	}
	if a.silenced > 0 {
		fields = append(fields, zap.Int("suppressed", a.silenced))
	}
	a.quiet, a.silenced = now.Add(complainEvery), 0
	a.logger.Error("cannot accept connections", fields...)
}

// Close closes the socket and ends a pause of Accept.
func (a *acceptor) Close() error {
	a.once.Do(func() { close(a.done) })
	return a.Listener.Close()
}
