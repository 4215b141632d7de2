package upstream

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/resolve"
	"github.com/sallyport/sallyport/proxy/upstream/tlsfiles"
)

// Options shapes the connections to one server. Options values can be compared
// with == and used as map keys: equal Options make servers that cannot be told
// apart, so a reload may keep the one it has.
type Options struct {
	// Address is `http://host[:port]`, `https://host[:port]`,
	// `h2c://host[:port]` or `unix:/path` (HTTP/1.1 over a unix socket).
	// Required.
	Address string

	// Roots are the certificates that may sign an https server's, unless Files
	// names a CA. Required for https: the system's are never asked.
	Roots *x509.CertPool

	// Files are what TLS to an https server goes by. They are read again when
	// they change; connections that there are stay.
	Files tlsfiles.Options

	// ServerName is asked for in the TLS handshake and must be in the server's
	// certificate. Empty: the host of the address.
	ServerName string

	// NameServer, host:port, is asked for the address's host instead of the
	// system's name servers. Empty: the system's.
	NameServer string

	// ConnectTimeout bounds name lookup, connecting and the TLS handshake
	// together. Zero or negative is no limit.
	ConnectTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for a response's head, counted
	// from the end of the request. Zero is no limit.
	ResponseHeaderTimeout time.Duration

	// ResponseHeaderBytes bounds the head of a response. Zero is 64 KiB over
	// HTTP/1.1 to a plain server, else net/http's default of 10 MiB.
	ResponseHeaderBytes int64

	// BodyTimeout bounds how long the server may stand still in the middle of a
	// body: send no more of a response, or take no more of a request. Streams
	// of events, gRPC and upgraded connections are exempt. Zero is no limit.
	BodyTimeout time.Duration

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

	name  *resolve.Name   // nil: the address needs no looking up
	files *tlsfiles.Files // nil: not https
	trust trust           // what is made of the files
	// notice is told of a change of the files that cannot be used. It is set
	// before the first request, or never.
	notice func(error)

	main engine
	// upgrades speaks only HTTP/1.1, for requests that leave HTTP: HTTP/2 has
	// no Upgrade header (RFC 9113 section 8.2.2). It is main itself unless the
	// server may choose HTTP/2.
	upgrades engine

	closed atomic.Bool
}

// New prepares a server. It reads the files that TLS goes by and connects to
// nothing.
func New(o Options) (*Server, error) {
	a, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, address: a, scheme: "http", authority: a.dial}
	switch _, err := netip.ParseAddr(a.host); {
	case a.network == "unix":
		s.authority = "localhost" // only a key of the engine's pool; the client's Host is what is sent
	case err != nil:
		s.name = resolve.New(resolve.Options{Host: a.host, NameServer: o.NameServer})
	}
	switch {
	case a.h2c:
		s.main, s.upgrades = s.overHTTP2(), s.overHTTP1(s.dial)
	case a.tls:
		if s.files, err = tlsfiles.Open(o.Files); err != nil {
			return nil, fmt.Errorf("server %s: %w", o.Address, err)
		}
		if o.Roots == nil && o.Files.CA == "" {
			return nil, errors.New("server " + o.Address + ": no root certificates were given to check it with")
		}
		s.scheme = "https"
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
	if s.name != nil {
		s.name.Close()
	}
}

// Reopen takes a Close back: connections are kept again.
func (s *Server) Reopen() {
	s.closed.Store(false)
	if s.name != nil {
		s.name.Reopen()
	}
	s.main.Reopen()
	s.upgrades.Reopen()
}
