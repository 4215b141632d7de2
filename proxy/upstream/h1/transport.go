package h1

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options shapes a [Transport].
type Options struct {
	// Dial connects to the server; for TLS it also shakes hands. Its errors
	// are returned as they are. Required.
	//
	// A connection whose SyscallConn method, or that of what its NetConn
	// method returns, gives a socket is tested before it is used again;
	// CloseWrite, if there is one, serves upgraded connections.
	Dial func(ctx context.Context) (net.Conn, error)

	// Usable reports whether an unused connection may carry another request;
	// if not it is closed. It is called before each use and must not block.
	// Nil: it may.
	Usable func(net.Conn) bool

	// MaxIdle is how many unused connections are kept. Zero is 64; negative
	// keeps none.
	MaxIdle int

	// IdleTimeout bounds how long an unused connection is kept. Zero or
	// negative is no limit.
	IdleTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for the head of the final
	// response, counted from the end of the request. Zero or negative is no
	// limit.
	ResponseHeaderTimeout time.Duration

	// BodyIdleTimeout bounds how long the server may stand still in the middle
	// of a body: send no more of a response that is being read, or take no
	// more of a request. It does not apply to upgraded connections, nor to the
	// sending of events (text/event-stream). Zero or negative is no limit.
	BodyIdleTimeout time.Duration

	// ExpectContinueTimeout is how long a body announced with Expect:
	// 100-continue waits for the server's word before it is sent regardless
	// (RFC 9110 section 10.1.1). Zero or negative sends it at once.
	ExpectContinueTimeout time.Duration

	// MaxResponseHeaderBytes bounds the head of a response, from the status
	// line to the empty line, and that of each informational one. Zero or
	// negative is 64 KiB.
	MaxResponseHeaderBytes int

	// MaxResponseFields bounds how many field lines a head has. Zero or
	// negative is 256.
	MaxResponseFields int

	// RequestBuffer is up to which Content-Length a request's body is waited
	// for before anything is sent. Such a request leaves in one piece, needs
	// no goroutine, does not occupy the server while a slow client sends it,
	// and can be sent again; but the server cannot answer before the client
	// has sent all. It does not apply to Expect: 100-continue. Zero or
	// negative waits for none.
	//
	// A body of up to 16 KiB that is there already is always treated so: one
	// with a GetBody, or with a method Buffered() int that says how many
	// bytes can be read without waiting.
	RequestBuffer int
}

const (
	defaultMaxIdle     = 64
	defaultHeaderBytes = 64 << 10
	defaultFields      = 256
)

// Transport sends requests to one server. It is safe for concurrent use and
// starts no goroutine that outlives an exchange, apart from the one that
// closes idle connections when their time is over.
type Transport struct {
	options   Options
	pool      pool
	outgoings sync.Pool // of *outgoing
	scratches sync.Pool // of *scratch
	copies    sync.Pool // of *[copySize]byte
	exchanges sync.Pool // of *exchange, empty
}

// copySize is the size of the pieces in which large bodies are copied.
const copySize = 32 << 10

// New prepares a Transport. It connects to nothing and starts nothing.
func New(o Options) *Transport {
	if o.MaxIdle == 0 {
		o.MaxIdle = defaultMaxIdle
	}
	if o.MaxResponseHeaderBytes <= 0 {
		o.MaxResponseHeaderBytes = defaultHeaderBytes
	}
	if o.MaxResponseFields <= 0 {
		o.MaxResponseFields = defaultFields
	}
	t := &Transport{options: o}
	t.pool.began = time.Now()
	t.pool.max, t.pool.timeout, t.pool.usable = max(o.MaxIdle, 0), o.IdleTimeout, o.Usable
	t.outgoings.New = func() any { return new(outgoing) }
	t.scratches.New = func() any { return new(scratch) }
	t.exchanges.New = func() any { return new(exchange) }
	t.copies.New = func() any { return new([copySize]byte) }
	return t
}

// Informer is told of informational responses (RFC 9110 section 15.2), 100
// Continue included, before RoundTrip returns and on its goroutine. An error
// ends the exchange. It is what the request's context returns for InformerKey;
// a hook of httptrace would cost every request three allocations.
type Informer interface {
	Inform(status int, header http.Header) error
}

// InformerKey is the key of a context under which an [Informer] is looked for.
type InformerKey struct{}

// Recycler is what bodies of responses are that a caller may give back.
type Recycler interface {
	// Recycle takes back the response whose body this is, so that the next one
	// need not be made anew, and reports whether it has. That takes a response
	// that was read to its end and closed, over a connection that was kept
	// before, to a request whose body, if any, was sent with its head, and whose
	// context never ends or has an AfterFunc method (for others, package context
	// may have a goroutine that looks at them a little later): then nobody else has seen the request or its context, and those are the
	// caller's again too. Neither response nor body may be used afterwards; the
	// header and its values stay as they are.
	Recycle() bool
}

// RoundTrip sends a request and returns the head of its response, as
// [http.RoundTripper] says. Of req.URL only the path and query matter, and the
// host if req.Host is empty. Fields are sent as they are given; none is
// invented besides those that frame the message (RFC 9112 section 6) and
// Connection: close. CONNECT is refused.
//
// The body is closed in any case, perhaps after RoundTrip has returned, even
// with an error: until then it may still be read from.
//
// When the server turns out to have closed a kept connection, the request is
// sent once more on a new one, provided that none of it was sent, or its
// method is safe (RFC 9110 section 9.2.1) or it has an Idempotency-Key, and its
// body is still at hand.
//
// Errors are [*RequestError], [*ProtocolError], [*TimeoutError], [*UnsentError],
// [ErrServerClosed], what Dial, the request's body or the connection returned,
// or [context.Cause] once the request's context is done.
//
// Of the hooks in [httptrace.ClientTrace], GotConn, GotFirstResponseByte,
// Got100Continue and Got1xxResponse are called, all before RoundTrip returns
// and on its goroutine.
//
// The response's Body implements [io.WriterTo] and [Recycler]. After a 101 (RFC 9110 section
// 7.8) it is an [io.ReadWriteCloser] with a CloseWrite method, no longer bound
// to the request's context.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	out := t.outgoings.Get().(*outgoing)
	defer t.recycle(out)
	if req.Body != nil && req.Body != http.NoBody {
		out.body = req.Body
	}
	if err := out.prepare(req, t.pool.isClosed()); err != nil {
		return nil, err
	}
	if err := out.buffer(req, t.options.RequestBuffer); err != nil {
		return nil, err
	}
	for fresh := false; ; {
		c, err := t.connect(req.Context(), fresh, out.body == nil)
		if err != nil {
			return nil, err
		}
		x := t.exchanges.Get().(*exchange)
		x.t, x.req, x.out = t, req, out
		if err = x.attempt(c); err == nil {
			return &x.res, nil
		}
		if x.stale {
			continue // nothing has happened yet
		}
		if fresh = true; !x.mayRepeat() {
			return nil, err
		}
	}
}

// connect returns an idle connection or a new one. For a request that will be
// asked with (whole), the idle connection may be one that nobody has looked at.
func (t *Transport) connect(ctx context.Context, fresh, whole bool) (*conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !fresh {
		if c := t.pool.take(whole); c != nil {
			return c, nil
		}
	}
	nc, err := t.options.Dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return newConn(nc), nil
}

// recycle ends the use of a request's buffer. A body that was not handed over
// to a sender is closed here.
func (t *Transport) recycle(out *outgoing) {
	if out.body != nil {
		_ = out.body.Close()
	}
	const tooLarge = 64 << 10 // to be worth keeping
	if cap(out.wire) > tooLarge {
		return
	}
	*out = outgoing{wire: out.wire[:0]}
	t.outgoings.Put(out)
}

// Close closes idle connections and keeps none from now on. Exchanges under
// way finish, and new ones still work, each on a connection of its own.
func (t *Transport) Close() { t.pool.close() }

// Reopen takes a Close back: connections are kept again.
func (t *Transport) Reopen() { t.pool.reopen() }
