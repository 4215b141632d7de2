package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/qlogwriter"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/proxy/listen/h2"
	"github.com/sallyport/sallyport/proxy/listen/relay"
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

	// How long handshakes that have begun may take to end at a stop. One that is
	// refused is a client's error.
	lastHandshakes = 2 * time.Second
)

// http3Engine serves HTTP/3 on the UDP sockets.
type http3Engine struct {
	server  *Server
	conns   *table
	logger  *zap.Logger
	remarks *slog.Logger
	limit   *rate.Limiter // of new connections from addresses that are not known to be the sender's
	tag     relay.Tag     // of our connections' ids
	shaking atomic.Int64  // handshakes that have begun

	mu        sync.Mutex
	endpoints map[*port]*endpoint
	sessions  map[*session]struct{}
}

// endpoint is one UDP socket that is served.
type endpoint struct {
	socket    *relay.Socket
	transport *quic.Transport
	listener  *quic.Listener
	accepted  chan struct{} // closed when no more connections come out of the listener
}

func newHTTP3Engine(s *Server) *http3Engine {
	return &http3Engine{
		server:    s,
		conns:     s.conns,
		logger:    s.quiet,
		remarks:   slog.New(slog.NewTextHandler(lines{s.quiet}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		limit:     rate.NewLimiter(unprovenRate, unprovenBurst),
		tag:       relay.NewTag(),
		endpoints: make(map[*port]*endpoint),
		sessions:  make(map[*session]struct{}),
	}
}

// options are those for new connections.
func (e *http3Engine) options() *Options { return &e.server.stack.Load().options }

// begin serves a socket, unless it is served already.
func (e *http3Engine) begin(p *port) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.endpoints[p] != nil {
		return nil
	}
	config := http3.ConfigureTLSConfig(e.server.tls)
	config.MinVersion = tls.VersionTLS13
	socket := relay.New(p.udp, e.tag)
	if p.before != nil {
		socket.Follow(p.before)
		p.before = nil
	}
	transport := &quic.Transport{
		Conn:                  socket,
		ConnectionIDGenerator: e.tag,
		VerifySourceAddress:   func(a net.Addr) bool { return !e.limit.Allow() || e.conns.caps.crowded(household(a)) },
		ConnContext:           e.admit,
	}
	first := e.quicConfig()
	first.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) { return e.quicConfig(), nil }
	// Not ListenEarly: requests are served when the handshake is done, and
	// 0-RTT, which can be replayed, is off.
	listener, err := transport.Listen(config, first)
	if err != nil {
		socket.Release()
		return &Error{Address: p.addr().String() + udpSuffix, Err: plainCause(err)}
	}
	at := &endpoint{socket, transport, listener, make(chan struct{})}
	e.endpoints[p] = at
	e.server.workers.Go(func() { e.accept(at) })
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
	if overloaded := e.options().Overloaded; overloaded != nil && overloaded() || !e.conns.room() || !e.conns.caps.admit(peer) {
		e.conns.counters.refused.add(h3Full)
		return nil, errFull
	}
	shaken := new(atomic.Bool)
	e.shaking.Add(1)
	context.AfterFunc(ctx, func() {
		e.conns.caps.release(peer)
		if shaken.CompareAndSwap(false, true) {
			e.shaking.Add(-1)
			e.conns.counters.quic.failed.Add(1)
			e.logger.Debug("QUIC handshake failed", zap.Stringer("client", client.RemoteAddr), zap.Error(context.Cause(ctx)))
		}
	})
	return context.WithValue(ctx, shakenKey{}, shaken), nil
}

// shakenKey is where the context of a connection has the *atomic.Bool that is
// set once its handshake has ended.
type shakenKey struct{}

// shook notes that the handshake of a connection is done.
func (e *http3Engine) shook(c *quic.Conn) {
	if shaken, ok := c.Context().Value(shakenKey{}).(*atomic.Bool); ok && shaken.CompareAndSwap(false, true) {
		e.shaking.Add(-1)
	}
	e.conns.counters.quic.shook(c.ConnectionState().TLS)
}

// lastHandshakes waits until the handshakes that have begun have ended.
func (e *http3Engine) lastHandshakes(ctx context.Context) {
	const look = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, lastHandshakes)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for e.shaking.Load() > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// divert passes on what comes on a socket for new connections.
func (e *http3Engine) divert(p *port) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at := e.endpoints[p]; at != nil && p.after != nil {
		at.socket.Divert(p.after)
		p.after = nil
	}
}

func (e *http3Engine) quicConfig() *quic.Config {
	o := e.options()
	streams := int64(o.HTTP2Streams)
	if streams <= 0 {
		streams = 250
	}
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1, quic.Version2},
		HandshakeIdleTimeout:           o.HandshakeTimeout / 2, // the whole handshake gets twice that
		MaxIdleTimeout:                 quicSilence,
		KeepAlivePeriod:                quicKeepAlive,
		InitialStreamReceiveWindow:     512 << 10,
		MaxStreamReceiveWindow:         quicStreamWindow,
		InitialConnectionReceiveWindow: 1 << 20,
		MaxConnectionReceiveWindow:     quicConnectionWindow,
		MaxIncomingStreams:             streams,
		MaxIncomingUniStreams:          quicUniStreams,
		Tracer:                         func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return new(trace) },
	}
}

// accept serves the connections of an endpoint until its listener is closed.
// Should it fail by itself, TCP goes on being served.
func (e *http3Engine) accept(at *endpoint) {
	defer close(at.accepted)
	for {
		c, err := at.listener.Accept(context.Background())
		if err != nil {
			if !errors.Is(err, quic.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				e.logger.Error("HTTP/3 ended", zap.String("address", at.listener.Addr().String()), zap.Error(err))
			}
			return
		}
		e.shook(c)
		go e.open(at, c).serve() // until the connection leaves the table
	}
}

// retire ends a socket: drain, and then end.
func (e *http3Engine) retire(ctx context.Context, p *port) {
	e.mu.Lock()
	at := e.endpoints[p]
	delete(e.endpoints, p)
	e.mu.Unlock()
	if at != nil {
		e.drainOne(ctx, at)
		e.endOne(at)
	}
}

// drain is drainOne for all. No socket may begin from now on.
func (e *http3Engine) drain(ctx context.Context) {
	var group sync.WaitGroup
	for _, at := range e.all() {
		group.Go(func() { e.drainOne(ctx, at) })
	}
	group.Wait()
}

// end is endOne for all.
func (e *http3Engine) end() {
	for _, at := range e.all() {
		e.endOne(at)
	}
}

func (e *http3Engine) all() []*endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.endpoints))
}

// of returns the connections of an endpoint.
func (e *http3Engine) of(at *endpoint) []*session {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*session
	for s := range e.sessions {
		if s.endpoint == at {
			list = append(list, s)
		}
	}
	return list
}

// drainOne begins no connection any more (if no other process gets them they are
// not heard), and tells every client by GOAWAY to send no more requests. It returns when all connections are closed (those
// without a request soon, the others when their requests are answered) and no
// process before this one needs it to pass packets on, or when ctx ends.
func (e *http3Engine) drainOne(ctx context.Context, at *endpoint) {
	at.socket.Shun()
	var goodbyes sync.WaitGroup
	told := make(map[*session]bool)
	tell := func() {
		for _, s := range e.of(at) {
			if !told[s] {
				told[s] = true
				goodbyes.Go(s.drain)
			}
		}
	}
	tell()
	e.lastHandshakes(ctx) // closing the listener refuses them
	_ = at.listener.Close()
	<-at.accepted
	tell()
	closed := make(chan struct{})
	go func() { goodbyes.Wait(); close(closed) }() // ends when somebody has cut what is left
	select {
	case <-closed:
	case <-ctx.Done():
		return
	}
	if relays := at.socket.Relays(); relays != nil { // of three processes, we are the second
		select {
		case <-relays:
		case <-ctx.Done():
		}
	}
}

// endOne cuts what is left and does not read the socket any more. Whom packets
// were passed on to reads it now.
func (e *http3Engine) endOne(at *endpoint) {
	for _, s := range e.of(at) {
		s.entry.cut()
	}
	_ = at.transport.Close()
	at.socket.Release()
}

// session is one QUIC connection, with an HTTP/3 server to itself: so that
// each can be told GOAWAY, and waited for, by itself.
type session struct {
	engine   *http3Engine
	endpoint *endpoint
	options  *Options
	quic     *quic.Conn
	server   *http3.Server
	entry    *conn
	most     int // requests under way

	going  context.Context // until the client is to be told to go
	goaway context.CancelFunc
	done   chan struct{} // closed when the connection is closed and its handlers have returned

	heads chan struct{} // has one for each head that is coming in

	once sync.Once // for the end of a flood

	mu     sync.Mutex
	asked  map[quic.StreamID]*request3
	sum    int       // of the sizes of the heads of active requests
	budget float64   // requests that the client may yet take back
	earned time.Time // when the budget was last added to
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

func (e *http3Engine) open(at *endpoint, c *quic.Conn) *session {
	o := e.options()
	s := &session{engine: e, endpoint: at, options: o, quic: c, limit: o.IdleTimeout, most: 2 * int(e.quicConfig().MaxIncomingStreams)}
	s.going, s.goaway = context.WithCancel(context.Background())
	s.done = make(chan struct{})
	s.budget, s.earned = s.mostBack(), time.Now()
	s.asked = make(map[quic.StreamID]*request3)
	s.heads = make(chan struct{}, max(mostHeads3/max(o.RequestHeaderBytes, 1<<10), 4))
	if told, ok := c.QlogTrace().(*trace); ok {
		told.session = s
	}
	s.entry = e.conns.add(datagrams{quic: c}, household(c.RemoteAddr()), false)
	s.server = &http3.Server{
		Handler:        s,
		MaxHeaderBytes: o.RequestHeaderBytes,
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
	err := s.streams(s.going)
	s.ended(err)
	s.goaway() // gives the context back
	s.idle.Stop()
	s.engine.mu.Lock()
	delete(s.engine.sessions, s)
	s.engine.mu.Unlock()
	_ = s.entry.Close()
}

// ServeHTTP answers one request.
func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.headRead(w, r)
	switch s.begin(a) {
	case flooding:
		s.flood()
		return
	case crowded:
		s.refuse(h3Streams, 0, "too many at once")
		a.reject()
		return
	}
	defer s.finish(a)
	const version = "HTTP/3.0"
	if r.Method == http.MethodConnect && r.Proto != version {
		// An extended CONNECT (RFC 9220), in the form that net/http's HTTP/2
		// server gives it.
		r.Header[":protocol"] = []string{r.Proto}
		r.Proto = version
	}
	delete(r.Header, "Host") // Request.Host has it; quic-go made sure that :authority agrees
	reason := a.wrong
	if reason == "" {
		reason = h2.Check(r)
	}
	if reason != "" {
		s.refuse(h3Malformed, http.StatusBadRequest, reason)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.Body = &strictBody{ReadCloser: r.Body, session: s, asked: a}
	head := r.Method == http.MethodHead
	settleBody(w, r, s.options.RequestHeaderTimeout)
	s.options.Handler.ServeHTTP(w, r)
	if limit := lastWrite(s.options); limit > 0 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
	}
	if head {
		// Else the engine would announce the length of the body that is not
		// there.
		_ = http.NewResponseController(w).Flush()
	}
}

// What begin says to a request.
type welcome int

const (
	welcomed welcome = iota
	crowded          // its head is too much beside the others'
	flooding         // the client is to go
)

// begin takes in a request. It is a flood when the client has more of them under
// way than it was allowed streams, by resetting streams faster than their
// handlers end (CVE-2023-44487 in its HTTP/3 form).
func (s *session) begin(a *request3) welcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.active >= s.most:
		return flooding
	case s.active > 0 && s.sum+a.size > mostHeads3:
		return crowded
	}
	s.active++
	s.sum += a.size
	s.idle.Stop()
	s.entry.phase.Store(int32(busy))
	return welcomed
}

func (s *session) finish(a *request3) {
	if !s.leave(a) {
		s.flood()
	}
}

// leave reports false if the client has taken back more than it may.
func (s *session) leave(a *request3) (calm bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum -= a.size
	if s.active--; s.active == 0 {
		s.entry.rest(idle)
		s.rest()
	}
	if a.taken || a.reset() {
		return s.takeBack()
	}
	s.budget = min(s.budget+1, s.mostBack())
	return true
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
