package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/sallyport/sallyport/proxy/upstream/tlsfiles"
)

// dial connects to the server.
func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := s.connectContext(ctx)
	defer cancel()
	return s.connect(ctx)
}

// dialHTTP1 connects to a TLS server for HTTP/1.1 alone.
func (s *Server) dialHTTP1(ctx context.Context) (net.Conn, error) {
	conn, err := s.dialTLS(ctx, s.tlsConfigs().onlyHTTP1)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// dialTLS connects and shakes hands under one limit.
func (s *Server) dialTLS(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := s.connectContext(ctx)
	defer cancel()
	plain, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(watch(plain), config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		if ctx.Err() != nil {
			err = ctx.Err() // rather than "use of closed network connection"
		}
		return nil, &Error{Server: s.options.Address, Stage: Handshake, Err: err}
	}
	return conn, nil
}

func (s *Server) connect(ctx context.Context) (conn net.Conn, err error) {
	if s.name != nil {
		conn, err = s.name.Dial(ctx, s.address.port)
	} else {
		var dialer net.Dialer // a zero dialer: keep-alive on
		conn, err = dialer.DialContext(ctx, s.address.network, s.address.dial)
	}
	if err != nil {
		return nil, &Error{Server: s.options.Address, Stage: Connect, Err: err}
	}
	return conn, nil
}

func (s *Server) connectContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.options.ConnectTimeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.options.ConnectTimeout)
}

// current reports whether a connection leads to where the server's name leads
// now.
func (s *Server) current(conn net.Conn) bool { return s.name.Answer().Has(conn.RemoteAddr()) }

// trust is the TLS configurations that were made of a set of files. A change
// makes new ones, with caches of their own: a session that was agreed on under
// other roots is not resumed.
type trust struct {
	mu      sync.Mutex
	set     *tlsfiles.Set
	configs tlsConfigs
}

type tlsConfigs struct{ both, onlyHTTP1 *tls.Config }

// tlsConfigs returns how a handshake that begins now is done.
func (s *Server) tlsConfigs() tlsConfigs {
	set, err := s.files.Current()
	if err != nil && s.notice != nil {
		s.notice(err)
	}
	s.trust.mu.Lock()
	defer s.trust.mu.Unlock()
	if s.trust.set != set {
		s.trust.set = set
		s.trust.configs = tlsConfigs{s.tlsConfig(set, "h2", "http/1.1"), s.tlsConfig(set, "http/1.1")}
	}
	return s.trust.configs
}

// tlsConfig is how the server's certificate is checked and what is shown to
// it. Sessions are resumed.
func (s *Server) tlsConfig(set *tlsfiles.Set, protocols ...string) *tls.Config {
	c := &tls.Config{
		RootCAs:            s.options.Roots,
		ServerName:         s.address.host,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(16),
		NextProtos:         protocols,
	}
	if set.Roots != nil {
		c.RootCAs = set.Roots
	}
	if set.Certificate != nil {
		c.Certificates = []tls.Certificate{*set.Certificate}
	}
	if s.options.ServerName != "" {
		c.ServerName = s.options.ServerName
	}
	return c
}
