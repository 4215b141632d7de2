package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// longestPath is what fits into a unix socket's address on Linux.
const longestPath = 107

// Error says which socket could not be opened, why, and what to do.
type Error struct {
	Socket string
	Err    error
	Cure   string // may be empty

	// InUse says that a running process answers there.
	InUse bool
}

// Error names the socket and the cause.
func (e *Error) Error() string { return fmt.Sprintf("admin socket %s: %v", e.Socket, e.Err) }

// Hint says what to do, or nothing.
func (e *Error) Hint() string { return e.Cure }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// listen opens the socket with mode 0600. A socket that a dead process left
// behind is replaced; one that answers, or a file that is no socket, is an
// error.
func listen(ctx context.Context, socket string, passed []*os.File) (net.Listener, error) {
	if len(socket) > longestPath {
		return nil, &Error{Socket: socket, Err: fmt.Errorf("the path is longer than %d bytes", longestPath), Cure: "set admin.socket to a shorter path"}
	}
	if l := adopt(passed, socket); l != nil {
		return l, nil
	}
	if err := vacate(ctx, socket); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// The file gets the mode of the socket it is made from, so that there
		// is no moment at which others could connect.
		return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
	}}
	l, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, &Error{Socket: socket, Err: cause(err), Cure: hint(err)}
	}
	if err := os.Chmod(socket, 0o600); err != nil { // where the system does not do the above
		_ = l.Close()
		return nil, &Error{Socket: socket, Err: cause(err)}
	}
	return l, nil
}

// adopt returns the listener among passed sockets that is bound to an address,
// or nil.
func adopt(passed []*os.File, address string) net.Listener {
	for _, file := range passed {
		l, err := net.FileListener(file)
		if err != nil {
			continue
		}
		if l.Addr().String() == address {
			if local, ok := l.(*net.UnixListener); ok {
				local.SetUnlinkOnClose(true) // it is ours to tidy up now
			}
			return l
		}
		_ = l.Close()
	}
	return nil
}

// Files returns duplicates of the sockets, for the process that takes over. The
// caller closes them.
func (s *Server) Files() ([]*os.File, error) {
	var list []*os.File
	for _, l := range append([]net.Listener{s.listener}, s.tcp...) {
		file, err := duplicate(l)
		if err != nil {
			for _, one := range list {
				_ = one.Close()
			}
			return nil, &Error{Socket: l.Addr().String(), Err: cause(err)}
		}
		list = append(list, file)
	}
	return list, nil
}

// duplicate does what a File method of package net does, except that handing the
// file to another process does not make our own socket block: the two share that.
func duplicate(l net.Listener) (*os.File, error) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, result := -1, error(nil)
	err = raw.Control(func(own uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, result = syscall.Dup(int(own)); result == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err = errors.Join(err, result); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// Leave makes the end of Run leave the socket's file where it is: another
// process listens there.
func (s *Server) Leave() {
	if local, ok := s.listener.(*net.UnixListener); ok {
		local.SetUnlinkOnClose(false)
	}
}

// vacate makes way for a new socket.
func vacate(ctx context.Context, socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &Error{Socket: socket, Err: cause(err), Cure: hint(err)}
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &Error{Socket: socket, Err: errors.New("there is a file of that name which is not a socket"), Cure: "set admin.socket to another path"}
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err == nil {
		_ = conn.Close()
		return &Error{Socket: socket, Err: errors.New("a running process listens there"), InUse: true,
			Cure: "another sallyport uses this storage: stop it, or give this one its own storage or admin.socket"}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return &Error{Socket: socket, Err: cause(err), Cure: hint(err)}
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Socket: socket, Err: cause(err), Cure: hint(err)}
	}
	return nil
}

// cause strips what the Error says already.
func cause(err error) error {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}

func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "the directory and the socket must belong to the user that sallyport runs as"
	case errors.Is(err, fs.ErrNotExist):
		return "make the directory first"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: set admin.socket to a path on a writable one, such as a tmpfs on /run"
	}
	return ""
}
