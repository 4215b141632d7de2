package listen

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// afterCut is how long Run waits, after it has cut connections, for the
	// handlers on them to notice.
	afterCut = 5 * time.Second

	// lastRequest is how long a stop leaves connections without a request
	// open when none of them stirs: a request may be on its way, and its client
	// could not know whether it was served. Its answer says that it was the last.
	lastRequest = time.Second

	// hurriedLimit takes the place of ShutdownTimeout once Hurry was called.
	hurriedLimit = time.Second

	// partTime is how long before the end of ShutdownTimeout Part is called, or
	// half of it if that is shorter.
	partTime = 1500 * time.Millisecond
)

// Server serves on the sockets that Open opened. Prepare and Commit change
// them.
type Server struct {
	logger, quiet *zap.Logger
	tls           *tls.Config // one for all time: it has the keys of session tickets
	conns         *table
	flows         *flows
	quic          *http3Engine

	stack atomic.Pointer[stack] // for new connections

	workers sync.WaitGroup // of those who accept and shake hands
	guests  sync.WaitGroup // of those who end what has been retired
	shut    chan struct{}  // closed by Close
	hurried context.Context
	hurry   context.CancelFunc

	background context.Context // set by Run

	mu       sync.Mutex
	ports    []*port
	stacks   []*stack // that may have connections
	counted  bool     // fit is what asked for that many connections came to
	asked    int
	fit      int
	running  bool
	stopping bool
	closed   bool
}

// Addrs returns the addresses that are listened on, in the order of the
// options; useful when a port of 0 let the system choose.
func (s *Server) Addrs() (http, https []net.Addr) {
	return s.addrs(roleHTTP), s.addrs(roleHTTPS)
}

// AddrsUDP returns the addresses that HTTP/3 is served on.
func (s *Server) AddrsUDP() []net.Addr { return s.addrs(roleUDP) }

func (s *Server) addrs(of role) []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []net.Addr
	for _, p := range s.ports {
		if p.role == of {
			list = append(list, p.addr())
		}
	}
	return list
}

// Files returns duplicates of all sockets, for the process that takes over. The
// caller closes them. [Server.Yield] or [Server.Keep] follows.
func (s *Server) Files() ([]Passed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Passed
	for _, p := range s.ports {
		next, err := p.next()
		if err != nil {
			for _, one := range list {
				_ = one.File.Close()
				shut(&one.Relay)
			}
			return nil, &Error{Address: p.addr().String(), Err: plainCause(err)}
		}
		list = append(list, next)
	}
	return list, nil
}

// Run serves until ctx ends, lets what is under way finish within
// ShutdownTimeout, cuts the rest, and returns nil when all its goroutines have
// ended. Call it once.
//
// What is under way: handshakes, requests being answered, and upgraded
// connections. HTTP/2 and HTTP/3 clients are told by GOAWAY, HTTP/1.1 clients by
// Connection: close; connections without a request are closed when for a second
// none of them has got any further, so that a request on its way to us finds
// somebody.
func (s *Server) Run(ctx context.Context) error {
	background := context.WithoutCancel(ctx) // a stop must not cancel requests
	watching, unwatch := context.WithCancel(background)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer unwatch() // it guards connections until the last has ended
	watch.Go(func() { (&guard{s.conns, s.flows, s.quiet}).run(watching) })
	defer s.hurry()
	if err := s.begin(background); err != nil {
		s.Close()
		return err
	}
	select {
	case <-ctx.Done():
	case <-s.shut:
	}
	s.finish(background)
	return nil
}

// begin starts to serve.
func (s *Server) begin(background context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.background, s.running = background, true
	for _, p := range s.ports {
		if p.role == roleUDP {
			if err := s.quic.begin(p); err != nil {
				return err
			}
		}
	}
	s.serve(s.ports)
	return nil
}

// serve begins to serve those ports that are not, and anew those for which the
// way in has changed. With the lock held.
func (s *Server) serve(ports []*port) {
	for i, p := range ports {
		if p.role == roleUDP {
			if err := s.quic.begin(p); err != nil {
				s.logger.Error("HTTP/3 is not served", zap.Error(err))
			}
			continue
		}
		if p.piped != nil && p.piped.way == s.wayIn() {
			continue
		}
		if p.piped != nil {
			next, err := p.again()
			if err != nil {
				s.logger.Error("a listener keeps its old proxy_protocol", zap.Stringer("address", p.addr()), zap.Error(err))
				continue
			}
			p.close()
			ports[i], p = next, next
		}
		s.pipe(p)
	}
}

// retire ends what serves a port. With the lock held.
func (s *Server) retire(p *port) {
	if p.passed && !s.stopping {
		s.logger.Warn("a passed socket is not listened on any more, but whoever passed it keeps it open",
			zap.Stringer("address", p.addr()), zap.String("hint", "stop its socket unit: clients would wait there for ever"))
	}
	if p.role != roleUDP {
		p.close() // the pipe ends by itself, when handshakes have
		return
	}
	limit := s.Options().ShutdownTimeout
	s.guests.Go(func() {
		ctx, cancel := context.WithTimeout(s.hurried, limit)
		defer cancel()
		s.quic.retire(ctx, p)
		p.close()
	})
}

// Close closes every socket and connection at once. Run then returns. It may
// be called at any time, also if Run never was.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.stopping = true, true
		close(s.shut)
	}
	s.hurry()
	for _, p := range s.ports {
		if p.piped != nil {
			p.piped.close()
		}
		if p.role != roleUDP {
			p.close()
		}
	}
	for _, each := range s.stacks {
		each.close()
	}
	s.conns.cutAll()
	for _, p := range s.ports { // last: HTTP/3 clients are told over it
		p.close()
	}
}

// Hurry leaves what is under way at a stop a second at most.
func (s *Server) Hurry() { s.hurry() }

// Yield leaves new connections to a process that has got the sockets by Files and
// serves. Over HTTP/3 they come here as long as this one has connections of its
// own, and are passed on. A stop is to follow.
func (s *Server) Yield() { s.eachAfter(s.quic.divert) }

// Keep takes back what Files has prepared: the other process does not serve.
func (s *Server) Keep() { s.eachAfter(func(p *port) { shut(&p.after) }) }

func (s *Server) eachAfter(do func(*port)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ports {
		do(p)
	}
}

// finish lets what is under way end within ShutdownTimeout and cuts the rest.
func (s *Server) finish(ctx context.Context) {
	began := time.Now()
	limit, cut := context.WithTimeout(ctx, s.Options().ShutdownTimeout)
	defer cut()
	defer context.AfterFunc(s.hurried, func() { time.AfterFunc(hurriedLimit, cut) })()
	defer s.parting()()
	s.mu.Lock()
	s.stopping = true
	ports, stacks := slices.Clone(s.ports), slices.Clone(s.stacks)
	s.mu.Unlock()
	for _, each := range stacks {
		each.drain() // before anybody can see that nothing listens any more
	}
	s.mu.Lock()
	for _, p := range ports {
		if p.role != roleUDP {
			p.close()
		}
	}
	s.mu.Unlock()
	if n := s.conns.count(busy); n > 0 {
		s.logger.Info("stopping: waiting for connections in use",
			zap.Int("connections", n),
			zap.Int64("limit_ms", s.Options().ShutdownTimeout.Milliseconds()))
	}
	var shutdowns sync.WaitGroup
	shutdowns.Go(func() {
		s.quic.drain(limit)
		if limit.Err() == nil {
			s.quic.end() // another process may wait for the socket
		}
	})
	s.lastRequests(limit)
	for _, p := range ports {
		if p.piped != nil {
			p.piped.close()
		}
	}
	s.conns.cut(fresh) // ends handshakes, which workers waits for
	s.workers.Wait()
	s.conns.cut(fresh) // and what came through meanwhile: the engine would wait seconds for a first request
	for _, each := range stacks {
		shutdowns.Go(func() { _ = each.multiplexed.Shutdown(limit) })
		shutdowns.Go(func() { _ = each.plain.Shutdown(limit) })
		shutdowns.Go(func() { _ = each.secure.Shutdown(limit) })
	}
	_ = s.conns.wait(limit) // the engines do not wait for upgraded connections
	shutdowns.Wait()
	if n := s.conns.count(busy); n > 0 {
		s.logger.Warn("stopped: connections still in use were cut", zap.Int("connections", n),
			zap.Int64("waited_ms", time.Since(began).Milliseconds()))
	}
	s.quic.end()
	s.Close()
	s.guests.Wait()
	final, cancel := context.WithTimeout(ctx, afterCut)
	defer cancel()
	if err := s.conns.wait(final); err != nil {
		s.logger.Error("a request handler did not end with its connection")
	}
}

// parting has Part called before what is under way is cut; what it returns calls
// that off.
func (s *Server) parting() (off func()) {
	options := s.Options()
	limit, part := options.ShutdownTimeout, options.Part
	if part == nil {
		return func() {}
	}
	timely := time.AfterFunc(limit-min(partTime, limit/2), part)
	hurried := context.AfterFunc(s.hurried, part)
	return func() { timely.Stop(); hurried() }
}

// lastRequests returns when no connection is without a request any more, when
// none of them has got any further for a while, or with ctx. What does get
// further is let: a busy machine may take seconds to shake the hands of those
// who came last.
func (s *Server) lastRequests(ctx context.Context) {
	const look = 20 * time.Millisecond
	hurried := s.hurried.Done()
	over := time.NewTimer(lastRequest)
	defer over.Stop()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for before, looked := 0, false; ; looked = true {
		n := s.conns.count(fresh) + s.conns.count(idle)
		if n == 0 && looked { // not at the first look: one may just have been accepted
			return
		}
		if n != before {
			before = n
			over.Reset(lastRequest)
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return
		case <-ctx.Done():
			return
		case <-hurried:
			return
		}
	}
}

// sampled returns a logger for what any stranger can cause at will: of equal
// lines it writes the first ten of each second.
func sampled(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 10, 0)
	}))
}

// lines is where the engine writes its own remarks, nearly all of them about
// what clients did.
type lines struct{ logger *zap.Logger }

func (l lines) Write(line []byte) (int, error) {
	l.logger.Debug("HTTP server", zap.String("detail", strings.TrimSpace(string(line))))
	return len(line), nil
}
