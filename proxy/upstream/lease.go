package upstream

import (
	"errors"
	"io"
)

// leased ties a place at a server to a response's body: it is given back when
// the body is closed. What the body can do besides reading is kept.
func leased(body io.ReadCloser, l *lease) io.ReadCloser {
	b := leasedBody{body, l}
	switch with := body.(type) {
	case io.ReadWriteCloser: // an upgraded connection
		return leasedConn{b, with}
	case io.WriterTo:
		return leasedWriterTo{b, with}
	}
	return b
}

type leasedBody struct {
	io.ReadCloser
	lease *lease
}

func (b leasedBody) Close() error {
	defer b.lease.release()
	return b.ReadCloser.Close()
}

type leasedWriterTo struct {
	leasedBody
	io.WriterTo
}

type leasedConn struct {
	leasedBody
	io.Writer
}

// CloseWrite ends the sending direction, where the connection can.
func (c leasedConn) CloseWrite() error {
	half, ok := c.ReadCloser.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
