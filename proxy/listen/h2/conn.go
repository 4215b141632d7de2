package h2

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2/hpack"
)

const (
	// What a client may send ahead of handlers that do not read. The
	// connection's is the memory that a stranger can take with bodies. A
	// stream begins with less and gets all of it when its handler keeps up.
	connWindow        = 1 << 20
	streamWindow      = 256 << 10
	headerTable       = 4096    // of HPACK, each way; RFC 7541's default
	mostHeads         = 1 << 20 // field sections of requests under way, in sum: as many streams as are allowed with 8 KiB each
	rememberedResets  = 64
	pingAfter         = 30 * time.Second // without a frame from a client that has requests open
	pingPatience      = 15 * time.Second
	writePatience     = 60 * time.Second // for a client to take what one write has
	goAwayPatience    = time.Second      // between the two GOAWAYs of a stop, if the client does not answer a ping
	lingerTime        = 500 * time.Millisecond
	lingerBytes       = 256 << 10
	smallFrame        = 64
	mostPendingFrames = 64 << 10 // bytes of frames about the connection that wait to be written
)

// conn is one connection. One goroutine reads (serve), each stream has one, and
// whoever has written something flushes; see write.go.
type conn struct {
	server *Server
	nc     net.Conn
	tls    *tls.ConnectionState
	client string         // remote address
	peer   netip.AddrPort // the same
	work   sync.WaitGroup

	// Of the reading goroutine alone.
	head    [headSize]byte
	small   [smallFrame]byte
	decoder *hpack.Decoder
	block   block
	limit   time.Time // for reading; zero is none
	missed  bool      // it was to come to rest, in the middle of a frame
	highest uint32    // stream that the client opened last

	mu       sync.Mutex
	streams  map[uint32]*stream // until their handlers have returned
	running  int
	resting  []*worker
	spare    int                       // of resting: those that nobody has needed since the last look
	last     uint32                    // stream that was last given to the handler
	gone     *[rememberedResets]uint32 // made by the first
	heads    int                       // sizes of the field sections of those that run
	goneNext int
	calm     allowance
	owed     int // WINDOW_UPDATE frames that content sent has paid for
	resets   allowance
	writer
	received   int // of connWindow: not yet given back to the client
	unreturned int // read by handlers, not yet given back
	dead       bool
	ending     bool      // GOAWAY with the last stream is sent; end when there are no streams
	drained    bool      // the first of two GOAWAYs is sent
	partBy     time.Time // if drained: when to send the second
	begun      bool      // the prefaces are exchanged
	since      time.Time
	timer      *time.Timer
	soon       bool // the timer will see soon what can be let go
	dozing     bool // the reading goroutine is at rest
	pings      pings

	roused  atomic.Bool // the read deadline has passed only to wake the reader up
	stopped atomic.Bool // it has passed for good
}

func newConn(s *Server, nc net.Conn) *conn {
	now := time.Now()
	c := &conn{
		server: s,
		nc:     nc,
		client: nc.RemoteAddr().String(),
		calm:   newAllowance(idleFrames, idleRefill, now),
		resets: newAllowance(max(resetLeast, s.options.Streams), resetRefill, now),
		since:  now,
	}
	c.pings.due = now.Add(pingAfter)
	c.peer, _ = netip.ParseAddrPort(c.client)
	c.writer.init()
	c.decoder = hpack.NewDecoder(headerTable, c.block.field)
	c.decoder.SetMaxStringLength(2 * s.options.HeaderBytes) // what is a little too large gets a 431
	c.block.limits, c.block.names = &s.options, s.names
	return c
}

// serve runs the connection until its end, or reports true when it is at rest:
// then another goroutine should go on with resume.
func (c *conn) serve(err error) (resting bool) {
	for err == nil {
		if err = c.readFrame(); err == nil && c.missed {
			c.missed = false
			c.mu.Lock()
			c.restSoon()
			c.mu.Unlock()
		}
	}
	if err == errResting {
		c.rested()
		return true
	}
	c.end(err)
	c.work.Wait()
	c.close()
	return false
}

// start exchanges prefaces (RFC 9113 section 3.4).
func (c *conn) start() error {
	o := &c.server.options
	if secure, ok := c.nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	list := appendSetting(nil, settingMaxStreams, uint32(o.Streams))
	list = appendSetting(list, settingInitialWindow, streamWindow)
	list = appendSetting(list, settingMaxHeaderListSize, uint32(o.HeaderBytes))
	list = appendSetting(list, settingEnableConnect, 1)
	c.mu.Lock()
	c.out = append(appendHead(c.out, len(list), frameSettings, 0, 0), list...)
	c.out = appendWindowUpdate(c.out, 0, connWindow-defaultWindow)
	c.timer = time.AfterFunc(c.nextLook(c.since), c.look)
	flush := c.kick()
	c.mu.Unlock()
	if flush {
		c.flush()
	}
	if c.tls != nil && !adequate(c.tls) {
		return broken(codeInadequateTLS, "cipher suite that HTTP/2 forbids")
	}
	c.limitRead(time.Now().Add(o.HeaderTimeout))
	var hello [len(preface)]byte
	if err := c.readFull(hello[:], false); err != nil {
		return err
	}
	if string(hello[:]) != preface {
		return broken(codeProtocol, "no HTTP/2 preface")
	}
	h, err := c.readHead(false)
	if err != nil {
		return err
	}
	if h.kind != frameSettings || h.has(flagAck) {
		return broken(codeProtocol, "the first frame is not SETTINGS")
	}
	c.limitRead(time.Time{})
	o.State(c.nc, http.StateIdle)
	if err := c.readRest(h); err != nil {
		return err
	}
	c.begin()
	return nil
}

// adequate: RFC 9113 section 9.2.2. Those of TLS 1.2 that are ephemeral and
// authenticate what they encrypt.
func adequate(s *tls.ConnectionState) bool {
	if s.Version >= tls.VersionTLS13 {
		return true
	}
	switch s.CipherSuite {
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return true
	}
	return false
}

func (c *conn) readHead(mayRest bool) (frameHead, error) {
	// Straight from the TLS connection, which has a buffer of its own: a
	// connection that waits for a frame holds none of ours.
	if err := c.readFull(c.head[:], mayRest); err != nil {
		return frameHead{}, err
	}
	h := parseHead(&c.head)
	if h.length > frameSize {
		return h, broken(codeFrameSize, "frame larger than allowed")
	}
	return h, nil
}

func (c *conn) readFrame() error {
	h, err := c.readHead(true)
	if err != nil {
		return err
	}
	return c.readRest(h)
}

// readRest reads and processes the payload of a frame.
func (c *conn) readRest(h frameHead) error {
	if h.kind == frameData {
		return c.data(h)
	}
	payload, big, err := c.payload(h.length)
	if err == nil {
		err = c.process(h, payload)
	}
	if big != nil {
		c.server.pools.frames.Put(big)
	}
	return err
}

func (c *conn) payload(n int) ([]byte, *[frameSize]byte, error) {
	var big *[frameSize]byte
	b := c.small[:]
	if n > len(b) {
		big = c.server.pools.frames.Get().(*[frameSize]byte)
		b = big[:]
	}
	err := c.readFull(b[:n], false)
	return b[:n], big, err
}

// end says goodbye, and cancels every stream. A nil connError is the peer's or
// the network's end.
func (c *conn) end(err error) {
	protocol, ours := errors.AsType[*connError](err)
	c.mu.Lock()
	finished := c.ending && len(c.streams) == 0
	c.dead = true
	c.timer.Stop()
	c.dismiss(len(c.resting))
	for _, s := range c.streams {
		s.cancel(errGone)
	}
	if ours {
		c.out = appendGoAway(c.out, c.last, protocol.code, protocol.reason)
	}
	flush := c.kick()
	if !flush && c.flushing && c.flushed == nil {
		c.flushed = make(chan struct{})
	}
	flushed := c.flushed
	c.mu.Unlock()
	if ours {
		c.server.options.Logger.Debug("HTTP/2 connection ended", zap.String("client", c.client),
			zap.Uint32("code", uint32(protocol.code)), zap.String("reason", protocol.reason))
		c.server.options.Refused(protocol.refusal())
	}
	if !ours && !finished {
		c.fail(err) // the peer is gone
		return
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(goAwayPatience))
	if flush {
		c.flush()
	} else if flushed != nil {
		<-flushed
	}
	c.linger()
}

// close closes the connection. One that cannot be written to is not said goodbye
// to, which could wait for seconds.
func (c *conn) close() {
	c.mu.Lock()
	failed := c.writeErr != nil
	c.mu.Unlock()
	if secure, ok := c.nc.(*tls.Conn); ok && failed {
		_ = secure.NetConn().Close()
		return
	}
	_ = c.nc.Close()
}

// linger lets the client read GOAWAY: closing with something unread would make
// the network drop what the client has not taken yet (RFC 9113 section 5.4.1).
func (c *conn) linger() {
	type halfCloser interface{ CloseWrite() error }
	if half, ok := c.nc.(halfCloser); !ok || half.CloseWrite() != nil {
		return
	}
	if secure, ok := c.nc.(*tls.Conn); ok {
		if half, ok := secure.NetConn().(halfCloser); ok {
			_ = half.CloseWrite()
		}
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(bytesOnly{c.nc}, lingerBytes))
}

// bytesOnly hides every method but Read.
type bytesOnly struct{ io.Reader }

// remember notes a stream that we reset: frames of it may be on the way. With
// the lock held.
func (c *conn) remember(id uint32) {
	if c.gone == nil {
		c.gone = new([rememberedResets]uint32)
	}
	c.gone[c.goneNext%rememberedResets] = id
	c.goneNext++
}

func (c *conn) remembered(id uint32) bool {
	return c.gone != nil && slices.Contains(c.gone[:], id)
}

// idle spends from the allowance for frames without use. With the lock held.
func (c *conn) idle(cost int) error {
	if !c.calm.spend(cost) {
		return broken(codeCalm, "too many frames without use")
	}
	return nil
}

// reset spends from the allowance for requests taken back. With the lock held.
func (c *conn) reset(cost int) error {
	if !c.resets.spend(cost) {
		return broken(codeCalm, "too many requests taken back")
	}
	return nil
}

var errGone = errors.New("the client's connection has ended")
