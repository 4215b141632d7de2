package listen

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns how many bytes of a connection the peer has not acknowledged,
// 0 if that cannot be known.
func unsent(c net.Conn) (n int) {
	ask(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n
}

// acknowledged returns how many bytes the peer has acknowledged since the
// connection was made, 0 if that cannot be known.
func acknowledged(c net.Conn) (n uint64) {
	ask(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			n = info.Bytes_acked
		}
		return err
	})
	return n
}

// ask puts a question to the kernel. There is nothing to be done about a
// connection that is gone or is none of TCP.
func ask(c net.Conn, question func(fd int) error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = question(int(fd)) })
	}
}

// openFiles returns how many descriptors the process may have open, 0 if that
// is not known. Go's os package raises the soft limit to the hard one at start.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// setShared lets sockets of the same user be bound beside this one, or not.
func setShared(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
}
