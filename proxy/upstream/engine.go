package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// engine carries requests over connections of its own.
type engine interface {
	http.RoundTripper

	// Close drops unused connections and keeps none from now on; Reopen takes
	// that back.
	Close()
	Reopen()
}

// expectTimeout is how long a request with Expect: 100-continue waits for the
// server's word before its body is sent regardless (RFC 9110 section 10.1.1:
// not indefinitely).
const expectTimeout = time.Second

// overHTTP1 is our own engine, on what dial returns.
func (s *Server) overHTTP1(dial func(context.Context) (net.Conn, error)) engine {
	return h1.New(h1.Options{
		Dial:                   dial,
		MaxIdle:                s.options.IdleConnections,
		IdleTimeout:            s.options.IdleTimeout,
		ResponseHeaderTimeout:  s.options.ResponseHeaderTimeout,
		ExpectContinueTimeout:  expectTimeout,
		MaxResponseHeaderBytes: int(s.options.ResponseHeaderBytes),
	})
}

// overHTTP2 is net/http's engine for HTTP/2 without TLS.
func (s *Server) overHTTP2() engine {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := s.library(&protocols)
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) }
	return library{t}
}

// overTLS is net/http's engine for servers that choose between HTTP/2 and
// HTTP/1.1 in the TLS handshake.
func (s *Server) overTLS() engine {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	t := s.library(&protocols)
	t.ForceAttemptHTTP2 = true
	config := s.tlsConfig("h2", "http/1.1")
	t.TLSClientConfig = config
	t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dialTLS(ctx, config) }
	return library{t}
}

// library makes net/http's engine. Every default that asks the environment or
// rewrites messages is overridden.
func (s *Server) library(protocols *http.Protocols) *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DisableCompression:     true,
		ResponseHeaderTimeout:  s.options.ResponseHeaderTimeout,
		ExpectContinueTimeout:  expectTimeout,
		IdleConnTimeout:        s.options.IdleTimeout,
		MaxIdleConnsPerHost:    s.options.IdleConnections,
		MaxResponseHeaderBytes: s.options.ResponseHeaderBytes,
		Protocols:              protocols,
	}
}

// library is net/http's engine. After Close it goes on keeping connections of
// requests that are sent later, which is why Server sends them with Close set.
type library struct{ *http.Transport }

func (l library) Close()  { l.CloseIdleConnections() }
func (l library) Reopen() {}

// tlsConfig is how the server's certificate is checked. Sessions are resumed.
func (s *Server) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		RootCAs:            s.options.Roots,
		ServerName:         s.address.host,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(16),
		NextProtos:         protocols,
	}
}
