package h1

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

const (
	// maxInformational bounds the 1xx responses to one request.
	maxInformational = 16

	// lastWords is how long the answer of a server is waited for that does
	// not take the rest of the request any more.
	lastWords = time.Second

	// settleTime is how long the end of a response waits for the sender to
	// notice that it has sent everything.
	settleTime = 50 * time.Millisecond
)

// exchange is one request and its response on one connection. It holds what the
// caller gets: the response and its body (which is the exchange itself), and so
// is used again only when the caller has given both back (Recycle).
type exchange struct {
	res http.Response
	t   *Transport
	req *http.Request
	out *outgoing // until RoundTrip returns

	c      *conn
	detach func() bool // ends the connection's link to the request's context
	trace  *httptrace.ClientTrace
	sender *sender // nil: none was needed, or not yet
	close  bool    // we said Connection: close
	reused bool    // c was kept from an exchange before
	shared bool    // a goroutine of package context may look at the request's context

	patience time.Duration // with the server, until the response's head

	waiting  bool  // the body waits for 100 Continue
	stale    bool  // the kept connection was not fit for use, and nothing was sent
	lost     bool  // the server seems to have closed the kept connection
	answered bool  // a byte of a response was seen
	wrote    int   // bytes of out.wire that were sent
	writeErr error // why not all

	mu       sync.Mutex
	gotHead  bool // no limit is to be set any more
	limited  bool // there is a read deadline
	finished bool // the connection is somebody else's

	kind   bodyKind
	left   int64 // bytes to come, of the body or the chunk
	chunks wire.Chunks
	ended  error // what Read says from now on
	using  atomic.Uint32

	codings [1]string
}

// attempt has the exchange on c. On failure the connection is closed.
func (x *exchange) attempt(c *conn) error {
	ctx := x.req.Context()
	x.c, x.close, x.reused = c, x.out.close, c.reused
	x.patience = ResponseHeaderTimeout(ctx, x.t.options.ResponseHeaderTimeout)
	c.open(x.t.scratches.Get().(*scratch))
	x.trace = httptrace.ContextClientTrace(ctx)
	if x.trace != nil && x.trace.GotConn != nil {
		x.trace.GotConn(httptrace.GotConnInfo{Conn: c.nc, Reused: c.reused, WasIdle: c.reused})
	}
	if own, ok := ctx.(afterFuncer); ok {
		x.detach = own.AfterFunc(c.interrupt) // without a detour: interrupt does not wait
	} else if ctx.Done() != nil {
		x.detach, x.shared = context.AfterFunc(ctx, c.interrupt), true
	}
	var err error
	if c.reused && c.direct && x.out.body == nil {
		err = x.ask()
	} else {
		err = x.send()
	}
	if err == nil {
		err = x.receive()
	}
	if err != nil {
		x.lost = x.reused && !x.answered && !c.interrupted.Load() && (x.writeErr != nil || !isDeadline(err))
		err = x.explain(err)
		x.finish(false)
		return err
	}
	x.out = nil
	return nil
}

// send writes the request, or what there is of it, and arranges for the rest.
func (x *exchange) send() error {
	x.wrote, x.writeErr = x.c.stream.Write(x.out.wire)
	switch {
	case x.writeErr != nil && x.wrote == 0:
		return x.writeErr // whatever the server may say, it is not an answer
	case x.writeErr != nil:
		x.limit(lastWords)
	case x.out.body == nil:
		x.limit(x.patience)
	case x.out.expect && x.t.options.ExpectContinueTimeout > 0:
		x.waiting = true
		x.limit(x.t.options.ExpectContinueTimeout)
	default:
		x.startSender()
	}
	return nil
}

// limit bounds the wait for the response's head from now on. It is called by
// whoever sends.
func (x *exchange) limit(wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.gotHead:
	case wait > 0:
		x.limited = true
		x.c.limitRead(time.Now().Add(wait))
	case x.limited:
		x.limited = false
		x.c.limitRead(time.Time{})
	}
}

// unlimit ends all waiting for the head.
func (x *exchange) unlimit() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gotHead = true
	if x.limited {
		x.c.limitRead(time.Time{})
	}
}

// startSender hands the request's body over to a goroutine.
func (x *exchange) startSender() {
	x.waiting = false
	x.limit(0)
	x.sender = &sender{x: x, c: x.c, body: x.out.body, length: x.out.length, done: make(chan struct{})}
	x.out.body = nil
	go x.sender.run()
}

// receive reads heads up to that of the final response (RFC 9110 section
// 15.2) and prepares its body.
func (x *exchange) receive() error {
	for informational := 0; ; informational++ {
		n, err := x.readHead()
		if err != nil {
			return err
		}
		x.parseHead(n)
		code := x.res.StatusCode
		if code >= 200 || code == http.StatusSwitchingProtocols {
			break
		}
		if informational == maxInformational {
			return &ProtocolError{manyInformational}
		}
		if err := x.inform(code); err != nil {
			return err
		}
	}
	x.unlimit()
	return x.begin()
}

// readHead reads one head. While the body waits for 100 Continue, silence is
// as good as consent.
func (x *exchange) readHead() (int, error) {
	o := &x.t.options
	if !x.answered && x.c.r == x.c.w {
		if err := x.fillFirst(); err != nil {
			return 0, err
		}
	}
	for {
		n, err := x.c.readSection(true, o.MaxResponseHeaderBytes, o.MaxResponseFields, headTooLong)
		if err != nil && x.continues(err) {
			continue
		}
		return n, err
	}
}

// fillFirst waits for the first byte of a response.
func (x *exchange) fillFirst() error {
	for {
		err := x.c.fill()
		switch {
		case err == nil:
			x.begun()
			return nil
		case !x.continues(err):
			return err
		}
	}
}

// begun notes that a response has begun to come.
func (x *exchange) begun() {
	x.answered = true
	if x.trace != nil && x.trace.GotFirstResponseByte != nil {
		x.trace.GotFirstResponseByte()
	}
}

// continues starts to send a body that has waited for 100 Continue long enough.
func (x *exchange) continues(err error) bool {
	if !x.waiting || !isDeadline(err) || x.c.interrupted.Load() {
		return false
	}
	x.startSender()
	return true
}

// parseHead fills in the response from the head of n bytes that was just read.
func (x *exchange) parseHead(n int) {
	c := x.c
	text := string(c.buf[c.r : c.r+n])
	c.r += n
	res := &x.res
	res.ProtoMajor, res.ProtoMinor = 1, int(text[7]-'0')
	res.Proto = text[:8]
	res.StatusCode = int(text[9]-'0')*100 + int(text[10]-'0')*10 + int(text[11]-'0')
	line := 12
	for text[line] != '\r' {
		line++
	}
	res.Status = text[9:line]
	res.Header = c.header(text)
}

// inform passes an informational response on (RFC 9110 section 15.2).
func (x *exchange) inform(code int) error {
	if _, bad := x.frame(); bad != "" {
		return &ProtocolError{bad}
	}
	if code == http.StatusContinue && x.waiting {
		if x.trace != nil && x.trace.Got100Continue != nil {
			x.trace.Got100Continue()
		}
		x.startSender()
	}
	var err error
	if x.trace != nil && x.trace.Got1xxResponse != nil {
		err = x.trace.Got1xxResponse(code, textproto.MIMEHeader(x.res.Header))
	}
	if to, ok := x.req.Context().Value(InformerKey{}).(Informer); ok && err == nil {
		err = to.Inform(code, x.res.Header)
	}
	x.res = http.Response{}
	return err
}

// begin prepares the body of the final response.
func (x *exchange) begin() error {
	x.res.Request, x.res.TLS = x.req, x.c.tls
	kind, bad := x.frame()
	if bad != "" {
		return &ProtocolError{bad}
	}
	if x.res.StatusCode == http.StatusSwitchingProtocols {
		return x.upgrade()
	}
	if x.out.body != nil {
		x.close = true // a body that was announced but not asked for: we do not send it
	}
	if kind == noBody {
		x.res.Body = http.NoBody
		x.finish(true)
		return nil
	}
	x.kind, x.left = kind, max(x.res.ContentLength, 0)
	if kind := x.res.Header["Content-Type"]; len(kind) == 0 || !strings.HasPrefix(kind[0], "text/event-stream") {
		x.c.patience = x.t.options.BodyIdleTimeout
	}
	x.res.Body = x
	return nil
}

// mayRepeat reports whether a failed request is to be sent again, on a new
// connection: if it can be that the server closed the one it had just before.
func (x *exchange) mayRepeat() bool {
	switch {
	case !x.lost || x.req.Context().Err() != nil:
		return false
	case x.wrote == 0:
		return true // and nothing was read from the body yet
	case !repeatable(x.req):
		return false
	case x.sender == nil:
		return true
	case x.req.GetBody == nil || x.sender.bodyFailed():
		return false
	}
	body, err := x.req.GetBody()
	if err != nil {
		return false
	}
	x.out.body = body
	return true
}

// finish ends the exchange. The connection is kept if the response was read to
// its very end, the request was sent to its end, neither side closes, and
// nothing can interrupt the connection any more.
func (x *exchange) finish(whole bool) {
	if !x.surrender() {
		return
	}
	c := x.c
	detached := x.detach == nil || x.detach()
	keep := whole && detached && !c.interrupted.Load() && !x.close && !x.res.Close && c.r == c.w && x.sent()
	x.t.scratches.Put(c.leave())
	if keep {
		x.t.pool.put(c)
	} else {
		c.close()
	}
}

// surrender reports whether the connection is still the exchange's, which it
// is then no more.
func (x *exchange) surrender() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.finished {
		return false
	}
	x.finished = true
	return true
}

// interrupt makes a read under way fail.
func (x *exchange) interrupt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.finished {
		x.c.interrupt()
	}
}

// sent reports whether the whole request was sent.
func (x *exchange) sent() bool {
	if x.sender == nil {
		return x.writeErr == nil
	}
	return x.sender.finished()
}
