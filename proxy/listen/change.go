package listen

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// Change is what Prepare has made ready for Commit.
type Change struct {
	server  *Server
	options Options
	ports   []*port // all that there will be, in the order of the options
	fresh   []*port // those of them that were opened for this
}

// Prepare makes other options ready: it opens the sockets that are new, and
// touches nothing that runs. On error, an [*Error] if it is about a socket,
// nothing stays open. One change at a time: Commit or Discard it before the next
// Prepare.
//
// Handlers, functions and the logger stay those of Open.
func (s *Server) Prepare(ctx context.Context, o Options) (*Change, error) {
	was := s.Options()
	o.Handler, o.Redirect, o.GetCertificate, o.ClientAuth = was.Handler, was.Redirect, was.GetCertificate, was.ClientAuth
	o.Overloaded, o.Logger, o.Passed = was.Overloaded, was.Logger, nil
	return s.prepare(ctx, o, nil)
}

func (s *Server) prepare(ctx context.Context, o Options, passed []Passed) (_ *Change, err error) {
	c := &Change{server: s, options: o}
	defer func() {
		if err != nil {
			c.Discard()
		}
	}()
	got, err := adopt(passed)
	if err != nil {
		return nil, err
	}
	c.fresh = got // so that Discard closes them
	s.mu.Lock()
	have := append(slices.Clone(s.ports), got...)
	s.mu.Unlock()
	for _, address := range o.HTTP {
		if err := c.take(ctx, &have, roleHTTP, address, nil); err != nil {
			return nil, err
		}
	}
	for _, address := range o.HTTPS {
		if err := c.takeHTTPS(ctx, &have, address); err != nil {
			return nil, err
		}
	}
	for _, left := range have {
		if !slices.Contains(got, left) {
			continue
		}
		if left.passed {
			return nil, unwanted(left)
		}
		left.close()
	}
	return c, nil
}

// take finds the socket for an address among those that are open, or opens it.
func (c *Change) take(ctx context.Context, have *[]*port, as role, address string, tcp net.Addr) error {
	if i := slices.IndexFunc(*have, func(p *port) bool { return p.role == as && p.serves(address, tcp) }); i >= 0 {
		p := (*have)[i]
		p.address = address
		*have = slices.Delete(*have, i, i+1)
		c.ports = append(c.ports, p)
		return nil
	}
	p, err := openPort(ctx, as, address, tcp, false)
	if errors.Is(err, syscall.EADDRINUSE) {
		// It may be our own socket that is in the way, one that goes with this
		// change, such as 127.0.0.1:443 when :443 is wanted.
		if again, shareErr := c.beside(ctx, *have, as, address, tcp); shareErr == nil {
			p, err = again, nil
		}
	}
	if err != nil {
		return err
	}
	c.ports, c.fresh = append(c.ports, p), append(c.fresh, p)
	return nil
}

// takeHTTPS takes an address for TCP and, for HTTP/3, the same for UDP.
func (c *Change) takeHTTPS(ctx context.Context, have *[]*port, address string) error {
	for attempt := 1; ; attempt++ {
		before := len(c.fresh)
		if err := c.take(ctx, have, roleHTTPS, address, nil); err != nil || !c.options.HTTP3 {
			return err
		}
		tcp := c.ports[len(c.ports)-1]
		err := c.take(ctx, have, roleUDP, address, tcp.addr())
		_, port, _ := net.SplitHostPort(address)
		if err == nil || port != "0" || attempt == 10 || len(c.fresh) == before || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		// The port that the system chose for TCP is taken for UDP: another one.
		tcp.close()
		c.ports, c.fresh = c.ports[:len(c.ports)-1], c.fresh[:before]
	}
}

// beside opens an address that sockets of ours occupy which are about to go:
// for a moment both are open, so that no client is refused.
func (c *Change) beside(ctx context.Context, going []*port, as role, address string, tcp net.Addr) (*port, error) {
	var shared []*port
	defer func() {
		for _, p := range shared {
			_ = p.share(false)
		}
	}()
	for _, p := range going {
		if (p.role == roleUDP) == (as == roleUDP) {
			shared = append(shared, p)
			if err := p.share(true); err != nil {
				return nil, err
			}
		}
	}
	if len(shared) == 0 {
		return nil, syscall.EADDRINUSE
	}
	p, err := openPort(ctx, as, address, tcp, true)
	if err == nil {
		_ = p.share(false) // nobody else may join
	}
	return p, err
}

// Discard closes what Prepare opened.
func (c *Change) Discard() {
	for _, p := range c.fresh {
		p.close()
	}
}

// Commit puts a change into force. Limits hold for connections that are made
// from now on, except for those on their number and least rate, which hold for
// all at once. Addresses that are gone are closed; their connections live on,
// but for those of HTTP/3, which are told to go and get ShutdownTimeout. It
// cannot fail.
func (s *Server) Commit(c *Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		c.Discard()
		return
	}
	before := s.ports
	s.ports = c.ports
	s.restack(c.options)
	o := &c.options
	if !s.counted || s.asked != o.Connections {
		s.counted, s.asked, s.fit = true, o.Connections, budget(o.Connections, s.logger)
	}
	s.conns.caps.set(s.fit, o.ConnectionsPerAddress)
	s.flows.set(int64(o.MinRate), o.MinRateGrace)
	if s.running {
		s.serve(s.ports)
	}
	for _, p := range before {
		if !slices.Contains(s.ports, p) {
			s.retire(p)
		}
	}
}

// engineKey is what shapes the engines.
type engineKey struct {
	http3, paced                  bool
	headerBytes, headerCount, uri int
	headerTimeout, idleTimeout    time.Duration
	lastWrite                     time.Duration
	streams                       int
}

func keyOf(o *Options) engineKey {
	return engineKey{
		o.HTTP3, o.MinRate > 0, o.RequestHeaderBytes, o.RequestHeaderCount, o.URILength,
		o.RequestHeaderTimeout, o.IdleTimeout, lastWrite(o), o.HTTP2Streams,
	}
}

// restack makes the options those for new connections, with engines of their
// own if need be. Engines before them go on with the connections they have.
func (s *Server) restack(o Options) {
	was := s.stack.Load()
	if was != nil && keyOf(&was.options) == keyOf(&o) {
		next := *was
		next.options = o
		s.stacks[slices.Index(s.stacks, was)] = &next
		s.stack.Store(&next)
		return
	}
	next := s.newStack(o)
	s.stacks = append(slices.DeleteFunc(s.stacks, func(old *stack) bool { return old != was && old.open() == 0 }), next)
	s.stack.Store(next)
}

// Options returns the options that hold for new connections.
func (s *Server) Options() Options { return s.stack.Load().options }
