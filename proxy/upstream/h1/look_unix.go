//go:build unix

package h1

import (
	"syscall"

	"github.com/sallyport/sallyport/proxy/internal/socket"
)

// lookAt tries to read one byte without waiting. Losing the byte does no harm:
// a connection that had one is closed.
func (c *conn) lookAt(fd uintptr) bool {
	var b [1]byte
	_, err := socket.Receive(fd, b[:])
	c.silence = err == syscall.EAGAIN
	return true
}
