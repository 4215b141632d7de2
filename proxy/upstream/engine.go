package upstream

import (
	"context"
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
	o := h1.Options{
		Dial:                   dial,
		MaxIdle:                s.options.IdleConnections,
		IdleTimeout:            s.options.IdleTimeout,
		ResponseHeaderTimeout:  s.options.ResponseHeaderTimeout,
		BodyIdleTimeout:        s.options.BodyTimeout,
		ExpectContinueTimeout:  expectTimeout,
		MaxResponseHeaderBytes: int(s.options.ResponseHeaderBytes),
	}
	if s.name != nil {
		o.Usable = s.current
	}
	return h1.New(o)
}
