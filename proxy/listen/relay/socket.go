package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// most is the size of what is passed on: a packet, an address and control
// messages. Larger packets than the engine reads there are not.
const most = 2048

// Socket is a UDP socket that may be shared with another process. The engine
// reads and writes it as it would a [net.UDPConn]; one goroutine may read.
type Socket struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	tag   Tag

	from   atomic.Pointer[os.File] // from the process before; nil: it has ended
	to     atomic.Pointer[os.File] // to the process after
	shuns  atomic.Bool             // what is not ours is not heard
	alone  chan struct{}           // closed when from has ended; nil if it never was
	buffer []byte                  // of what is passed on; made when it is needed
}

// New returns the socket of the process whose connection ids have the tag.
func New(udp *net.UDPConn, tag Tag) *Socket {
	return &Socket{UDPConn: udp, batch: ipv4.NewPacketConn(udp), tag: tag}
}

// Follow makes the socket read what the process at the other end of a [Pair]
// passes on, until that ends, and only then what comes in. It owns the file from
// now on. Call it before anything is read.
func (s *Socket) Follow(from *os.File) {
	s.alone = make(chan struct{})
	s.from.Store(from)
}

// Relays returns until when the socket is needed for others: it is read for the
// process after, and what that gets comes from the process before, which would
// go on reading without anybody to pass on to. The channel closes when that has
// ended; nil is for nobody.
func (s *Socket) Relays() <-chan struct{} {
	if s.to.Load() == nil || s.from.Load() == nil {
		return nil
	}
	return s.alone
}

// Divert passes on what is not for connections of this process. It owns the file
// from now on. What the other process does not take in time is lost, as any
// packet may be.
func (s *Socket) Divert(to *os.File) {
	if old := s.to.Swap(to); old != nil {
		_ = old.Close()
	}
}

// Shun makes the socket deaf to what is not for connections of this process, unless
// that is passed on: no connection begins any more, and those that have begun may.
// Clients try again for seconds, and may find another process then.
func (s *Socket) Shun() { s.shuns.Store(true) }

// Release ends the sharing: the process after reads the UDP socket now. Call it
// when nothing is read here any more.
func (s *Socket) Release() {
	if to := s.to.Swap(nil); to != nil {
		_ = to.Close()
	}
	if from := s.from.Load(); from != nil {
		s.leave(from)
	}
}

// leave ends the reading of what the process before passes on.
func (s *Socket) leave(from *os.File) {
	if s.from.CompareAndSwap(from, nil) {
		_ = from.Close()
		close(s.alone)
	}
}

// SetReadDeadline bounds the reading; in the past it ends it.
func (s *Socket) SetReadDeadline(t time.Time) error {
	if from := s.from.Load(); from != nil {
		_ = from.SetReadDeadline(t)
	}
	return s.UDPConn.SetReadDeadline(t)
}

// ReadBatch reads packets, as [ipv4.PacketConn.ReadBatch] does. The engine prefers
// it to the methods of net.UDPConn.
func (s *Socket) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	for {
		n, err := s.read(messages, flags)
		to := s.to.Load()
		if n <= 0 || err != nil || to == nil && !s.shuns.Load() {
			return n, err
		}
		if n = s.keep(messages[:n], to); n > 0 {
			return n, nil
		}
	}
}

func (s *Socket) read(messages []ipv4.Message, flags int) (int, error) {
	from := s.from.Load()
	if from == nil {
		return s.batch.ReadBatch(messages, flags)
	}
	err := s.receive(&messages[0], from)
	switch {
	case err == nil:
		return 1, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, err
	}
	s.leave(from) // it has ended
	return s.batch.ReadBatch(messages, flags)
}

// keep passes on what is not ours, if to is not nil, and returns how many packets
// are left, which are then the first. Contents move, not buffers: the engine knows its buffers by
// their place.
func (s *Socket) keep(messages []ipv4.Message, to *os.File) int {
	n := 0
	for i := range messages {
		m := &messages[i]
		if !s.tag.owns(m.Buffers[0][:m.N]) {
			if to != nil {
				s.send(m, to)
			}
			continue
		}
		if n < i {
			ours := &messages[n]
			ours.N, ours.NN = copy(ours.Buffers[0], m.Buffers[0][:m.N]), copy(ours.OOB, m.OOB[:m.NN])
			ours.Addr, ours.Flags = m.Addr, m.Flags
		}
		n++
	}
	return n
}

// What is passed on is a message: the length of the address, the address, the
// length of the control messages (the kernel's: both processes are on one
// machine), these, and the packet.

func (s *Socket) send(m *ipv4.Message, to *os.File) {
	peer, ok := m.Addr.(*net.UDPAddr)
	if !ok || m.NN > 255 {
		return
	}
	address, err := peer.AddrPort().MarshalBinary()
	if err != nil || len(address) > 255 {
		return
	}
	text := append(s.scratch(), byte(len(address)))
	text = append(append(text, address...), byte(m.NN))
	text = append(append(text, m.OOB[:m.NN]...), m.Buffers[0][:m.N]...)
	_ = post(to, text)
}

func (s *Socket) receive(m *ipv4.Message, from *os.File) error {
	for {
		text := s.scratch()[:most]
		n, err := from.Read(text)
		if err != nil {
			return err
		}
		if address, control, packet, ok := cut(text[:n]); ok {
			m.N, m.NN = copy(m.Buffers[0], packet), copy(m.OOB, control)
			m.Addr, m.Flags = net.UDPAddrFromAddrPort(address), 0
			return nil
		}
	}
}

// cut takes a message apart.
func cut(text []byte) (address netip.AddrPort, control, packet []byte, ok bool) {
	field := func() (value []byte) {
		if ok = ok && len(text) > 0 && len(text) > int(text[0]); ok {
			value, text = text[1:1+int(text[0])], text[1+int(text[0]):]
		}
		return value
	}
	ok = true
	from := field()
	control = field()
	if !ok || address.UnmarshalBinary(from) != nil {
		return address, nil, nil, false
	}
	return address, control, text, len(text) > 0
}

func (s *Socket) scratch() []byte {
	if s.buffer == nil {
		s.buffer = make([]byte, 0, most)
	}
	return s.buffer[:0]
}
