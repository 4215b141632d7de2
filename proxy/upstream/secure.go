package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// secure carries requests to a TLS server over the protocol that the server
// chooses in the handshake (ALPN, RFC 7301): HTTP/1.1 by our own engine, HTTP/2
// by the library's. What it chose last is assumed of it; a connection that
// turns out otherwise is handed over to the other engine, with the request.
type secure struct {
	server *Server
	http1  engine
	http2  *library

	choice atomic.Pointer[string] // h2 or http/1.1; nil: not known yet
	asking chan struct{}          // held by the first request, which finds out

	mu     sync.Mutex
	handed *tls.Conn // on its way to the other engine
	since  time.Time
}

// The protocols, as in ALPN.
const (
	overH1 = "http/1.1"
	overH2 = "h2"
)

// handedLife is how long a connection may be on its way. The request that it
// was made for may have ended in between.
const handedLife = 5 * time.Second

// errOtherProtocol is what a dial fails with when its connection went to the
// other engine.
var errOtherProtocol = errors.New("the server has chosen another protocol than before")

// overTLS is the engine for servers with TLS.
func (s *Server) overTLS() engine {
	x := &secure{server: s, asking: make(chan struct{}, 1)}
	x.http1 = s.overHTTP1(func(ctx context.Context) (net.Conn, error) { return x.dial(ctx, overH1) })
	x.http2 = newLibrary(s, func(to *session) *http.Transport {
		var protocols http.Protocols
		protocols.SetHTTP2(true)
		t := s.library(&protocols)
		t.ForceAttemptHTTP2 = true
		t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := x.dial(ctx, overH2)
			if err == nil {
				to.adopt(conn)
			}
			return conn, err
		}
		return t
	})
	return x
}

// RoundTrip implements [http.RoundTripper].
func (x *secure) RoundTrip(req *http.Request) (*http.Response, error) {
	choice := x.choice.Load()
	if choice == nil {
		var err error
		if choice, err = x.find(req.Context()); err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
	}
	res, err := x.over(*choice).RoundTrip(req)
	if err == nil || !errors.Is(err, errOtherProtocol) || !untouched(req.Body) {
		return res, err
	}
	return x.over(*x.choice.Load()).RoundTrip(req)
}

// untouched reports whether a body can still be read after an engine had no
// connection for it. Engines close what they are given; that of a pool's
// attempt does not mind.
func untouched(body any) bool {
	_, attempt := body.(*attemptBody)
	return body == nil || attempt || body == http.NoBody
}

func (x *secure) over(protocol string) http.RoundTripper {
	if protocol == overH2 {
		return x.http2
	}
	return x.http1
}

// find makes the first connection. Others wait for its outcome rather than
// make connections that are not needed over HTTP/2.
func (x *secure) find(ctx context.Context) (*string, error) {
	ctx, cancel := x.server.connectContext(ctx)
	defer cancel()
	select {
	case x.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Server: x.server.options.Address, Stage: Connect, Err: ctx.Err()}
	}
	defer func() { <-x.asking }()
	if choice := x.choice.Load(); choice != nil {
		return choice, nil
	}
	conn, err := x.server.dialTLS(ctx, x.server.tlsConfigs().both)
	if err != nil {
		return nil, err
	}
	x.hand(conn)
	return x.choice.Load(), nil
}

// dial connects for one of the protocols.
func (x *secure) dial(ctx context.Context, want string) (net.Conn, error) {
	if conn := x.take(want); conn != nil {
		return conn, nil
	}
	conn, err := x.server.dialTLS(ctx, x.server.tlsConfigs().both)
	if err != nil {
		return nil, err
	}
	if protocolOf(conn) != want {
		x.hand(conn)
		return nil, errOtherProtocol
	}
	return conn, nil
}

// protocolOf returns what the server chose; one that knows no ALPN speaks
// HTTP/1.1.
func protocolOf(conn *tls.Conn) string {
	if conn.ConnectionState().NegotiatedProtocol == overH2 {
		return overH2
	}
	return overH1
}

// hand notes what a server chose and keeps the connection for the engine that
// can use it.
func (x *secure) hand(conn *tls.Conn) {
	choice := protocolOf(conn)
	x.mu.Lock()
	before := x.handed
	x.handed, x.since = conn, time.Now()
	x.choice.Store(&choice)
	x.mu.Unlock()
	if before != nil {
		_ = before.Close()
	}
}

// take returns the connection that was handed over for a protocol, or nil.
func (x *secure) take(want string) *tls.Conn {
	x.mu.Lock()
	conn := x.handed
	if conn == nil || protocolOf(conn) != want {
		x.mu.Unlock()
		return nil
	}
	x.handed = nil
	late := time.Since(x.since) > handedLife
	x.mu.Unlock()
	if late {
		_ = conn.Close()
		return nil
	}
	return conn
}

// Close implements engine.
func (x *secure) Close() {
	x.http1.Close()
	x.http2.Close()
	for _, protocol := range []string{overH1, overH2} {
		if conn := x.take(protocol); conn != nil {
			_ = conn.Close()
		}
	}
}

// Reopen implements engine.
func (x *secure) Reopen() {
	x.http1.Reopen()
	x.http2.Reopen()
}
