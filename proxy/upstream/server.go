package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// Options shapes the connections to one server. Options values can be compared
// with == and used as map keys: equal Options make servers that cannot be told
// apart, so a reload may keep the one it has.
type Options struct {
	// Address is `http://host[:port]`, `https://host[:port]`,
	// `h2c://host[:port]` or `unix:/path` (HTTP/1.1 over a unix socket).
	// Required.
	Address string

	// Roots are the certificates that may sign an https server's. Required
	// for https: the system's are never asked.
	Roots *x509.CertPool

	// ConnectTimeout bounds name lookup, connecting and the TLS handshake
	// together. Zero or negative is no limit.
	ConnectTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for a response's head, counted
	// from the end of the request. Zero is no limit.
	ResponseHeaderTimeout time.Duration

	// ResponseHeaderBytes bounds the head of a response. Zero is 64 KiB over
	// HTTP/1.1 to a plain server, else net/http's default of 10 MiB.
	ResponseHeaderBytes int64

	// IdleTimeout bounds how long an unused connection is kept. Zero is no
	// limit.
	IdleTimeout time.Duration

	// IdleConnections is how many unused connections are kept. Zero is the
	// engine's default; negative keeps none.
	IdleConnections int
}

// Server sends requests to one server. It is safe for concurrent use.
type Server struct {
	options   Options
	address   address
	scheme    string // of the URL that the engine sees
	authority string // likewise

	main engine
	// upgrades speaks only HTTP/1.1, for requests that leave HTTP: HTTP/2 has
	// no Upgrade header (RFC 9113 section 8.2.2). It is main itself unless the
	// server may choose HTTP/2.
	upgrades  engine
	onlyHTTP1 *tls.Config // of upgrades to a TLS server

	closed atomic.Bool
}

// New prepares a server. It connects to nothing.
func New(o Options) (*Server, error) {
	a, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	if a.tls && o.Roots == nil {
		return nil, errors.New("server " + o.Address + ": no root certificates were given to check it with")
	}
	s := &Server{options: o, address: a, scheme: "http", authority: a.dial}
	if a.network == "unix" {
		s.authority = "localhost" // only a key of the engine's pool; the client's Host is what is sent
	}
	switch {
	case a.h2c:
		s.main, s.upgrades = s.overHTTP2(), s.overHTTP1(s.dial)
	case a.tls:
		s.scheme = "https"
		s.onlyHTTP1 = s.tlsConfig("http/1.1")
		s.main, s.upgrades = s.overTLS(), s.overHTTP1(s.dialHTTP1)
	default:
		s.main = s.overHTTP1(s.dial)
		s.upgrades = s.main
	}
	return s, nil
}

// Address returns the address as configured.
func (s *Server) Address() string { return s.options.Address }

// RoundTrip sends req to the server and returns its response, as
// [http.RoundTripper] says, with one addition: it sets the scheme and host of
// req.URL, which the caller therefore leaves empty and does not share.
// req.Host is sent as it is. A request that carries an Upgrade header goes over
// HTTP/1.1.
//
// An error is an [*Error] with the stage, unless the request's context ended
// first.
func (s *Server) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = s.scheme, s.authority
	if s.closed.Load() {
		req.Close = true
	}
	engine := s.main
	if _, upgrade := req.Header["Upgrade"]; upgrade {
		engine = s.upgrades
	}
	res, err := engine.RoundTrip(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		return nil, s.wrap(err)
	}
	return res, nil
}

// Close ends unused connections and keeps no connection from now on. Exchanges
// under way finish, and new ones still work, so that a request which was
// routed just before a reload is not lost.
func (s *Server) Close() {
	s.closed.Store(true)
	s.main.Close()
	s.upgrades.Close()
}

// Reopen takes a Close back: connections are kept again.
func (s *Server) Reopen() {
	s.closed.Store(false)
	s.main.Reopen()
	s.upgrades.Reopen()
}
