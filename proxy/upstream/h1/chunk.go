package h1

import (
	"errors"
	"maps"
	"net/http"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

const maxTrailerBytes = 4 << 10 // as much as net/http takes, and the read buffer

// ahead is a connection as chunks are read from it.
type ahead conn

func (a *ahead) Buffered() []byte           { return (*conn)(a).buffered() }
func (a *ahead) Skip(n int)                 { a.r += n }
func (a *ahead) Fill() error                { return (*conn)(a).fill() }
func (a *ahead) Read(p []byte) (int, error) { return (*conn)(a).read(p) }

// readChunks reads chunked data (RFC 9112 section 7.1). Once it has some it
// goes on only as far as it need not wait.
func (x *exchange) readChunks(p []byte) (int, error) {
	n, err := x.chunks.Read((*ahead)(x.c), p, x.readTrailers)
	if fault, broken := errors.AsType[wire.Fault](err); broken {
		err = &ProtocolError{string(fault)}
	}
	return n, err
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
		trailer := c.header(string(c.buf[c.r : c.r+n]))
		maps.DeleteFunc(trailer, func(name string, _ []string) bool { return wire.ForbiddenTrailer(name) })
		if x.res.Trailer == nil && len(trailer) > 0 {
			x.res.Trailer = make(http.Header, len(trailer))
		}
		maps.Copy(x.res.Trailer, trailer)
	}
	c.r += n
	return nil
}
