//go:build linux && (amd64 || arm64) && !race

package socket

import (
	"syscall"
	"unsafe"
)

// Receive reads once what has arrived at a socket: syscall.EAGAIN if that is
// nothing, 0 at the end of the stream.
func Receive(fd uintptr, p []byte) (int, error) {
	return move(syscall.SYS_RECVFROM, fd, p)
}

// Send writes once what the socket has room for: syscall.EAGAIN if that is
// nothing.
func Send(fd uintptr, p []byte) (int, error) {
	return move(syscall.SYS_SENDTO, fd, p)
}

// move repeats what a signal has interrupted.
func move(call, fd uintptr, p []byte) (int, error) {
	for {
		n, _, err := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
