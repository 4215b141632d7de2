package upstream

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/h1"
	"github.com/sallyport/sallyport/proxy/upstream/resolve"
)

// library is net/http's engine for HTTP/2. After Close it goes on keeping
// connections of requests that are sent later, which is why Server sends them
// with Close set.
//
// The engine shares one connection among many requests and would use it for as
// long as it lasts, wherever the server's name leads by now. So when one of its
// connections leads elsewhere, new requests get a new engine, and the old one
// ends with the requests that it has.
type library struct {
	start func(*session) *http.Transport
	name  *resolve.Name // nil: nothing changes

	patience   time.Duration // until the response's head; 0 is no limit
	pieces     time.Duration // with each piece of a body; 0 is no limit
	connecting time.Duration // until there is a connection; 0 is no limit

	current atomic.Pointer[session]
	mu      sync.Mutex
	old     []*session // that have connections still
}

// session is one engine and its connections.
type session struct {
	*http.Transport
	judged atomic.Pointer[resolve.Answer] // all connections belong to it

	// Without a connection the library would make one for every request that
	// comes until the first is there. One request makes it; the others wait.
	warm   atomic.Bool   // there is a connection that requests can share
	making chan struct{} // held by the request that makes one

	connecting time.Duration // that the others wait at most; 0 is no limit

	mu    sync.Mutex
	conns map[*watched]struct{}
}

func newLibrary(of *Server, start func(*session) *http.Transport) *library {
	l := &library{name: of.name, start: start, patience: of.options.ResponseHeaderTimeout, connecting: of.options.ConnectTimeout, pieces: of.options.BodyTimeout}
	l.renew()
	return l
}

func (l *library) renew() {
	s := &session{conns: make(map[*watched]struct{}), making: make(chan struct{}, 1), connecting: l.connecting}
	s.Transport = l.start(s)
	l.current.Store(s)
}

// RoundTrip implements [http.RoundTripper].
func (l *library) RoundTrip(req *http.Request) (*http.Response, error) {
	if l.name != nil {
		l.follow(l.name.Answer())
	}
	engine := l.current.Load()
	return piecewise(forLibrary(req), l.pieces, func(req *http.Request) (*http.Response, error) {
		return patiently(engine, req, h1.ResponseHeaderTimeout(req.Context(), l.patience))
	})
}

// RoundTrip sends a request once it is its turn.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.warm.Load() {
		return s.Transport.RoundTrip(req)
	}
	wait, cancel := context.WithCancel(req.Context())
	defer cancel()
	if s.connecting > 0 {
		wait, cancel = context.WithTimeout(wait, s.connecting)
		defer cancel()
	}
	select {
	case s.making <- struct{}{}:
	case <-wait.Done(): // for too long: the library shall do as it likes
		return s.Transport.RoundTrip(req)
	}
	pass := sync.OnceFunc(func() { <-s.making })
	defer pass()
	if s.warm.Load() {
		pass()
		return s.Transport.RoundTrip(req)
	}
	return s.Transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.warm.Store(true); pass() },
	})))
}

// forLibrary tells the library what our own engine knows by itself: who is
// interested in informational responses, and that no field is to be invented.
func forLibrary(req *http.Request) *http.Request {
	to, ok := req.Context().Value(h1.InformerKey{}).(h1.Informer)
	if ok {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
				return to.Inform(status, http.Header(header))
			},
		}))
	}
	if _, has := req.Header["User-Agent"]; !has {
		req = req.WithContext(req.Context()) // a copy: the request is the caller's
		req.Header = maps.Clone(req.Header)
		req.Header["User-Agent"] = nil
	}
	return req
}

// follow goes over to a new engine if a connection of this one does not belong
// to the answer.
func (l *library) follow(answer *resolve.Answer) {
	s := l.current.Load()
	if s.judged.Load() == answer {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current.Load() != s {
		return
	}
	if s.belongs(answer) {
		s.judged.Store(answer)
		return
	}
	l.old = append(l.old, s)
	l.renew()
	l.current.Load().judged.Store(answer)
	l.closeOld()
}

// closeOld drops the unused connections of old engines, and forgets those that
// have none left. The lock is held.
func (l *library) closeOld() {
	for _, s := range l.old {
		s.CloseIdleConnections()
	}
	l.old = slices.DeleteFunc(l.old, (*session).empty)
}

// Close drops unused connections.
func (l *library) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.Load().CloseIdleConnections()
	l.closeOld()
}

// Reopen does nothing; see library.
func (l *library) Reopen() {}

// adopt takes note of a connection until it is closed.
func (s *session) adopt(conn net.Conn) {
	inner := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		inner = wrapped.NetConn()
	}
	w, ok := inner.(*watched)
	if !ok {
		return
	}
	s.mu.Lock()
	s.conns[w] = struct{}{}
	s.mu.Unlock()
	// An answer may have come between the lookup for this connection and now.
	s.judged.Store(nil)
	forget := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, w)
		if len(s.conns) == 0 {
			s.warm.Store(false)
		}
	}
	w.closing.Store(&forget)
}

func (s *session) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) == 0
}

func (s *session) belongs(answer *resolve.Answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if !answer.Has(conn.RemoteAddr()) {
			return false
		}
	}
	return true
}

// watched is a TCP connection that tells when it is closed.
type watched struct {
	*net.TCPConn
	closing atomic.Pointer[func()]
}

// watch returns the connection as a watched one, if it is of TCP.
func watch(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &watched{TCPConn: tcp}
	}
	return conn
}

// Close implements [net.Conn].
func (w *watched) Close() error {
	if tell := w.closing.Swap(nil); tell != nil {
		(*tell)()
	}
	return w.TCPConn.Close()
}

// overHTTP2 is net/http's engine for HTTP/2 without TLS.
func (s *Server) overHTTP2() engine {
	return newLibrary(s, func(to *session) *http.Transport {
		var protocols http.Protocols
		protocols.SetUnencryptedHTTP2(true)
		t := s.library(&protocols)
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := s.dial(ctx)
			if err != nil {
				return nil, err
			}
			conn = watch(conn)
			to.adopt(conn)
			return conn, nil
		}
		return t
	})
}

// library makes net/http's engine. Every default that asks the environment or
// rewrites messages is overridden.
func (s *Server) library(protocols *http.Protocols) *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DisableCompression:     true,
		ExpectContinueTimeout:  expectTimeout,
		IdleConnTimeout:        s.options.IdleTimeout,
		MaxIdleConnsPerHost:    s.options.IdleConnections,
		MaxResponseHeaderBytes: s.options.ResponseHeaderBytes,
		Protocols:              protocols,
	}
}
