package h1

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// upgrade hands the connection over to the caller (RFC 9110 section 7.8). The
// request's context no longer matters to it.
func (x *exchange) upgrade() error {
	c := x.c
	switch {
	case !x.out.upgrade:
		return &ProtocolError{switchNotAsked}
	case len(x.res.Header["Upgrade"]) == 0 || !wire.HasOption(x.res.Header["Connection"], "upgrade"):
		return &ProtocolError{switchUnnamed}
	case x.out.body != nil || !x.sent():
		return &ProtocolError{switchTooEarly}
	}
	if x.detach != nil && !x.detach() {
		return x.req.Context().Err() // which explain says better
	}
	x.res.Body = &upgraded{Conn: c.nc, stream: c.stream, ahead: slices.Clone(c.buffered())}
	x.surrender()
	x.t.scratches.Put(c.leave())
	c.unlimited()
	return nil
}

// upgraded is the Body of a 101 response: the connection, and what was read of
// it already.
type upgraded struct {
	net.Conn
	stream io.ReadWriter // over Conn
	ahead  []byte
}

// Read reads what the server sends in the new protocol.
func (u *upgraded) Read(p []byte) (int, error) {
	if len(u.ahead) > 0 {
		n := copy(p, u.ahead)
		u.ahead = u.ahead[n:]
		return n, nil
	}
	return u.stream.Read(p)
}

// Write sends to the server in the new protocol.
func (u *upgraded) Write(p []byte) (int, error) { return u.stream.Write(p) }

// CloseWrite tells the server that nothing more will be sent.
func (u *upgraded) CloseWrite() error {
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("half-closing a connection: %w", http.ErrNotSupported)
}
