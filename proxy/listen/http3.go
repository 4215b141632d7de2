package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// quic-go reads five variables of the environment, most of them long after
// init: QUIC_GO_LOG_LEVEL, QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING,
// QUIC_GO_DISABLE_ECN, QUIC_GO_DISABLE_GSO and the one that disables scrambling
// of ClientHello. In the sealed process there is none of them. Its one remark
// on a small receive buffer goes to the standard logger, which the program
// leads to its own.

// Bounds that nobody needs to tune.
const (
	// A peer that vanished is noticed as in HTTP/2: pinged, then given up.
	// Without pings, QUIC's own idle timeout would end a quiet stream of
	// events.
	quicKeepAlive = 15 * time.Second
	quicSilence   = 45 * time.Second

	// What a client may send ahead of a server that does not read. The sum of
	// a connection's is memory that a stranger can take.
	quicStreamWindow     = 2 << 20
	quicConnectionWindow = 4 << 20

	// HTTP/3 needs three: control and two for QPACK. The rest is for those
	// that a client opens to see whether unknown ones are ignored.
	quicUniStreams = 16

	// New connections a second and at once from addresses that are not known
	// to be the sender's. Past that each has to show by one more round trip
	// (Retry, RFC 9000 section 8.1.2) that it is; before it, no more than three
	// times what came in is sent back.
	unprovenRate  = 100
	unprovenBurst = 500

	// How long a connection without requests is left to a client that was told
	// GOAWAY, so that the last response arrives: closing drops what the client
	// has not acknowledged.
	goodbye = time.Second
)

// http3Engine serves HTTP/3 on the UDP sockets. It is made by Run; begin may
// fail, end must follow it.
type http3Engine struct {
	options Options
	conns   *table
	logger  *zap.Logger
	remarks *slog.Logger

	transports []*quic.Transport
	listeners  []*quic.Listener

	mu       sync.Mutex
	sessions map[*session]struct{}
}

func newHTTP3Engine(o Options, conns *table, quiet *zap.Logger) *http3Engine {
	return &http3Engine{
		options:  o,
		conns:    conns,
		logger:   quiet,
		remarks:  slog.New(slog.NewTextHandler(lines{quiet}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		sessions: make(map[*session]struct{}),
	}
}

// begin starts the engine's own goroutines on each socket.
func (e *http3Engine) begin(sockets []net.PacketConn, base *tls.Config) error {
	config := http3.ConfigureTLSConfig(base)
	config.MinVersion = tls.VersionTLS13
	limit := rate.NewLimiter(unprovenRate, unprovenBurst)
	for _, socket := range sockets {
		transport := &quic.Transport{
			Conn:                socket,
			VerifySourceAddress: func(a net.Addr) bool { return !limit.Allow() || e.conns.caps.crowded(household(a)) },
			ConnContext:         e.admit,
		}
		// Not ListenEarly: requests are served when the handshake is done, and
		// 0-RTT, which can be replayed, is off.
		listener, err := transport.Listen(config, e.quicConfig())
		if err != nil {
			return &Error{Address: socket.LocalAddr().String() + udpSuffix, Err: plainCause(err)}
		}
		e.transports = append(e.transports, transport)
		e.listeners = append(e.listeners, listener)
	}
	return nil
}

// errFull refuses a connection (CONNECTION_REFUSED, RFC 9000 section 20.1).
var errFull = errors.New("too many connections")

// admit counts a connection as soon as its first packet has come, or refuses
// it. Unlike TCP there is no queue in which it could wait. An address that has
// many connections has to prove itself, or a stranger could use its share up by
// packets in its name.
func (e *http3Engine) admit(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	peer := household(client.RemoteAddr)
	if overloaded := e.options.Overloaded; overloaded != nil && overloaded() || !e.conns.room() || !e.conns.caps.admit(peer) {
		return nil, errFull
	}
	context.AfterFunc(ctx, func() { e.conns.caps.release(peer) })
	return ctx, nil
}

func (e *http3Engine) quicConfig() *quic.Config {
	streams := int64(e.options.HTTP2Streams)
	if streams <= 0 {
		streams = 250
	}
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1, quic.Version2},
		HandshakeIdleTimeout:           e.options.HandshakeTimeout / 2, // the whole handshake gets twice that
		MaxIdleTimeout:                 quicSilence,
		KeepAlivePeriod:                quicKeepAlive,
		InitialStreamReceiveWindow:     512 << 10,
		MaxStreamReceiveWindow:         quicStreamWindow,
		InitialConnectionReceiveWindow: 1 << 20,
		MaxConnectionReceiveWindow:     quicConnectionWindow,
		MaxIncomingStreams:             streams,
		MaxIncomingUniStreams:          quicUniStreams,
	}
}

// accept serves a listener's connections until it is closed. Should it fail by
// itself, TCP goes on being served.
func (e *http3Engine) accept(l *quic.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			if !errors.Is(err, quic.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				e.logger.Error("HTTP/3 ended", zap.String("address", l.Addr().String()), zap.Error(err))
			}
			return
		}
		go e.open(c).serve() // until the connection leaves the table
	}
}

// stopAccepting ends accept. Connections live on.
func (e *http3Engine) stopAccepting() {
	for _, l := range e.listeners {
		_ = l.Close()
	}
}

// drain tells every client by GOAWAY to send no more requests, and returns when
// all connections are closed (those without a request soon, the others when
// their requests are answered), or with ctx's error.
func (e *http3Engine) drain(ctx context.Context) error {
	e.mu.Lock()
	var goodbyes sync.WaitGroup
	for s := range e.sessions {
		goodbyes.Go(s.drain)
	}
	e.mu.Unlock()
	closed := make(chan struct{})
	go func() { goodbyes.Wait(); close(closed) }() // ends when the table has cut what is left
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end releases what begin took, except for the sockets. Sessions are gone by
// then, or are being cut.
func (e *http3Engine) end() {
	for _, t := range e.transports {
		_ = t.Close()
	}
}

// session is one QUIC connection, with an HTTP/3 server to itself: so that
// each can be told GOAWAY, and waited for, by itself.
type session struct {
	engine *http3Engine
	quic   *quic.Conn
	server *http3.Server
	entry  *conn
	most   int // requests under way

	going  context.Context // until the client is to be told to go
	goaway context.CancelFunc
	done   chan struct{} // closed when the connection is closed and its handlers have returned

	mu     sync.Mutex
	active int
	limit  time.Duration // for being without a request; 0 is none
	idle   *time.Timer
}

// datagrams lets a QUIC connection stand in the table of connections, which
// needs nothing of it but Close.
type datagrams struct {
	net.Conn
	quic *quic.Conn
}

func (d datagrams) Close() error {
	return d.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

func (e *http3Engine) open(c *quic.Conn) *session {
	s := &session{engine: e, quic: c, limit: e.options.IdleTimeout, most: 2 * int(e.quicConfig().MaxIncomingStreams)}
	s.going, s.goaway = context.WithCancel(context.Background())
	s.done = make(chan struct{})
	s.entry = e.conns.add(datagrams{quic: c}, household(c.RemoteAddr()), false)
	s.server = &http3.Server{
		Handler:        s,
		MaxHeaderBytes: e.options.RequestHeaderBytes,
		Logger:         e.remarks,
		// No IdleTimeout: it counts a request from its first byte on, so half a
		// head would hold the connection for ever.
	}
	s.idle = time.AfterFunc(time.Hour, s.expire)
	s.rest()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions[s] = struct{}{}
	return s
}

// serve returns when the connection is closed and its handlers have returned.
func (s *session) serve() {
	defer close(s.done)
	if err := s.streams(s.going); err != nil {
		s.engine.logger.Debug("HTTP/3 connection ended", zap.String("client", s.quic.RemoteAddr().String()), zap.Error(err))
	}
	s.goaway() // gives the context back
	s.idle.Stop()
	s.engine.mu.Lock()
	delete(s.engine.sessions, s)
	s.engine.mu.Unlock()
	_ = s.entry.Close()
}

// ServeHTTP answers one request.
func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		_ = s.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many requests at once")
		return
	}
	defer s.finish()
	headRead(w)
	const version = "HTTP/3.0"
	if r.Method == http.MethodConnect && r.Proto != version {
		// An extended CONNECT (RFC 9220), in the form that net/http's HTTP/2
		// server gives it.
		r.Header[":protocol"] = []string{r.Proto}
		r.Proto = version
	}
	delete(r.Header, "Host") // Request.Host has it; quic-go made sure that :authority agrees
	if reason := h2.Check(r); reason != "" {
		s.engine.logger.Debug("malformed HTTP/3 request", zap.String("client", r.RemoteAddr), zap.String("reason", reason))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	head := r.Method == http.MethodHead
	settleBody(w, r, s.engine.options.RequestHeaderTimeout)
	s.engine.options.Handler.ServeHTTP(w, r)
	if limit := lastWrite(s.engine.options); limit > 0 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
	}
	if head {
		// Else the engine would announce the length of the body that is not
		// there.
		_ = http.NewResponseController(w).Flush()
	}
}

// begin reports false when the client has more requests under way than it was
// allowed streams, by resetting streams faster than their handlers end
// (CVE-2023-44487 in its HTTP/3 form).
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active >= s.most {
		return false
	}
	s.active++
	s.idle.Stop()
	s.entry.phase.Store(int32(busy))
	return true
}

func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active--; s.active == 0 {
		s.entry.rest(idle)
		s.rest()
	}
}

// rest starts the time that the connection may be without a request.
func (s *session) rest() {
	s.idle.Stop()
	if s.limit > 0 {
		s.idle.Reset(s.limit)
	}
}

func (s *session) expire() {
	s.mu.Lock()
	resting := s.active == 0
	s.mu.Unlock()
	if resting {
		s.entry.cut()
	}
}

// drain returns when the connection is closed and its handlers have returned.
func (s *session) drain() {
	s.mu.Lock()
	s.limit = goodbye
	if s.active == 0 {
		s.rest()
	}
	s.mu.Unlock()
	s.goaway()
	<-s.done
}
