package listen

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/listen/h1"
	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// stack is the engines for connections that are made under one set of options.
// It never changes.
type stack struct {
	options       Options
	plain, secure *h1.Server
	multiplexed   *h2.Server
}

func (s *Server) newStack(o Options) *stack {
	if o.MinRate > 0 && o.Handler != nil {
		o.Handler = &paced{o.Handler, s.flows}
	}
	handler := o.Handler
	if o.HTTP3 {
		handler = announcer{handler}
	}
	return &stack{
		options: o,
		plain:   s.http1Engine(&o, o.Redirect),
		secure:  s.http1Engine(&o, handler),
		multiplexed: h2.New(h2.Options{
			Handler:          handler,
			HeaderBytes:      o.RequestHeaderBytes,
			HeaderCount:      o.RequestHeaderCount,
			URILength:        o.URILength,
			HeaderTimeout:    o.RequestHeaderTimeout,
			IdleTimeout:      o.IdleTimeout,
			LastWriteTimeout: lastWrite(&o),
			Streams:          o.HTTP2Streams,
			State:            s.conns.observe,
			Refused:          func(r h2.Refusal) { s.conns.counters.refused.add(ofHTTP2(r)) },
			Context:          context.Background(), // a stop must not cancel requests
			Logger:           s.quiet,
		}),
	}
}

// lastWrite is the time for what is left of an answer when its handler has
// returned. It is little, so the grace does.
func lastWrite(o *Options) time.Duration {
	if o.MinRate <= 0 {
		return 0
	}
	return o.MinRateGrace
}

// http1Engine makes the HTTP/1.1 server for one kind of socket.
func (s *Server) http1Engine(o *Options, handler http.Handler) *h1.Server {
	return h1.New(h1.Options{
		Handler:       handler,
		HeaderBytes:   o.RequestHeaderBytes,
		HeaderCount:   o.RequestHeaderCount,
		TargetBytes:   o.URILength,
		HeaderTimeout: o.RequestHeaderTimeout,
		IdleTimeout:   o.IdleTimeout,
		State:         s.conns.observe,
		Refused: func(c net.Conn, err *h1.ProtocolError) {
			s.quiet.Debug("malformed request", zap.String("client", c.RemoteAddr().String()), zap.Int("status", err.Status), zap.String("reason", err.Reason))
			s.conns.counters.refused.add(ofStatus(err.Status))
		},
		Logger: s.logger,
	})
}

// open is how many connections the engines have.
func (k *stack) open() int { return k.plain.Open() + k.secure.Open() + k.multiplexed.Open() }

func (k *stack) drain() {
	k.plain.Drain()
	k.secure.Drain()
	k.multiplexed.Drain()
}

func (k *stack) close() {
	k.plain.Close()
	k.secure.Close()
	k.multiplexed.Close()
}

// pipe is what stands between a socket of TCP and the engines.
type pipe struct {
	net.Listener
	way wayIn
}

// wayIn is what shapes a pipe.
type wayIn struct {
	introduced bool
	timeout    time.Duration
}

func (s *Server) wayIn() wayIn {
	o := s.Options()
	if o.Balancers == nil {
		return wayIn{}
	}
	return wayIn{true, o.HandshakeTimeout}
}

// close ends the pipe at once, with what is in it.
func (p *pipe) close() { _ = p.Listener.Close() }

// pipe begins to serve a socket of TCP. When the socket is closed the pipe
// ends, as soon as what is in it has come out. With the lock held.
func (s *Server) pipe(p *port) {
	way := s.wayIn()
	accepted := newAcceptor(s.introduced(p.tcp, way), s.conns, s.Options().Overloaded, s.quiet)
	if p.role == roleHTTP {
		p.piped = &pipe{accepted, way}
		s.workers.Go(func() { serveAll(accepted, func(c net.Conn) { s.stack.Load().plain.Serve(c) }) })
		return
	}
	h := newHandshaker(accepted, s.tls, func() time.Duration { return s.stack.Load().options.HandshakeTimeout })
	p.piped = &pipe{h, way}
	s.workers.Go(h.run)
	s.workers.Go(func() {
		serveAll(h, func(c net.Conn) {
			engines := s.stack.Load()
			if secured, ok := c.(*tls.Conn); ok && secured.ConnectionState().NegotiatedProtocol == "h2" {
				engines.multiplexed.Serve(c)
				return
			}
			engines.secure.Serve(c)
		})
	})
}

// serveAll serves every connection on a goroutine of its own, which ends with
// it: the engine and the table of connections know it.
func serveAll(l net.Listener, one func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go one(c)
	}
}

// tlsConfig leaves versions above 1.2, curves and cipher suites to Go, whose
// defaults follow the state of the art. Session tickets are on and their keys
// rotate daily.
func tlsConfig(o *Options) *tls.Config {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: o.GetCertificate,
	}
	if o.ClientAuth != nil {
		config.GetConfigForClient = askClients(config.Clone(), o.ClientAuth)
	}
	return config
}
