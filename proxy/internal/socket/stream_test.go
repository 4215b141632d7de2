package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/socket"
)

// pair returns both ends of a TCP connection.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close() })
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

func stream(t testing.TB, nc net.Conn) io.ReadWriter {
	t.Helper()
	s := socket.New(nc)
	if _, ok := s.(*socket.Stream); !ok {
		t.Fatalf("%T", s)
	}
	return s
}

func TestWhatIsNoPlainSocketIsLeftAsItIs(t *testing.T) {
	near, _ := pair(t)
	for _, nc := range []net.Conn{struct{ net.Conn }{near}, struct{ *net.TCPConn }{near}} {
		if got := socket.New(nc); got != nc {
			t.Errorf("%T: %T", nc, got)
		}
	}
}

// TestMoreThanTheKernelHolds: both directions wait for the other side, at the
// same time.
func TestMoreThanTheKernelHolds(t *testing.T) {
	near, far := pair(t)
	s := stream(t, near)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var work sync.WaitGroup
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
	}{{s, far}, {far, s}} {
		work.Go(func() {
			if n, err := way.from.Write(sent); n != len(sent) || err != nil {
				t.Errorf("%d bytes were written: %v", n, err)
			}
		})
		work.Go(func() {
			got := make([]byte, len(sent))
			if n, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes were read: %v", n, err)
			}
		})
	}
	work.Wait()
}

func TestWritesOfSeveralGoroutinesDoNotMix(t *testing.T) {
	near, far := pair(t)
	s := stream(t, near)
	const size = 1 << 20
	var work sync.WaitGroup
	for _, letter := range []string{"a", "b"} {
		work.Go(func() {
			if _, err := io.WriteString(s, strings.Repeat(letter, size)); err != nil {
				t.Error(err)
			}
		})
	}
	got := make([]byte, 2*size)
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	work.Wait()
	if first := got[0]; bytes.Count(got[:size], []byte{first}) != size {
		t.Error("one write's bytes are between those of the other")
	}
}

// TestEndsAndErrorsAreThoseOfTheConnection: whoever handles errors cannot tell
// who read or wrote.
func TestEndsAndErrorsAreThoseOfTheConnection(t *testing.T) {
	large := make([]byte, 64<<20)
	read := func(rw io.ReadWriter) error { _, err := rw.Read(make([]byte, 1)); return err }
	for name, c := range map[string]struct {
		prepare func(near, far *net.TCPConn)
		do      func(io.ReadWriter) error
		want    error
	}{
		"end": {func(_, far *net.TCPConn) { far.CloseWrite() }, read, io.EOF},
		"reset": {func(_, far *net.TCPConn) {
			far.SetLinger(0)
			far.Close()
		}, read, syscall.ECONNRESET},
		"closed":        {func(near, _ *net.TCPConn) { near.Close() }, read, net.ErrClosed},
		"read deadline": {func(near, _ *net.TCPConn) { near.SetReadDeadline(time.Now().Add(time.Millisecond)) }, read, os.ErrDeadlineExceeded},
		"write deadline": {
			func(near, _ *net.TCPConn) { near.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) },
			func(rw io.ReadWriter) error { _, err := rw.Write(large); return err }, os.ErrDeadlineExceeded,
		},
		"write after the end": {
			func(near, _ *net.TCPConn) { near.CloseWrite() },
			func(rw io.ReadWriter) error { _, err := rw.Write([]byte("x")); return err }, syscall.EPIPE,
		},
		"nothing to read into": {func(_, _ *net.TCPConn) {}, func(rw io.ReadWriter) error { _, err := rw.Read(nil); return err }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			outcome := func(of func(net.Conn) io.ReadWriter) (string, error) {
				near, far := pair(t)
				c.prepare(near, far)
				err := c.do(of(near))
				if err == nil {
					return "", nil
				}
				return strings.NewReplacer(near.LocalAddr().String(), "near", far.LocalAddr().String(), "far").Replace(err.Error()), err
			}
			usual, _ := outcome(func(nc net.Conn) io.ReadWriter { return nc })
			ours, err := outcome(func(nc net.Conn) io.ReadWriter { return stream(t, nc) })
			if !errors.Is(err, c.want) || ours != usual {
				t.Errorf("got %q, not %q", ours, usual)
			}
		})
	}
}

func TestCloseAndDeadlinesWakeUpWhoWaits(t *testing.T) {
	for name, wake := range map[string]func(*net.TCPConn){
		"close":    func(c *net.TCPConn) { c.Close() },
		"deadline": func(c *net.TCPConn) { c.SetDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			near, _ := pair(t)
			s := stream(t, near)
			var waiting sync.WaitGroup
			for range 2 { // one waits for the other
				waiting.Go(func() {
					if _, err := s.Read(make([]byte, 1)); err == nil {
						t.Error("something was read")
					}
				})
			}
			wake(near)
			waiting.Wait()
		})
	}
}

func TestPartOfAWriteIsCounted(t *testing.T) {
	near, far := pair(t)
	s := stream(t, near)
	large := make([]byte, 64<<20)
	near.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := s.Write(large)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(large) {
		t.Fatalf("%d, %v", n, err)
	}
	near.Close()
	if got, _ := io.Copy(io.Discard, far); got != int64(n) {
		t.Errorf("%d bytes arrived, %d were said to be written", got, n)
	}
}

func TestUnixSockets(t *testing.T) {
	path := t.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	far, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	for _, way := range []struct{ from, to io.ReadWriter }{{stream(t, near), far}, {far, stream(t, near)}} {
		if _, err := io.WriteString(way.from, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(way.to, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestMovingBytesAllocatesNothing(t *testing.T) {
	near, far := pair(t)
	s, peer := stream(t, near), stream(t, far)
	p := make([]byte, 64)
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := s.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Read(p); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v", allocations)
	}
}

// BenchmarkThereAndBack is a byte written and read, by the connection itself
// and by a Stream.
func BenchmarkThereAndBack(b *testing.B) {
	for name, of := range map[string]func(net.Conn) io.ReadWriter{
		"net":    func(nc net.Conn) io.ReadWriter { return nc },
		"stream": socket.New,
	} {
		b.Run(name, func(b *testing.B) {
			near, far := pair(b)
			from, to := of(near), of(far)
			var p [1]byte
			b.ReportAllocs()
			for b.Loop() {
				if _, err := from.Write(p[:]); err != nil {
					b.Fatal(err)
				}
				if _, err := to.Read(p[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
