package socket

import (
	"crypto/tls"
	"net"
	"syscall"
)

// Await waits until there is something to read from the socket of a connection,
// below TLS as the case may be, or until its read deadline or Close: which of
// them is for the next read to say. It takes nothing, and the wait fits on the
// smallest stack that a goroutine can have, which a wait within crypto/tls does
// not. Nothing may be buffered above the socket: the read before has failed for
// want of time.
//
// It reports false, at once, if there is no socket to wait for.
func Await(nc net.Conn) bool {
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	looked := false
	_ = raw.Read(func(fd uintptr) bool {
		if looked {
			return true
		}
		looked = true
		return readable(fd)
	})
	return true
}
