package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// server is one of two that share a socket. It answers each stream with its name
// and what it was sent.
type server struct {
	socket    *Socket
	transport *quic.Transport
	listener  *quic.Listener
}

func serve(t *testing.T, udp *net.UDPConn, name string, from *os.File) *server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}, NextProtos: []string{"test"}}
	tag := NewTag()
	s := &server{socket: New(udp, tag)}
	if from != nil {
		s.socket.Follow(from)
	}
	s.transport = &quic.Transport{Conn: s.socket, ConnectionIDGenerator: tag}
	if s.listener, err = s.transport.Listen(config, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end() })
	go func() {
		for {
			c, err := s.listener.Accept(context.Background())
			if err != nil {
				return
			}
			go answer(c, name)
		}
	}()
	return s
}

func answer(c *quic.Conn, name string) {
	for {
		stream, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			text, _ := io.ReadAll(stream)
			_, _ = io.WriteString(stream, name+" "+string(text))
			_ = stream.Close()
		}()
	}
}

func (s *server) end() {
	_ = s.listener.Close()
	_ = s.transport.Close()
	s.socket.Release()
}

// dup is the socket as another process has it.
func dup(t *testing.T, udp *net.UDPConn) *net.UDPConn {
	t.Helper()
	file, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	c, err := net.FilePacketConn(file)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UDPConn)
}

func dial(t *testing.T, address net.Addr) *quic.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, address.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseWithError(0, "") })
	return c
}

func ask(t *testing.T, c *quic.Conn, want string, size int) {
	t.Helper()
	stream, err := c.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		_, _ = stream.Write(make([]byte, size))
		_ = stream.Close()
	}()
	got, err := io.ReadAll(stream)
	if err != nil || len(got) != size+len(want)+1 || string(got[:len(want)]) != want {
		t.Fatalf("%d bytes, %.20q, %v; want %s and %d", len(got), got, err, want, size)
	}
}

// Three processes one after the other: connections stay where they began, new
// ones reach the newest, and no packet is waited for when the older ones end.
func TestConnectionsStayAndNewOnesReachTheNext(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", "[::]:0"} {
		t.Run(network, func(t *testing.T) {
			address, err := net.ResolveUDPAddr("udp", network)
			if err != nil {
				t.Fatal(err)
			}
			udp, err := net.ListenUDP("udp", address)
			if err != nil {
				t.Skip(err)
			}
			defer func() { _ = udp.Close() }()
			to := net.Addr(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: udp.LocalAddr().(*net.UDPAddr).Port})
			follow := func(before *server, name string) *server {
				t.Helper()
				near, far, err := Pair()
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				other := dup(t, udp)
				t.Cleanup(func() { _ = other.Close() })
				next := serve(t, other, name, far)
				before.socket.Divert(near)
				return next
			}
			const size = 300_000 // many packets both ways, some at once
			first := serve(t, udp, "first", nil)
			atFirst := dial(t, to)
			ask(t, atFirst, "first", size)
			second := follow(first, "second")
			atSecond := dial(t, to)
			ask(t, atSecond, "second", size)
			ask(t, atFirst, "first", size)
			third := follow(second, "third")
			atThird := dial(t, to)
			for range 3 {
				ask(t, atThird, "third", size)
				ask(t, atSecond, "second", size)
				ask(t, atFirst, "first", size)
			}
			first.end()
			ask(t, atSecond, "second", size)
			ask(t, atThird, "third", size)
			second.end()
			ask(t, atThird, "third", size)
			ask(t, dial(t, to), "third", size)
			third.end()
		})
	}
}

func TestAPacketIsHisWhoseTagItHas(t *testing.T) {
	tag := Tag{1, 2, 3}
	mine, other := "\x01\x02\x03abcde", "\x01\x02\x04abcde"
	for packet, want := range map[string]bool{
		"":                                    true, // nobody's
		"\x40":                                true,
		"\x40\x01\x02":                        true,
		"\x40" + mine + "rest":                true,
		"\x40" + other + "rest":               false,
		"\xc0\x00\x00\x00\x01\x08" + mine:     true,
		"\xc0\x00\x00\x00\x01\x08" + other:    false,
		"\xc0\x00\x00\x00\x01\x09" + mine:     false,
		"\xc0\x00\x00\x00\x01\x00":            false,
		"\xc0\x00\x00\x00":                    true,
		"\xc0\x00\x00\x00\x01\x08\x01\x02":    true,
		"\xff\xff\xff\xff\xff\x08" + mine[:8]: true,
	} {
		if got := tag.owns([]byte(packet)); got != want {
			t.Errorf("%q: %t", packet, got)
		}
	}
	for range 100 {
		id, err := tag.GenerateConnectionID()
		if err != nil || id.Len() != tag.ConnectionIDLen() || !tag.owns(append([]byte{0x40}, id.Bytes()...)) {
			t.Fatalf("%v, %v", id, err)
		}
	}
}

// A message that somebody else sent, or half of one, is no packet.
func FuzzCut(f *testing.F) {
	address, _ := (&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}).AddrPort().MarshalBinary()
	good := append(append([]byte{byte(len(address))}, address...), 2, 'o', 'b', 'p')
	for n := range len(good) + 1 {
		f.Add(good[:n])
	}
	f.Add([]byte{255, 255})
	f.Fuzz(func(t *testing.T, text []byte) {
		_, control, packet, ok := cut(text)
		if ok && (len(packet) == 0 || len(control)+len(packet) >= len(text)) {
			t.Errorf("%x: %x, %x", text, control, packet)
		}
	})
}

// What is full loses packets, and holds nobody up.
func TestAProcessThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	near, far, err := Pair()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = near.Close(), far.Close() }()
	s := &Socket{tag: NewTag()}
	messages := make([]ipv4.Message, 8)
	for i := range messages {
		messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 64), N: 1452, Addr: &net.UDPAddr{IP: net.IPv6loopback, Port: i}}
		messages[i].Buffers[0][0] = 0xc0
	}
	copy(messages[5].Buffers[0], "\x40"+string(s.tag[:])+"mine")
	began := time.Now()
	for n := range 10_000 {
		if n > 0 {
			copy(messages[5].Buffers[0], "\x40"+string(s.tag[:])+fmt.Sprint(n))
		}
		if kept := s.keep(messages, near); kept != 1 || messages[0].Buffers[0][0] != 0x40 {
			t.Fatalf("kept %d", kept)
		}
		clear(messages[0].Buffers[0])
		messages[0].Buffers[0][0] = 0xc0
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	_ = far.Close()
	s.keep(messages, near) // nor does one that has gone
}
