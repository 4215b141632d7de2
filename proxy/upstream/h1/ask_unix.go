//go:build unix

package h1

import (
	"io"
	"syscall"

	"github.com/sallyport/sallyport/proxy/internal/socket"
)

// askAt sends a request that is at hand as a whole on a connection that was
// kept, and reads what comes first of the response. It is called with the
// socket readable or not known to be otherwise, and returns false to be called
// again when something has arrived.
//
// The look at the socket has to come anyway (quiet says why), and so the wait is
// already prepared when the request leaves. A read of its own after the write
// would find nothing nearly always, prepare the wait anew and cost a system
// call in ten.
func (c *conn) askAt(fd uintptr) bool {
	a := &c.asking
	if !a.looked {
		a.looked = true
		if c.lookAt(fd); !c.silence {
			return true
		}
		a.sent, a.err = socket.Send(fd, a.wire)
		// What could not be sent at once is left to whoever can wait for it.
		return a.err != nil || a.sent < len(a.wire)
	}
	a.got, a.err = socket.Receive(fd, c.buf)
	switch {
	case a.err == syscall.EAGAIN:
		a.err = nil
		return false
	case a.err == nil && a.got == 0:
		a.err = io.EOF
	}
	return true
}

// wouldBlock reports whether a system call has to be waited for.
func wouldBlock(err error) bool { return err == syscall.EAGAIN }
