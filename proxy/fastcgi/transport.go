package fastcgi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// Options shapes a [Transport].
type Options struct {
	// Server is "unix:/path" or "host:port".
	Server string

	// ConnectTimeout bounds connecting. Zero or negative is no limit.
	ConnectTimeout time.Duration

	// Timeout bounds how long the server may be silent: after the request has
	// been sent, and in the middle of its answer; and how long it may take no
	// more of the request. Zero or negative is no limit.
	Timeout time.Duration

	// HeadBytes bounds the head of an answer. Zero or negative is 64 KiB.
	HeadBytes int

	// Env are variables that are set besides the usual ones, or instead of
	// them, as names and values.
	Env [][2]string

	// Stderr is told what a script complains of, at most 4 KiB of it, when its
	// answer has ended. Nil drops it.
	Stderr func(r *http.Request, script, text string)
}

const (
	defaultHeadBytes = 64 << 10
	mostStderr       = 4 << 10
	bufferSize       = 16 << 10
)

// Failures that are the FastCGI server's, or the client's.
var (
	errMalformed  = &exchange.Refusal{Status: http.StatusBadGateway, Label: "upstream_malformed", Reason: "the server's answer is not FastCGI", Hint: "php.server must lead to PHP-FPM (its listen setting), not to a web server"}
	errHead       = &exchange.Refusal{Status: http.StatusBadGateway, Label: "upstream_malformed", Reason: "the script's header is malformed", Hint: "the script's own log should say more"}
	errOverloaded = &exchange.Refusal{Status: http.StatusServiceUnavailable, Label: "upstream_overloaded", Reason: "the FastCGI server has no process left", Hint: "raise pm.max_children of the PHP-FPM pool"}
	errRole       = &exchange.Refusal{Status: http.StatusBadGateway, Label: "upstream_malformed", Reason: "the FastCGI server refuses to be a responder"}
	errLength     = &exchange.Refusal{Status: http.StatusLengthRequired, Label: "length_required", Reason: "a request for a script needs a Content-Length", Hint: "buffer_request: true lets clients leave it out"}
	errNoScript   = errors.New("the request names no script")
)

// Transport sends requests to one FastCGI server. It may be used by many
// goroutines.
type Transport struct {
	options Options
	network string
	address string
	buffers sync.Pool // of *bufio.Reader
	pieces  sync.Pool // of *[headerLength + pieceSize]byte
}

// New prepares a Transport. It connects to nothing and starts nothing.
func New(o Options) *Transport {
	if o.HeadBytes <= 0 {
		o.HeadBytes = defaultHeadBytes
	}
	t := &Transport{options: o, network: "tcp", address: o.Server}
	if path, ok := strings.CutPrefix(o.Server, "unix:"); ok {
		t.network, t.address = "unix", path
	}
	return t
}

// RoundTrip sends a request for the script that [WithScript] named and returns
// its answer, as [http.RoundTripper] says. Upgrade is ignored, as RFC 9110
// section 7.8 allows. A body needs a ContentLength. Errors are
// [*upstream.Error] and [*exchange.Refusal].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body == http.NoBody {
		body = nil
	}
	script, ok := req.Context().Value(scriptKey{}).(*Script)
	var err error
	switch {
	case !ok:
		err = errNoScript
	case body != nil && req.ContentLength <= 0:
		err = errLength
	}
	if err != nil {
		closeBody(body)
		return nil, err
	}
	conn, err := t.dial(req.Context())
	if err != nil {
		closeBody(body)
		return nil, err
	}
	c := &call{transport: t, conn: conn, req: req, script: script, body: body}
	c.stop = context.AfterFunc(req.Context(), func() { _ = conn.Close() })
	res, err := c.begin()
	if err != nil {
		c.finish()
		return nil, t.staged(req.Context(), err)
	}
	return res, nil
}

func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	dialing := ctx
	if t.options.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		dialing, cancel = context.WithTimeout(ctx, t.options.ConnectTimeout)
		defer cancel()
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(dialing, t.network, t.address)
	if err != nil {
		return nil, &upstream.Error{Server: t.options.Server, Stage: upstream.Connect, Err: err}
	}
	return conn, nil
}

// staged says in what an error happened, unless it says so itself.
func (t *Transport) staged(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx) // rather than "use of closed network connection"
	}
	if _, ok := errors.AsType[*exchange.Refusal](err); ok {
		return fmt.Errorf("server %s: %w", t.options.Server, err)
	}
	return &upstream.Error{Server: t.options.Server, Stage: upstream.Exchange, Err: err}
}

func closeBody(body io.Closer) {
	if body != nil {
		_ = body.Close()
	}
}

// call is one request and its answer.
type call struct {
	transport *Transport
	conn      net.Conn
	req       *http.Request
	script    *Script
	body      io.ReadCloser // nil if there is none
	stop      func() bool

	writing sync.Mutex  // held while writing to conn
	sent    atomic.Bool // the request has been sent to its end

	in     records
	ended  bool // the server has said so
	whole  bool // the answer has been read to its announced end
	stderr []byte
	once   sync.Once
}

// begin sends the request, its body on a goroutine of its own, and reads the
// head of the answer.
func (c *call) begin() (*http.Response, error) {
	t := c.transport
	message := appendBegin(make([]byte, 0, 4<<10))
	params := appendParams(make([]byte, 0, 3<<10), c.req, c.script, t.options.Env)
	message = appendHeader(appendStream(message, typeParams, params), typeParams, 0)
	if c.body == nil {
		message = appendHeader(message, typeStdin, 0)
		c.sent.Store(true)
	}
	if err := c.write(message); err != nil {
		closeBody(c.body)
		return nil, err
	}
	if c.body != nil {
		go c.sendBody() // ends with the connection or the body, whichever is first
	}
	c.in.in, _ = t.buffers.Get().(*bufio.Reader)
	if c.in.in == nil {
		c.in.in = bufio.NewReaderSize(nil, bufferSize)
	}
	c.in.in.Reset(c.conn)
	head, rest, err := c.readHead()
	if err != nil {
		return nil, err
	}
	return c.response(head, rest)
}

func (c *call) write(p []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if limit := c.transport.options.Timeout; limit > 0 {
		_ = c.conn.SetWriteDeadline(time.Now().Add(limit))
	}
	_, err := c.conn.Write(p)
	return err
}

// pieceSize is how much of a request's body is sent at a time.
const pieceSize = 32 << 10

// sendBody sends the request's body. If the client breaks it off the
// connection is closed, so that nobody takes what came for the whole; if the
// server wants no more, it may still answer.
func (c *call) sendBody() {
	defer c.body.Close()
	piece, _ := c.transport.pieces.Get().(*[headerLength + pieceSize]byte)
	if piece == nil {
		piece = new([headerLength + pieceSize]byte)
	}
	defer c.transport.pieces.Put(piece)
	left := c.req.ContentLength
	for left > 0 {
		n, err := c.body.Read(piece[headerLength:][:min(pieceSize, left)])
		left -= int64(n)
		if n > 0 {
			appendHeader(piece[:0], typeStdin, n)
			if c.write(piece[:headerLength+n]) != nil {
				break
			}
		}
		if err != nil && left > 0 {
			_ = c.conn.Close()
			return
		}
	}
	if left == 0 {
		_, _ = c.body.Read(piece[:1]) // its end, which says that the client's body is whole
		_ = c.write(appendHeader(nil, typeStdin, 0))
	}
	c.sent.Store(true)
	c.patience()
}

// patience gives the server its time, once it has the whole request: a client
// may take long to send it.
func (c *call) patience() {
	if limit := c.transport.options.Timeout; limit > 0 && c.sent.Load() {
		_ = c.conn.SetReadDeadline(time.Now().Add(limit))
	}
}

// stdout reads the script's output. At its end the error is io.EOF, and only
// then.
func (c *call) stdout(p []byte) (int, error) {
	for !c.ended {
		c.patience()
		if c.in.kind == typeStdout && c.in.left > 0 {
			return c.in.read(p)
		}
		if err := c.in.next(); err != nil {
			return 0, err
		}
		switch c.in.kind {
		case typeStderr:
			if err := c.complaint(); err != nil {
				return 0, err
			}
		case typeEnd:
			if err := c.readEnd(); err != nil {
				return 0, err
			}
		}
	}
	return 0, io.EOF
}

// complaint keeps what a script writes to standard error, up to a limit.
func (c *call) complaint() error {
	for c.in.left > 0 && len(c.stderr) < mostStderr {
		var buffer [512]byte
		n, err := c.in.read(buffer[:min(len(buffer), mostStderr-len(c.stderr))])
		c.stderr = append(c.stderr, buffer[:n]...)
		if err != nil {
			return err
		}
	}
	return nil
}

// readEnd reads how the request ended (section 5.5). A script's exit code tells
// nothing that its answer does not.
func (c *call) readEnd() error {
	var end [8]byte
	if c.in.left != len(end) {
		return fmt.Errorf("%w: its end has %d bytes", errMalformed, c.in.left)
	}
	if _, err := io.ReadFull(c.in.in, end[:]); err != nil {
		return unexpected(err)
	}
	c.in.left = 0
	c.ended = true
	switch end[4] {
	case 0:
		return nil
	case 2:
		return errOverloaded
	}
	return errRole
}

// finish ends the exchange. A server that is not done is told to stop, if that
// is possible without waiting.
func (c *call) finish() {
	c.once.Do(func() {
		c.stop()
		if !c.ended && !c.whole && c.writing.TryLock() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(abortTime))
			_, _ = c.conn.Write(appendHeader(nil, typeAbort, 0))
			c.writing.Unlock()
		}
		_ = c.conn.Close()
		if c.in.in != nil {
			c.in.in.Reset(nil)
			c.transport.buffers.Put(c.in.in)
			c.in.in, c.ended = nil, true
		}
		if text := strings.TrimSpace(string(c.stderr)); text != "" && c.transport.options.Stderr != nil {
			c.transport.options.Stderr(c.req, c.script.Name, text)
		}
	})
}

// abortTime is how long writing the record that tells a server to stop may
// take: it fits into the socket's buffer, or is not worth waiting for.
const abortTime = 10 * time.Millisecond
