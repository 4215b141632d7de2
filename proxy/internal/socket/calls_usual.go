//go:build unix && (!linux || !(amd64 || arm64) || race)

package socket

import "syscall"

// Receive reads once what has arrived at a socket: syscall.EAGAIN if that is
// nothing, 0 at the end of the stream.
func Receive(fd uintptr, p []byte) (int, error) { return move(syscall.Read, fd, p) }

// Send writes once what the socket has room for: syscall.EAGAIN if that is
// nothing.
func Send(fd uintptr, p []byte) (int, error) { return move(syscall.Write, fd, p) }

// move repeats what a signal has interrupted.
func move(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := call(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
