package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/proxy/listen/h1"
	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// afterCut is how long Run waits, after it has cut connections, for the
// handlers on them to notice.
const afterCut = 5 * time.Second

// Server serves on the sockets that Open opened.
type Server struct {
	options     Options
	logger      *zap.Logger
	http, https []net.Listener
	udp         []net.PacketConn // for HTTP/3
	conns       *table
	flows       *flows

	mu     sync.Mutex
	close  func() // ends the engines; set by Run
	closed bool
}

// Addrs returns the addresses that are listened on, in the order of the
// options; useful when a port of 0 let the system choose.
func (s *Server) Addrs() (http, https []net.Addr) {
	return addrs(s.http), addrs(s.https)
}

func addrs(listeners []net.Listener) []net.Addr {
	var list []net.Addr
	for _, l := range listeners {
		list = append(list, l.Addr())
	}
	return list
}

// Run serves until ctx ends, lets what is under way finish within
// ShutdownTimeout, cuts the rest, and returns nil when all its goroutines have
// ended. Call it once.
//
// What is under way: requests being answered, and upgraded connections.
// Connections without a request are closed at once; HTTP/2 and HTTP/3 clients
// are told by GOAWAY, HTTP/1.1 clients by Connection: close.
func (s *Server) Run(ctx context.Context) error {
	quiet := sampled(s.logger)
	background := context.WithoutCancel(ctx) // a stop must not cancel requests
	var (
		workers   sync.WaitGroup
		listeners []net.Listener
		ended     = make(chan error, len(s.http)+len(s.https))
	)
	plain := s.engine(s.options.Redirect, quiet)
	secure := s.engine(s.handler(), quiet)
	multiplexed := s.http2Engine(background, quiet)
	if !s.begin(plain, secure, multiplexed) {
		return net.ErrClosed
	}
	watching, unwatch := context.WithCancel(background)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer unwatch() // it guards connections until the last has ended
	watch.Go(func() { (&guard{s.conns, s.flows, quiet}).run(watching) })
	quic := newHTTP3Engine(s.options, s.conns, quiet)
	defer quic.end()
	if err := quic.begin(s.udp, s.tlsConfig()); err != nil {
		s.Close()
		return err
	}
	for _, l := range quic.listeners {
		workers.Go(func() { quic.accept(l) })
	}
	serve := func(l net.Listener, one func(net.Conn)) {
		listeners = append(listeners, l)
		workers.Go(func() { ended <- serveAll(l, one) })
	}
	for _, l := range s.http {
		serve(newAcceptor(s.introduced(l, &workers, quiet), s.conns, s.options.Overloaded, quiet), plain.Serve)
	}
	for _, l := range s.https {
		h := newHandshaker(newAcceptor(s.introduced(l, &workers, quiet), s.conns, s.options.Overloaded, quiet), s.tlsConfig(), s.options.HandshakeTimeout)
		workers.Go(h.run)
		serve(h, func(c net.Conn) {
			if secured, ok := c.(*tls.Conn); ok && secured.ConnectionState().NegotiatedProtocol == "h2" {
				multiplexed.Serve(c)
				return
			}
			secure.Serve(c)
		})
	}

	var failure error
	select {
	case <-ctx.Done():
	case err := <-ended: // somebody called Close, or an engine gave up
		if !errors.Is(err, net.ErrClosed) {
			failure = err
		}
	}
	closeAll(listeners)
	quic.stopAccepting()
	s.conns.cut(fresh) // ends handshakes, which workers waits for
	workers.Wait()
	s.conns.cut(fresh) // and what came through meanwhile: the engine would wait seconds for a first request
	s.finish(background, plain.Shutdown, secure.Shutdown, multiplexed.Shutdown, quic.drain)
	return failure
}

// serveAll serves every connection on a goroutine of its own, which ends with
// it: the engine and the table of connections know it. The error is that of the
// listener.
func serveAll(l net.Listener, one func(net.Conn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go one(c)
	}
}

// Close closes every socket and connection at once. Run then returns. It may
// be called at any time, also if Run never was.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	closeAll(s.http)
	closeAll(s.https)
	if s.close != nil {
		s.close()
	}
	s.conns.cutAll()
	closeAll(s.udp) // last: HTTP/3 clients are told over it
}

// begin keeps the engines for Close, and reports whether that was called
// already.
func (s *Server) begin(plain, secure *h1.Server, multiplexed *h2.Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close = func() {
		plain.Close()
		secure.Close()
		multiplexed.Close()
	}
	return !s.closed
}

// engine makes the HTTP/1.1 server for one kind of socket.
func (s *Server) engine(handler http.Handler, quiet *zap.Logger) *h1.Server {
	o := s.options
	return h1.New(h1.Options{
		Handler:       handler,
		HeaderBytes:   o.RequestHeaderBytes,
		HeaderCount:   o.RequestHeaderCount,
		TargetBytes:   o.URILength,
		HeaderTimeout: o.RequestHeaderTimeout,
		IdleTimeout:   o.IdleTimeout,
		State:         s.conns.observe,
		Refused: func(c net.Conn, err *h1.ProtocolError) {
			quiet.Debug("malformed request", zap.String("client", c.RemoteAddr().String()), zap.Int("status", err.Status), zap.Error(err))
		},
		Logger: s.logger,
	})
}

// handler answers over TLS.
func (s *Server) handler() http.Handler {
	if s.options.HTTP3 {
		return announcer{s.options.Handler}
	}
	return s.options.Handler
}

// tlsConfig leaves versions above 1.2, curves and cipher suites to Go, whose
// defaults follow the state of the art. Session tickets are on and their keys
// rotate daily.
func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.options.GetCertificate,
	}
	if s.options.ClientAuth != nil {
		config.GetConfigForClient = askClients(config.Clone(), s.options.ClientAuth)
	}
	return config
}

// finish lets what is under way end within ShutdownTimeout and cuts the rest.
func (s *Server) finish(ctx context.Context, shutdown ...func(context.Context) error) {
	began := time.Now()
	if n := s.conns.count(busy); n > 0 {
		s.logger.Info("stopping: waiting for connections in use",
			zap.Int("connections", n),
			zap.Int64("limit_ms", s.options.ShutdownTimeout.Milliseconds()))
	}
	limit, cancel := context.WithTimeout(ctx, s.options.ShutdownTimeout)
	defer cancel()
	var shutdowns sync.WaitGroup
	for _, drain := range shutdown {
		shutdowns.Go(func() { _ = drain(limit) })
	}
	_ = s.conns.wait(limit) // the engine does not wait for upgraded connections
	shutdowns.Wait()
	if n := s.conns.count(busy); n > 0 {
		s.logger.Warn("stopped: connections still in use were cut", zap.Int("connections", n),
			zap.Int64("waited_ms", time.Since(began).Milliseconds()))
	}
	s.Close()
	final, cancel := context.WithTimeout(ctx, afterCut)
	defer cancel()
	if err := s.conns.wait(final); err != nil {
		s.logger.Error("a request handler did not end with its connection")
	}
}

// sampled returns a logger for what any stranger can cause at will: of equal
// lines it writes the first ten of each second.
func sampled(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 10, 0)
	}))
}

// lines is where the engine writes its own remarks, nearly all of them about
// what clients did.
type lines struct{ logger *zap.Logger }

func (l lines) Write(line []byte) (int, error) {
	l.logger.Debug("HTTP server", zap.String("detail", strings.TrimSpace(string(line))))
	return len(line), nil
}
