package h1

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// bodyKind is how the end of a request's body is known.
type bodyKind uint8

const (
	noBody bodyKind = iota
	byLength
	byChunks
)

// Phases of a body: who may read from the connection.
const (
	bodyUntouched int32 = iota // nobody does
	bodyBegun                  // the body's Read does
	bodyDone                   // nobody does any more
)

const maxTrailerBytes = 4 << 10 // as much as net/http takes, and the read buffer

// body is a request's body. Another goroutine than the handler's may read it,
// also while the handler writes, and even after the handler has returned,
// when it gets an error.
type body struct {
	x     *exchange
	kind  bodyKind
	phase atomic.Int32

	mu     sync.Mutex // held while reading
	left   int64      // bytes to come of a body with a length
	chunks wire.Chunks
	err    error // what Read says from now on
	closed atomic.Bool
}

// Read reads from the body. A body that ends early is [io.ErrUnexpectedEOF], a
// malformed one a [*ProtocolError]; neither lets the connection be used again.
// A deadline that is over is [os.ErrDeadlineExceeded], after which reading may
// go on. The first Read asks for a body that waits to be asked for (RFC 9110
// section 10.1.1).
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed.Load():
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	c := b.x.conn
	if b.phase.Load() == bodyUntouched {
		c.beginBody(b)
		c.open()
		if err := b.x.welcome(); err != nil {
			return 0, err
		}
	}
	if b.kind == byChunks {
		n, err = b.readChunks(p)
	} else {
		n, err = c.read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			err = io.EOF
		} else {
			err = unexpected(err)
		}
	}
	if err == nil || isDeadline(err) {
		return n, err
	}
	b.err = err
	if err == io.EOF {
		c.limitRead(time.Time{}) // a handler's limit was for the body
		b.phase.Store(bodyDone)
	} else if broken, ours := errors.AsType[*ProtocolError](err); !ours {
		b.x.context.cancel(errGone) // nobody will take the answer
	} else if f := c.server.options.Refused; f != nil {
		f(c.nc, broken)
	}
	return n, err
}

// Buffered returns how many bytes can be read without waiting.
func (b *body) Buffered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.x.conn
	if b.kind != byLength || b.err != nil || b.closed.Load() || c.scratch == nil {
		return 0
	}
	return int(min(int64(c.w-c.r), b.left))
}

// Close ends the use of the body. A Read that waits goes on waiting. What is
// left is not read just to keep the connection.
func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}

// whole reports whether all of the body was read.
func (b *body) whole() bool { return b.kind == noBody || b.phase.Load() == bodyDone }

// quiet reports whether the body's Read is not using the connection.
func (b *body) quiet() bool { return b.kind == noBody || b.phase.Load() != bodyBegun }

// end takes the body away from a reader that has outlived the handler. What is
// there in full is passed over, so that the connection can go on.
func (b *body) end() {
	if b.kind == noBody {
		return
	}
	b.closed.Store(true)
	if !b.mu.TryLock() {
		_ = b.x.conn.limitReadNow(longAgo())
		b.mu.Lock()
		_ = b.x.conn.limitReadNow(time.Time{})
	}
	defer b.mu.Unlock()
	if b.kind != byLength || b.whole() || b.err != nil {
		return
	}
	c := b.x.conn
	b.x.conn.beginBody(b)
	c.open()
	if int64(c.w-c.r) >= b.left {
		c.r += int(b.left)
		b.left, b.err = 0, io.EOF
		b.phase.Store(bodyDone)
	}
}

// ahead is a connection as chunks are read from it.
type ahead conn

func (a *ahead) Buffered() []byte           { return (*conn)(a).buffered() }
func (a *ahead) Skip(n int)                 { a.r += n }
func (a *ahead) Fill() error                { return (*conn)(a).fill() }
func (a *ahead) Read(p []byte) (int, error) { return (*conn)(a).read(p) }

// readChunks reads chunked data (RFC 9112 section 7.1). Once it has some it
// goes on only as far as it need not wait.
func (b *body) readChunks(p []byte) (int, error) {
	n, err := b.chunks.Read((*ahead)(b.x.conn), p, b.readTrailers)
	if fault, broken := errors.AsType[wire.Fault](err); broken {
		err = malformed(string(fault))
	}
	return n, err
}

// readTrailers reads what follows the last chunk (RFC 9112 section 7.1.2) into
// the request's Trailer. Fields that frame messages are an attack, others that
// have no business there are left out.
func (b *body) readTrailers() error {
	c := b.x.conn
	n, err := c.readFields(0, maxTrailerBytes, errTrailersLong)
	if err != nil {
		return err
	}
	if len(c.fields) > 0 {
		text := string(c.buf[c.r : c.r+n])
		for _, at := range c.fields {
			name := text[at.Name:at.NameEnd]
			if framesMessages(name) {
				return errTrailerName
			}
			if unsafeTrailer(name) {
				continue
			}
			if b.x.request.Trailer == nil {
				b.x.request.Trailer = make(http.Header, len(c.fields))
			}
			b.x.request.Trailer[name] = append(b.x.request.Trailer[name], text[at.Value:at.ValueEnd])
		}
	}
	c.r += n
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
