package relay

import (
	"os"

	"golang.org/x/sys/unix"
)

// pairBuffer is asked for as the room for packets that the new process has not
// read yet, in bytes. Without the right to, the kernel gives what anybody gets.
const pairBuffer = 4 << 20

// Pair returns the two ends of what packets are passed on by: near for
// [Socket.Divert], far for the process that is to follow.
func Pair() (near, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, pairBuffer) != nil {
		_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, pairBuffer)
	}
	return os.NewFile(uintptr(fds[0]), "relay"), os.NewFile(uintptr(fds[1]), "relay"), nil
}

// post writes a message at once or not at all.
func post(to *os.File, text []byte) error {
	raw, err := to.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		result = unix.Send(int(fd), text, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true // full is no reason to wait
	})
	if err != nil {
		return err
	}
	return result
}
