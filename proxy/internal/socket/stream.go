package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// Direct returns the socket of a connection if system calls on it are all that
// its Read and Write do, else nil.
func Direct(nc net.Conn) syscall.RawConn {
	switch runtime.GOOS {
	case "windows", "plan9", "js", "wasip1":
		return nil
	}
	var raw syscall.RawConn
	var err error
	switch c := nc.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// Stream reads and writes a connection. Like that it may be used by several
// goroutines, obeys the connection's deadlines, ends with its Close, and has
// the same errors.
type Stream struct {
	nc      net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is the state of one direction's callback, which is called with
// nothing but a descriptor. The callback is a field so that handing it over
// allocates nothing.
type transfer struct {
	mu   sync.Mutex
	p    []byte
	n    int // of p
	err  error
	call func(fd uintptr) bool // false: to be called again when the socket is ready
}

// New returns a Stream over a connection, or the connection itself if it is
// not [Direct].
func New(nc net.Conn) io.ReadWriter {
	raw := Direct(nc)
	if raw == nil {
		return nc
	}
	s := &Stream{nc: nc, raw: raw}
	s.in.call, s.out.call = s.in.receive, s.out.send
	return s
}

// Read implements [io.Reader].
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.in.do(p, s.raw.Read)
	if err != nil {
		return n, Failed(s.nc, "read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write implements [io.Writer].
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.out.do(p, s.raw.Write)
	if err != nil {
		return n, Failed(s.nc, "write", err)
	}
	return n, nil
}

// do has the callback called by wait until it is content or the wait ends.
func (t *transfer) do(p []byte, wait func(func(fd uintptr) bool) error) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, nil
	err := wait(t.call)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (t *transfer) receive(fd uintptr) bool {
	t.n, t.err = Receive(fd, t.p)
	return t.err != syscall.EAGAIN
}

func (t *transfer) send(fd uintptr) bool {
	for t.n < len(t.p) {
		n, err := Send(fd, t.p[t.n:])
		t.n += n
		if t.err = err; err != nil {
			return err != syscall.EAGAIN
		}
	}
	return true
}

// Failed makes the error that a connection's own Read or Write would have
// returned, of that of a system call or of a [syscall.RawConn].
func Failed(nc net.Conn, operation string, err error) error {
	if number, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(operation, number)
	} else if raw, ok := errors.AsType[*net.OpError](err); ok {
		err = raw.Err
	}
	at := nc.RemoteAddr()
	return &net.OpError{Op: operation, Net: at.Network(), Source: nc.LocalAddr(), Addr: at, Err: err}
}
