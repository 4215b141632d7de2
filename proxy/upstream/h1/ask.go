package h1

import (
	"io"

	"github.com/sallyport/sallyport/proxy/internal/socket"
)

// question is the state of [conn.askAt], which is called back with nothing but
// a descriptor.
type question struct {
	wire   []byte
	looked bool
	sent   int // of wire
	got    int // of the response
	err    error
}

// ask is send, and the first read of receive, in one: on a kept connection and
// for a request without anything left of its body. The connection is stale if it
// turns out not to be silent; then nothing was sent.
func (x *exchange) ask() error {
	c := x.c
	x.limit(x.patience)
	c.asking = question{wire: x.out.wire}
	err := c.rested(func() error { return c.socket.Read(c.ask) })
	a := c.asking
	c.asking = question{}
	x.wrote = a.sent
	switch {
	case err != nil: // the wait has ended
		return socket.Failed(c.nc, "read", err)
	case !c.silence:
		x.stale = true
		return errStale
	case a.got > 0:
		c.w = a.got
		x.begun()
		return nil
	case a.sent == len(a.wire):
		return c.failed("read", a.err)
	case a.err != nil && !wouldBlock(a.err):
		x.writeErr = c.failed("write", a.err)
	default:
		n, err := c.stream.Write(a.wire[a.sent:])
		x.wrote, x.writeErr = x.wrote+n, err
	}
	if x.writeErr != nil {
		if x.wrote == 0 {
			return x.writeErr
		}
		x.limit(lastWords)
		return nil
	}
	x.limit(x.patience)
	return nil
}

// failed makes of a system call's error what the net package does.
func (c *conn) failed(operation string, err error) error {
	if err == io.EOF {
		return err
	}
	return socket.Failed(c.nc, operation, err)
}
