package upstream

import (
	"context"
	"crypto/tls"
	"net"
)

// dial connects to the server.
func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := s.connectContext(ctx)
	defer cancel()
	return s.connect(ctx)
}

// dialHTTP1 connects to a TLS server for HTTP/1.1 alone.
func (s *Server) dialHTTP1(ctx context.Context) (net.Conn, error) {
	return s.dialTLS(ctx, s.onlyHTTP1)
}

// dialTLS connects and shakes hands under one limit.
func (s *Server) dialTLS(ctx context.Context, config *tls.Config) (net.Conn, error) {
	ctx, cancel := s.connectContext(ctx)
	defer cancel()
	plain, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		if ctx.Err() != nil {
			err = ctx.Err() // rather than "use of closed network connection"
		}
		return nil, &Error{Server: s.options.Address, Stage: Handshake, Err: err}
	}
	return conn, nil
}

func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer // a zero dialer: both address families raced, keep-alive on
	conn, err := dialer.DialContext(ctx, s.address.network, s.address.dial)
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
