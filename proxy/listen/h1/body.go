package h1

import (
	"bytes"
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

// chunkState is what comes next in a chunked body.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	trailerSection
)

const (
	maxChunkLine    = 256     // size and extensions
	maxTrailerBytes = 4 << 10 // as much as net/http takes, and the read buffer

	// maxExcess is how many bytes of framing may come beyond twice the data
	// and sixteen for each chunk: single bytes may trickle, but extensions do
	// not make a stream of nothing.
	maxExcess = 16 << 10
)

// body is a request's body. Another goroutine than the handler's may read it,
// also while the handler writes, and even after the handler has returned,
// when it gets an error.
type body struct {
	x     *exchange
	kind  bodyKind
	phase atomic.Int32

	mu     sync.Mutex // held while reading
	left   int64      // bytes to come, of the body or the chunk
	chunk  chunkState
	excess int64 // of framing over data in a chunked body
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
	} else if _, ours := errors.AsType[*ProtocolError](err); !ours {
		b.x.context.cancel(errGone) // nobody will take the answer
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

// readChunks reads chunked data (RFC 9112 section 7.1). Once it has some it
// goes on only as far as it need not wait.
func (b *body) readChunks(p []byte) (n int, err error) {
	c := b.x.conn
	for err == nil {
		if n > 0 && !b.ready(n < len(p)) {
			return n, nil
		}
		switch b.chunk {
		case chunkSize:
			err = b.beginChunk()
		case chunkData:
			var m int
			m, err = c.read(p[n:min(int64(len(p)), int64(n)+b.left)])
			n += m
			if b.left -= int64(m); b.left == 0 {
				b.chunk = chunkEnd
			}
		case chunkEnd:
			err = b.endChunk()
		case trailerSection:
			if err = b.readTrailers(); err == nil {
				return n, io.EOF
			}
		}
	}
	return n, unexpected(err)
}

// ready reports whether the next step can be taken without waiting.
func (b *body) ready(room bool) bool {
	ahead := b.x.conn.buffered()
	switch b.chunk {
	case chunkData:
		return room && len(ahead) > 0
	case chunkEnd:
		return len(ahead) >= 2
	case trailerSection:
		return len(ahead) >= 2 && ahead[0] == '\r'
	}
	return bytes.IndexByte(ahead, '\n') >= 0
}

// beginChunk reads a chunk's size, and passes over its extensions.
func (b *body) beginChunk() error {
	line, err := b.chunkLine()
	if err != nil {
		return err
	}
	size, bad := wire.ChunkSize(line)
	if bad != "" {
		return malformed(bad)
	}
	b.excess += int64(len(line)) + 2 - 16
	b.excess = max(0, b.excess-2*min(size, maxExcess))
	if b.excess > maxExcess {
		return errChunkOverhead
	}
	b.left, b.chunk = size, chunkData
	if size == 0 {
		b.chunk = trailerSection
	}
	return nil
}

// chunkLine reads a line that ends in CRLF and returns it without.
func (b *body) chunkLine() ([]byte, error) {
	c := b.x.conn
	for {
		ahead := c.buffered()
		i := bytes.IndexByte(ahead[:min(len(ahead), maxChunkLine)], '\n')
		switch {
		case i == 0 || i > 0 && ahead[i-1] != '\r':
			return nil, errLineEnd
		case i > 0:
			c.r += i + 1
			return ahead[:i-1], nil
		case len(ahead) >= maxChunkLine:
			return nil, errChunkLine
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// endChunk reads the CRLF behind a chunk's data.
func (b *body) endChunk() error {
	c := b.x.conn
	for c.w-c.r < 2 {
		if c.w > c.r && c.buf[c.r] != '\r' {
			return errChunkEnd
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	if ahead := c.buffered(); ahead[0] != '\r' || ahead[1] != '\n' {
		return errChunkEnd
	}
	c.r += 2
	b.chunk = chunkSize
	return nil
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
