package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/proxy/listen/relay"
)

// role is what a socket is for.
type role int

const (
	roleHTTP role = iota
	roleHTTPS
	roleUDP
)

// names are those of sockets that are passed from process to process, as in
// FileDescriptorName= of systemd.
func (r role) String() string { return [...]string{"http", "https", "https-udp"}[r] }

// Passed is a socket that was open before the process began: systemd's, or one
// of the process that this one takes over from. Its name says what it is for:
// http, https, or https-udp for HTTP/3. It is taken for the address of the
// options that it is bound to; one that no address asks for is an error, for
// nobody would answer there.
type Passed struct {
	Name string
	File *os.File // closed when it has been taken over, or on error

	// Address is how the options of the process that opened it name it, "" if
	// it was not one of ours. Then it is known by that, which port 0 needs, and
	// if no address asks for it, it is closed.
	Address string

	// Relay is, of https-udp, by what the process that goes on reading the
	// socket passes on what is for this one; see package relay. Nil is nothing.
	// It is taken over, or closed.
	Relay *os.File
}

// port is a socket that is listened on.
type port struct {
	role    role
	address string // as the options say
	tcp     *net.TCPListener
	udp     *net.UDPConn
	passed  bool // came from outside

	before, after *os.File // of UDP: what packets come or go by; see package relay

	piped *pipe // what serves it, while it is served
}

func openPort(ctx context.Context, as role, address string, tcp net.Addr, shared bool) (*port, error) {
	p := &port{role: as, address: address}
	var err error
	if as == roleUDP {
		p.udp, err = openUDP(ctx, address, tcp, shared)
	} else {
		p.tcp, err = openTCP(ctx, address, shared)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// adopt makes ports of passed sockets. On error it has closed all.
func adopt(passed []Passed) (list []*port, err error) {
	for _, one := range passed {
		p, adoptErr := adoptOne(one)
		_ = one.File.Close()
		if adoptErr != nil {
			shut(&one.Relay)
			err = errors.Join(err, adoptErr)
			continue
		}
		list = append(list, p)
	}
	if err != nil {
		for _, p := range list {
			p.close()
		}
		return nil, err
	}
	return list, nil
}

// PassedError is about a socket that came from outside.
type PassedError struct {
	Name string
	Err  error
	Cure string
}

// Error names the socket and the cause.
func (e *PassedError) Error() string { return fmt.Sprintf("passed socket %q: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *PassedError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *PassedError) Hint() string { return e.Cure }

func adoptOne(one Passed) (*port, error) {
	p := &port{passed: one.Address == "", address: one.Address}
	fail := func(err error, cure string) (*port, error) { return nil, &PassedError{one.Name, err, cure} }
	switch one.Name {
	case "http":
		p.role = roleHTTP
	case "https":
		p.role = roleHTTPS
	case "https-udp":
		p.role = roleUDP
	default:
		return fail(errors.New("its name says nothing"), "FileDescriptorName= of the socket unit is http, https or https-udp")
	}
	if p.role == roleUDP {
		socket, err := net.FilePacketConn(one.File)
		if err != nil {
			return fail(err, "a socket for https-udp has ListenDatagram=")
		}
		udp, ok := socket.(*net.UDPConn)
		if !ok {
			_ = socket.Close()
			return fail(errors.New("it is not one of UDP"), "a socket for https-udp has ListenDatagram= with a port")
		}
		p.udp, p.before = udp, one.Relay
		return p, nil
	}
	l, err := net.FileListener(one.File)
	if err != nil {
		return fail(err, "a socket for "+one.Name+" has ListenStream=, and Accept=no")
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return fail(errors.New("it is not one of TCP"), "a socket for "+one.Name+" has ListenStream= with a port")
	}
	p.tcp = tcp
	return p, nil
}

// unwanted is the error of a passed socket that no address asks for.
func unwanted(p *port) error {
	key := "listen." + p.role.String()
	if p.role == roleUDP {
		key = "listen.https with http3: true"
	}
	return &PassedError{p.role.String(), fmt.Errorf("%s does not have the address %s", key, p.addr()),
		"make the socket units and the configuration name the same addresses"}
}

// serves reports whether the port is the one for an address of the options.
func (p *port) serves(address string, tcp net.Addr) bool {
	if p.address != "" {
		return p.address == address && (tcp == nil || samePort(p.addr(), tcp))
	}
	// A passed one: it is known by what it is bound to.
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	bound, err := netip.ParseAddrPort(p.addr().String())
	if err != nil || service != fmt.Sprint(bound.Port()) {
		return false
	}
	wanted, err := netip.ParseAddr(host)
	if host == "" || err == nil && wanted.IsUnspecified() {
		return bound.Addr().IsUnspecified()
	}
	return err == nil && bound.Addr().Unmap() == wanted.Unmap()
}

func samePort(a, b net.Addr) bool {
	_, one, _ := net.SplitHostPort(a.String())
	_, other, _ := net.SplitHostPort(b.String())
	return one == other
}

func (p *port) addr() net.Addr {
	if p.tcp != nil {
		return p.tcp.Addr()
	}
	return p.udp.LocalAddr()
}

func (p *port) close() {
	if p.tcp != nil {
		_ = p.tcp.Close()
		return
	}
	shut(&p.before)
	shut(&p.after)
	_ = p.udp.Close()
}

// shut closes a file that may not be there.
func shut(file **os.File) {
	if *file != nil {
		_ = (*file).Close()
		*file = nil
	}
}

// next returns the port for another process.
func (p *port) next() (Passed, error) {
	file, err := p.file()
	if err != nil {
		return Passed{}, err
	}
	passed := Passed{Name: p.role.String(), File: file, Address: p.address}
	if p.role == roleUDP {
		shut(&p.after)
		if p.after, passed.Relay, err = relay.Pair(); err != nil {
			_ = file.Close()
			return Passed{}, err
		}
	}
	return passed, nil
}

// file returns a duplicate of the socket, for another process.
func (p *port) file() (*os.File, error) {
	if p.tcp != nil {
		return duplicate(p.tcp)
	}
	return duplicate(p.udp)
}

// duplicate does what a File method of package net does, except that handing the
// file to another process does not make our own socket block: the two share that.
func duplicate(socket syscall.Conn) (*os.File, error) {
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

// again returns a port on the same socket, to be served anew: closing either
// leaves the other.
func (p *port) again() (*port, error) {
	file, err := p.file()
	if err != nil {
		return nil, err
	}
	next, err := adoptOne(Passed{Name: p.role.String(), File: file, Address: p.address})
	_ = file.Close()
	if err != nil {
		return nil, err
	}
	next.address, next.passed = p.address, p.passed
	return next, nil
}

// share allows, or forbids, sockets of this user beside it on its port.
func (p *port) share(on bool) error {
	var raw syscall.RawConn
	var err error
	if p.tcp != nil {
		raw, err = p.tcp.SyscallConn()
	} else {
		raw, err = p.udp.SyscallConn()
	}
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = setShared(int(fd), on) }); err != nil {
		return err
	}
	return result
}

// control is for a socket before it is bound.
func control(shared bool) func(string, string, syscall.RawConn) error {
	if !shared {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) error {
		var result error
		if err := raw.Control(func(fd uintptr) { result = setShared(int(fd), true) }); err != nil {
			return err
		}
		return result
	}
}
