package h1

import (
	"bytes"
	"io"
	"maps"
	"net/http"

	"github.com/sallyport/sallyport/proxy/internal/wire"
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
	// and sixteen for each chunk, as in net/http: single bytes may trickle,
	// but extensions do not make a stream of nothing.
	maxExcess = 16 << 10
)

// readChunks reads chunked data (RFC 9112 section 7.1). Once it has some it
// goes on only as far as it need not wait.
func (x *exchange) readChunks(p []byte) (n int, err error) {
	c := x.c
	for err == nil {
		if n > 0 && !x.chunkReady(n < len(p)) {
			return n, nil
		}
		switch x.chunk {
		case chunkSize:
			err = x.beginChunk()
		case chunkData:
			var m int
			m, err = c.read(p[n:min(int64(len(p)), int64(n)+x.left)])
			n += m
			if x.left -= int64(m); x.left == 0 {
				x.chunk = chunkEnd
			}
		case chunkEnd:
			err = x.endChunk()
		case trailerSection:
			if err = x.readTrailers(); err == nil {
				return n, io.EOF
			}
		}
	}
	return n, unexpected(err)
}

// chunkReady reports whether the next step can be taken without waiting.
func (x *exchange) chunkReady(room bool) bool {
	ahead := x.c.buffered()
	switch x.chunk {
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
func (x *exchange) beginChunk() error {
	line, err := x.chunkLine()
	if err != nil {
		return err
	}
	size, bad := wire.ChunkSize(line)
	if bad != "" {
		return &ProtocolError{bad}
	}
	x.excess += int64(len(line)) + 2 - 16
	x.excess = max(0, x.excess-2*min(size, maxExcess))
	if x.excess > maxExcess {
		return &ProtocolError{chunkOverhead}
	}
	x.left, x.chunk = size, chunkData
	if size == 0 {
		x.chunk = trailerSection
	}
	return nil
}

// chunkLine reads a line that ends in CRLF and returns it without.
func (x *exchange) chunkLine() ([]byte, error) {
	c := x.c
	for {
		ahead := c.buffered()
		i := bytes.IndexByte(ahead[:min(len(ahead), maxChunkLine)], '\n')
		switch {
		case i == 0 || i > 0 && ahead[i-1] != '\r':
			return nil, &ProtocolError{badLineEnd}
		case i > 0:
			c.r += i + 1
			return ahead[:i-1], nil
		case len(ahead) >= maxChunkLine:
			return nil, &ProtocolError{chunkLineTooLong}
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// endChunk reads the CRLF behind a chunk's data.
func (x *exchange) endChunk() error {
	c := x.c
	for c.w-c.r < 2 {
		if c.w > c.r && c.buf[c.r] != '\r' {
			break
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	if ahead := c.buffered(); ahead[0] != '\r' || ahead[1] != '\n' {
		return &ProtocolError{badChunkEnd}
	}
	c.r += 2
	x.chunk = chunkSize
	return nil
}

// readTrailers reads what follows the last chunk (RFC 9112 section 7.1.2) into
// the response's Trailer. Fields that have no business there are dropped.
func (x *exchange) readTrailers() error {
	c := x.c
	n, err := c.readSection(false, maxTrailerBytes, x.t.options.MaxResponseFields, trailersTooLong)
	if err != nil {
		return err
	}
	if len(c.fields) > 0 {
		trailer := c.header(string(c.buf[c.r:c.r+n]), nil)
		maps.DeleteFunc(trailer, func(name string, _ []string) bool { return wire.ForbiddenTrailer(name) })
		if x.res.Trailer == nil && len(trailer) > 0 {
			x.res.Trailer = make(http.Header, len(trailer))
		}
		maps.Copy(x.res.Trailer, trailer)
	}
	c.r += n
	return nil
}
