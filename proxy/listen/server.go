package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
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

	mu      sync.Mutex
	engines []io.Closer // set by Run
	closed  bool
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
	serve := func(engine *http.Server, l net.Listener) {
		listeners = append(listeners, l)
		workers.Go(func() { ended <- engine.Serve(l) })
	}
	plain, secure := s.engine(background, quiet, false), s.engine(background, quiet, true)
	http2 := s.newHTTP2(background, quiet, secure.Handler)
	configureHTTP2(secure, http2)
	if !s.begin(http2, plain, secure) {
		return net.ErrClosed
	}
	quic := newHTTP3Engine(s.options, s.conns, quiet)
	defer quic.end()
	if err := quic.begin(s.udp, s.tlsConfig()); err != nil {
		s.Close()
		return err
	}
	for _, l := range quic.listeners {
		workers.Go(func() { quic.accept(l) })
	}
	for _, l := range s.http {
		serve(plain, newAcceptor(l, s.conns, quiet))
	}
	for _, l := range s.https {
		a := newAcceptor(l, s.conns, quiet)
		h := newHandshaker(a, secure.TLSConfig, s.options.HandshakeTimeout)
		workers.Go(h.run)
		serve(secure, h)
	}

	var failure error
	select {
	case <-ctx.Done():
	case err := <-ended: // somebody called Close, or an engine gave up
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			failure = err
		}
	}
	closeAll(listeners)
	quic.stopAccepting()
	s.conns.cut(fresh) // ends handshakes, which workers waits for
	workers.Wait()
	s.conns.cut(fresh) // and what came through meanwhile: the engine would wait seconds for a first request
	s.finish(background, plain.Shutdown, secure.Shutdown, http2.Shutdown, quic.drain)
	return failure
}

// Close closes every socket and connection at once. Run then returns. It may
// be called at any time, also if Run never was.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	closeAll(s.http)
	closeAll(s.https)
	for _, engine := range s.engines {
		_ = engine.Close()
	}
	s.conns.cutAll()
	closeAll(s.udp) // last: HTTP/3 clients are told over it
}

func (s *Server) begin(engines ...io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = engines
	return !s.closed
}

// engine makes the HTTP server for one kind of socket.
func (s *Server) engine(ctx context.Context, quiet *zap.Logger, secure bool) *http.Server {
	o := s.options
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	engine := &http.Server{
		Handler:                      o.Redirect,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is the handler's, like every request
		ReadHeaderTimeout:            o.RequestHeaderTimeout,
		IdleTimeout:                  o.IdleTimeout,
		MaxHeaderBytes:               o.RequestHeaderBytes,
		ConnState:                    s.conns.observe,
		ErrorLog:                     log.New(lines{quiet}, "", 0),
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		Protocols:                    &protocols,
	}
	if secure {
		engine.Handler = o.Handler
		if o.HTTP3 {
			engine.Handler = announcer{o.Handler}
		}
		engine.TLSConfig = s.tlsConfig()
	}
	return engine
}

// tlsConfig leaves versions above 1.2, curves and cipher suites to Go, whose
// defaults follow the state of the art. Session tickets are on and their keys
// rotate daily.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.options.GetCertificate,
	}
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
