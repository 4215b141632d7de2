package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// dialFrom connects to the port for plain HTTP from a loopback address.
func (r *running) dialFrom(t testing.TB, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// refuses reports whether a new connection is reset.
func (r *running) refuses(from string) bool {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.Dial("tcp", r.http)
	if err != nil {
		return errors.Is(err, syscall.ECONNRESET) // so soon that connecting fails
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return over(c)
}

// served asks once on a connection and reports whether there was an answer.
func served(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

// over reports whether the other side has ended a connection.
func over(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestOneAddressCannotTakeAllConnections(t *testing.T) {
	r := run(t, Options{ConnectionsPerAddress: 3}, ok)
	var greedy []net.Conn
	for range 3 {
		c := r.dialFrom(t, "127.0.0.1")
		if !served(c) {
			t.Fatal("within the limit, but not served")
		}
		greedy = append(greedy, c)
	}
	if !r.refuses("127.0.0.1") {
		t.Error("the fourth connection was taken in")
	}
	if !served(r.dialFrom(t, "127.0.0.2")) {
		t.Error("another address was not served")
	}
	greedy[0].Close()
	eventuallyServed(t, r, "127.0.0.1")
	refused := r.logs.FilterMessage("connection refused").All()
	if len(refused) == 0 || refused[0].ContextMap()["cause"] != "limits.connections_per_address" {
		t.Errorf("logged %v", refused)
	}
}

// eventuallyServed waits until a new connection from an address is served.
func eventuallyServed(t *testing.T, r *running, from string) {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for {
		if c, err := dialer.Dial("tcp", r.http); err == nil {
			fine := served(c)
			c.Close()
			if fine {
				return
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("%s is not served any more", from)
		}
	}
}

func TestAFloodOfSilentConnectionsDisplacesItself(t *testing.T) {
	r := run(t, Options{Connections: 20, IdleTimeout: time.Minute, RequestHeaderTimeout: time.Minute}, ok)
	honest := r.dialFrom(t, "127.0.0.9")
	if !served(honest) {
		t.Fatal("not served")
	}
	var flood []net.Conn
	for range 19 {
		c := r.dialFrom(t, "127.0.0.1")
		write(t, c, "GET / HT") // half a request
		flood = append(flood, c)
	}
	eventually(t, "all connections to be in", func() bool { return r.conns.count(fresh)+r.conns.count(busy)+r.conns.count(idle) == 20 })
	// More come, of the flood and others: they are served, and so is the honest
	// one, which has been silent for longer than any of the flood.
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		if !served(r.dialFrom(t, from)) {
			t.Errorf("%s was not served", from)
		}
	}
	if !served(honest) {
		t.Error("the honest client lost its connection")
	}
	lost := 0
	for _, c := range flood {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if over(c) {
			lost++
		}
	}
	if lost < 3 {
		t.Errorf("%d connections of the flood made room", lost)
	}
}

func TestWhenAllConnectionsAreInUseNewOnesWait(t *testing.T) {
	release := make(chan struct{})
	r := run(t, Options{Connections: 4}, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		io.WriteString(w, "done")
	})
	answers := make(chan bool, 6)
	for range 6 {
		c := r.dialFrom(t, "127.0.0.1")
		go func() { answers <- served(c) }()
	}
	eventually(t, "four requests under way", func() bool { return r.conns.count(busy) >= 4 })
	close(release)
	for range 6 {
		if !<-answers {
			t.Error("a connection that had to wait was refused, or one in use was cut")
		}
	}
}

func TestHTTP3ConnectionsCountAsWell(t *testing.T) {
	r := run(t, Options{HTTP3: true, ConnectionsPerAddress: 2}, ok)
	first, second := r.quic(t), r.quic(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}
	dial := func() error {
		c, err := quic.DialAddr(ctx, r.https, config, nil)
		if err == nil {
			_ = c.CloseWithError(0, "")
		}
		return err
	}
	refused, ok := errors.AsType[*quic.TransportError](dial())
	if !ok || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("the third connection: %v", refused)
	}
	if !r.refuses("127.0.0.1") {
		t.Error("a connection over TCP was taken in besides")
	}
	_ = first.CloseWithError(0, "")
	_ = second.CloseWithError(0, "")
	eventually(t, "room for another", func() bool { return dial() == nil })
}

func TestWithoutMemoryConnectionsAreRefused(t *testing.T) {
	r := run(t, Options{HTTP3: true, Overloaded: func() bool { return true }}, ok)
	if !r.refuses("127.0.0.1") {
		t.Error("a connection over TCP was taken in")
	}
	_, err := quic.DialAddr(t.Context(), r.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err == nil {
		t.Error("a connection over QUIC was taken in")
	}
}

func TestRelieveClosesAPartOfWhatIsUnused(t *testing.T) {
	r := run(t, Options{IdleTimeout: time.Minute}, ok)
	for range 16 {
		if !served(r.dialFrom(t, "127.0.0.1")) {
			t.Fatal("not served")
		}
	}
	eventually(t, "two of sixteen to be closed", func() bool {
		if r.conns.count(idle) == 16 {
			r.Relieve() // does nothing before connections have settled
		}
		return r.conns.count(idle) == 14
	})
}

func TestAHouseholdIsAnAddressOrA64(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
		"2001:db8:1:3:3:4:5:6": "2001:db8:1:3::",
		"::1":                  "::",
	} {
		ip := netip.MustParseAddr(text)
		tcp := household(&net.TCPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
		udp := household(&net.UDPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
		if tcp.String() != want || udp != tcp {
			t.Errorf("%s: %v and %v, want %s", text, tcp, udp, want)
		}
	}
	if got := household(&net.UnixAddr{Name: "/a"}); got.IsValid() {
		t.Errorf("a unix socket: %v", got)
	}
}

func TestHalfOfTheDescriptorsIsForConnections(t *testing.T) {
	files := openFiles()
	if files == 0 {
		t.Skip("the limit on open files is not known here")
	}
	core, logs := observer.New(zapcore.DebugLevel)
	if got := budget(8, zap.New(core)); got != 8 || logs.Len() != 0 {
		t.Errorf("what fits became %d: %v", got, logs.All())
	}
	if got := budget(files, zap.New(core)); got > files/2 || logs.Len() != 1 {
		t.Errorf("as many as descriptors became %d of %d: %v", got, files, logs.All())
	}
	if got := budget(0, zap.New(core)); got > files/2 || got == 0 {
		t.Errorf("no limit became %d of %d", got, files)
	}
}

func TestWithoutDescriptorsOneLineAMinuteIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		l := &failing{}
		l.failures.Store(1 << 40)
		a := newAcceptor(l, newTable(newCaps(0, 0)), nil, zap.New(core))
		time.AfterFunc(90*time.Second, func() { a.Close() })
		if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		attempts := 1<<40 - l.failures.Load()
		if attempts > 120 {
			t.Errorf("%d attempts in 90 s", attempts)
		}
		lines := logs.FilterMessage("cannot accept connections").All()
		if len(lines) != 2 || !strings.Contains(lines[0].ContextMap()["hint"].(string), "open files") || lines[1].ContextMap()["suppressed"] == nil {
			t.Errorf("%d lines in 90 s: %v", len(lines), lines)
		}
	})
}

func TestGivingUpAnUnusedConnectionFreesADescriptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(newCaps(0, 0))
		server, client := net.Pipe()
		defer client.Close()
		unused := table.add(server, netip.Addr{}, false)
		table.clock.Store(int64(time.Minute))
		l := &failing{}
		l.failures.Store(1)
		a := newAcceptor(l, table, nil, zap.NewNop())
		if _, err := a.Accept(); err != nil {
			t.Fatal(err)
		}
		if _, err := unused.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the unused connection is still open: %v", err)
		}
	})
}

// eventually polls for what has no event to wait for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("in vain: %s", what)
		}
	}
}

func write(t testing.TB, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}
