//go:build unix

package h1

import "syscall"

// lookAt tries to read one byte without waiting. Losing the byte does no harm:
// a connection that had one is closed.
func (c *conn) lookAt(fd uintptr) bool {
	var b [1]byte
	for {
		_, err := syscall.Read(int(fd), b[:])
		if err == syscall.EINTR {
			continue
		}
		c.silence = err == syscall.EAGAIN
		return true
	}
}
