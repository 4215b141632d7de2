package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/resolve/standin"
)

func newStandIn(t *testing.T, records ...string) *standin.Server {
	t.Helper()
	s, err := standin.Start(records...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newName(t *testing.T, s *standin.Server) *Name {
	t.Helper()
	n := New(Options{Host: "api.stand-in.test.", NameServer: s.Address()})
	t.Cleanup(n.Close)
	return n
}

// listen accepts connections at an address on a port that is the same for all,
// 0 for the first.
func listen(t *testing.T, ip string, port uint16) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), port).String())
	if err != nil {
		t.Skip(err) // no such address on this machine
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func dial(t *testing.T, n *Name, port uint16) (where string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := n.Dial(ctx, port)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.RemoteAddr().(*net.TCPAddr).IP.String()
}

func TestAnswersAreUsedForTheirTimeToLiveWithinBounds(t *testing.T) {
	for ttl, want := range map[string]time.Duration{"0": leastAge, "7": 7 * time.Second, "600": mostAge} {
		for _, cut := range []bool{false, true} {
			s := newStandIn(t, ttl+" IN A 127.0.0.1")
			if cut {
				s.Truncate()
			}
			a := newName(t, s).ask(t.Context())
			if a.err != nil || a.until.Sub(a.asked) != want {
				t.Errorf("TTL %s (over TCP %t): used for %v, %v", ttl, cut, a.until.Sub(a.asked), a.err)
			}
		}
	}
}

func TestNamesOfTheHostsFileAreKnown(t *testing.T) {
	n := New(Options{Host: "localhost"})
	defer n.Close()
	if a := n.ask(t.Context()); a.err != nil || !a.addresses[0].IsLoopback() || a.until.Sub(a.asked) != mostAge {
		t.Errorf("%+v", a)
	}
}

func TestAddressThatIsGoneIsNoticedWithoutARequestWaiting(t *testing.T) {
	s := newStandIn(t, "0 IN A 127.0.0.1")
	n := newName(t, s)
	port := listen(t, "127.0.0.1", 0)
	if got := dial(t, n, port); got != "127.0.0.1" {
		t.Fatal(got)
	}
	old, other := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	if a := n.Answer(); !a.Has(old) || a.Has(other) {
		t.Errorf("%+v", a)
	}
	s.Set("0 IN A 127.0.0.2")
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.Tick(5 * time.Millisecond); n.Answer().Has(old); <-tick {
		if time.Now().After(deadline) {
			t.Fatal("the change was not noticed")
		}
	}
	if !n.Answer().Has(other) {
		t.Error("the new address is unknown")
	}
}

func TestDialErrorAsksAtOnceWhateverTheTimeToLive(t *testing.T) {
	s := newStandIn(t, "600 IN A 127.0.0.3")
	n := newName(t, s)
	port := listen(t, "127.0.0.2", 0) // and nobody at 127.0.0.3
	if got := dial(t, n, port); !strings.Contains(got, "refused") {
		t.Fatal(got)
	}
	s.Set("600 IN A 127.0.0.2")
	a := *n.answer.Load()
	a.asked = a.asked.Add(-youngest)
	n.answer.Store(&a)
	if got := dial(t, n, port); got != "127.0.0.2" {
		t.Errorf("got %s", got)
	}
}

func TestAbsentServerDoesNotFloodTheNameServer(t *testing.T) {
	s := newStandIn(t, "600 IN A 127.0.0.3")
	n := newName(t, s)
	port := listen(t, "127.0.0.2", 0)
	begun := time.Now()
	for range 200 {
		dial(t, n, port)
	}
	if most := 2 + int(time.Since(begun)/youngest); s.Asked() > most {
		t.Errorf("%d questions in %v", s.Asked(), time.Since(begun))
	}
}

func TestFailingNameServerTakesNothingAway(t *testing.T) {
	s := newStandIn(t, "0 IN A 127.0.0.1")
	n := newName(t, s)
	port := listen(t, "127.0.0.1", 0)
	if got := dial(t, n, port); got != "127.0.0.1" {
		t.Fatal(got)
	}
	s.Deny(false)
	if a := n.ask(t.Context()); a.err == nil || a.usable() != nil {
		t.Fatalf("%+v", a)
	}
	if got := dial(t, n, port); got != "127.0.0.1" {
		t.Error(got)
	}
	s.Deny(true)
	a := n.ask(t.Context())
	if missing, ok := errors.AsType[*net.DNSError](a.usable()); !ok || !missing.IsNotFound {
		t.Errorf("a name that is gone: %v", a.usable())
	}
	if !a.Has(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}) {
		t.Error("connections that there are must be used on")
	}
}

func TestManyWaitForOneLookup(t *testing.T) {
	s := newStandIn(t, "600 IN A 127.0.0.1")
	n := newName(t, s)
	port := listen(t, "127.0.0.1", 0)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got := dial(t, n, port); got != "127.0.0.1" {
				t.Error(got)
			}
		})
	}
	group.Wait()
	if s.Asked() > 5 {
		t.Errorf("%d questions", s.Asked())
	}
}

func TestDeadFamilyCostsAQuarterOfASecond(t *testing.T) {
	s := newStandIn(t, "600 IN A 127.0.0.1", "600 IN AAAA 100::1") // discard-only (RFC 6666): silent or unreachable
	n := newName(t, s)
	port := listen(t, "127.0.0.1", 0)
	begun := time.Now()
	if got := dial(t, n, port); got != "127.0.0.1" || time.Since(begun) > 5*time.Second {
		t.Errorf("%s after %v", got, time.Since(begun))
	}
}

func TestFamiliesTakeTurns(t *testing.T) {
	var in []netip.Addr
	for _, text := range []string{"::1", "::2", "::3", "127.0.0.1", "127.0.0.2"} {
		in = append(in, netip.MustParseAddr(text))
	}
	want := []netip.Addr{in[0], in[3], in[1], in[4], in[2]}
	if got := takeTurns(in); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestCloseEndsALookup(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	n := New(Options{Host: "api.stand-in.test.", NameServer: silent.LocalAddr().String()})
	result := make(chan error, 1)
	go func() { _, err := n.Dial(t.Context(), 80); result <- err }()
	if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if err := <-result; err == nil {
		t.Error("no error")
	}
	if n.answer.Load() != nil {
		t.Error("a lookup that was given up left an answer")
	}
}
