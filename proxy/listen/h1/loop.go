package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/internal/socket"
	"github.com/sallyport/sallyport/proxy/internal/tlsmemory"
)

const (
	// lingerTime bounds how long the rest of what a client sends is awaited
	// and thrown away, so that it gets to read the answer before the
	// connection goes (RFC 9112 section 9.6).
	lingerTime = 5 * time.Second

	// lastRequest bounds the wait for a request after an answer that did not
	// say that it was the last, when the server is being shut down.
	lastRequest = time.Second

	// lastWords bounds the writing of an answer to a malformed request.
	lastWords = 5 * time.Second
)

// serve serves requests until the connection ends.
func (c *conn) serve() {
	settled := false
	defer func() {
		c.forget()
		if !settled { // a handler has ended the goroutine
			_ = c.raw().Close()
		}
	}()
	settled = c.requests()
}

// requests does that, and closes or hands over the connection.
func (c *conn) requests() bool {
	for c.await() {
		x, err := c.readRequest()
		if err != nil {
			c.refuse(err)
			return true
		}
		if x.context.began = c.began; c.fills > 1 || x.body.kind != noBody {
			// The head took its time; or it may have, even if all but its first
			// byte came at once, and a body may have to come within a time of
			// its own from here on.
			x.context.began = time.Now()
		}
		c.limitRead(time.Time{})    // that was for the head; a body has limits of its own
		c.observe(http.StateActive) // not before: half a request has no claim to be spared
		switch c.handle(x) {
		case keep:
			continue
		case linger:
			c.linger()
		case end:
			_ = c.nc.Close()
		case abort:
			c.cut(x.mode == untilClose)
		case hijacked:
		}
		return true
	}
	if !c.tired {
		_ = c.nc.Close()
	}
	return true
}

// forget takes back what the connection may still have.
func (c *conn) forget() {
	c.stopTimer()
	if c.scratch != nil {
		c.r, c.w = 0, 0
		c.release()
	}
}

// await waits for the first byte of a request, with no buffer at hand. It
// reports false when there will be none, or, if the connection is tired, when
// another goroutine should go on waiting.
func (c *conn) await() bool {
	if c.scratch == nil || c.r == c.w {
		c.release()
		if !c.ahead && !c.rest() {
			return false
		}
	}
	c.open()
	c.began, c.fills = time.Now(), 0
	if limit := c.server.options.HeaderTimeout; limit > 0 {
		c.limitRead(c.began.Add(limit))
	} else {
		c.limitRead(time.Time{})
	}
	return true
}

// after returns the end of a limit that begins now, or zero for none.
func after(limit time.Duration) time.Time {
	if limit <= 0 {
		return time.Time{}
	}
	return time.Now().Add(limit)
}

// wakefulness is how long a connection waits for its next request on the
// goroutine that served the last one. After that a new one waits, for the socket
// itself, whose stack is as small as that needs it: a stack that grew with a
// handler shrinks only when garbage is collected, and idle servers make none.
// What crypto/tls keeps of its records goes too. The sooner, the more goroutines
// have small stacks when Go decides by the average what new ones get.
const wakefulness = 200 * time.Millisecond

// rest reads the first byte. One byte is enough to wait with, and over TLS the
// others of its record cost no system call.
func (c *conn) rest() bool {
	switch {
	case c.tired:
		c.tired = false
		_ = c.limitReadNow(c.patience)
		socket.Await(c.nc)
	case !c.used:
		c.used = true
		c.limitRead(after(c.server.options.HeaderTimeout))
	default:
		c.state.Store(resting)
		limit := c.server.options.IdleTimeout
		if c.server.ending.Load() && (limit <= 0 || limit > lastRequest) {
			// The answer before did not say that it was the last, so a request
			// may be on its way.
			limit = lastRequest
		}
		c.observe(http.StateIdle)
		now := time.Now()
		if c.patience = (time.Time{}); limit > 0 {
			c.patience = now.Add(limit)
		}
		soon := now.Add(wakefulness)
		if c.tired = c.patience.IsZero() || soon.Before(c.patience); !c.tired {
			soon = c.patience
		}
		c.limitRead(soon)
	}
	n, err := c.readSome(c.first[:])
	if n == 0 {
		if c.tired = c.tired && isDeadline(err); c.tired {
			if secure, ok := c.nc.(*tls.Conn); ok {
				tlsmemory.Release(secure)
			}
		}
		return false
	}
	c.tired = false
	c.ahead = true
	return c.state.CompareAndSwap(resting, working)
}

// refuse answers a request that could not be read, and ends the connection.
// Silence, or a connection that broke, is not answered.
func (c *conn) refuse(err error) {
	broken, ok := errors.AsType[*ProtocolError](err)
	if !ok && isDeadline(err) {
		broken, ok = errTimeout, true
	}
	if !ok {
		_ = c.raw().Close()
		return
	}
	text := strconv.Itoa(broken.Status) + " " + http.StatusText(broken.Status)
	body := text + ": " + broken.Reason + "\n"
	b := append(make([]byte, 0, 512), "HTTP/1.1 "...)
	b = append(b, text...)
	b = append(b, "\r\n"...)
	b = append(b, c.server.dateLine(time.Now())...)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, body...)
	_ = c.setWriteDeadline(time.Now().Add(lastWords))
	err = c.write(b)
	if f := c.server.options.Refused; f != nil {
		f(c.nc, broken) // not behind the lingering, which takes as long as the client likes
	}
	if err != nil {
		_ = c.raw().Close()
		return
	}
	c.linger()
}

// linger says that nothing more will come, waits for the client to see it, and
// closes. Closing at once while there is something unread would reset the
// connection, and the client might lose the answer. Over TLS what still comes
// is not even decrypted.
func (c *conn) linger() {
	raw := c.raw()
	defer raw.Close()
	c.forget()
	_ = raw.SetDeadline(time.Now().Add(lingerTime))
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	if half, ok := raw.(interface{ CloseWrite() error }); !ok || raw != c.nc && half.CloseWrite() != nil {
		return
	}
	waste := c.server.ins.Get().(*scratch)
	defer c.server.ins.Put(waste)
	for {
		if _, err := raw.Read(waste.fixed[:]); err != nil {
			return
		}
	}
}

// cut closes the connection without a word, by a reset if its end would
// otherwise be taken for that of a body (RFC 9112 section 8).
func (c *conn) cut(reset bool) {
	raw := c.raw()
	if socket, ok := raw.(interface{ SetLinger(int) error }); ok && reset {
		_ = socket.SetLinger(0)
	}
	_ = raw.Close()
}

// What becomes of a connection after a request.
type fate uint8

const (
	keep     fate = iota
	hijacked      // it is somebody else's
	linger        // end it; the client may still be sending
	end
	abort // cut it
)

// handle has the handler answer one request.
func (c *conn) handle(x *exchange) fate {
	if x.body.kind == noBody {
		c.release()
	}
	c.beginWatch(x)
	completed := c.call(x)
	x.body.end()
	c.endWatch()
	if x.hijacked {
		return hijacked
	}
	f := x.finish(completed)
	x.leave()
	x.context.cancel(context.Canceled)
	c.disownDeadlines()
	switch {
	case c.broken.Load():
		return abort
	case f == keep && c.ended.Load():
		return end
	}
	return f
}

// call calls the handler and reports whether it returned.
func (c *conn) call(x *exchange) (completed bool) {
	defer func() {
		if completed {
			return
		}
		// Also after runtime.Goexit, which is nothing to survive either.
		if value := recover(); value != nil {
			if err, ok := value.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				c.server.options.Logger.Error("panic in a request handler", zap.Any("value", value),
					zap.String("client", c.remote), zap.ByteString("stack", debug.Stack()))
			}
		}
	}()
	c.server.options.Handler.ServeHTTP(&x.response, &x.request)
	return true
}
