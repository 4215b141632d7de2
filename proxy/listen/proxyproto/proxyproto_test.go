package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// v2 makes a preamble of version 2.
func v2(command, family byte, rest ...byte) string {
	return signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + string(rest)
}

var (
	ends4 = []byte{192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb}
	ends6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x12, 0x34, 0x01, 0xbb)
)

// checked returns a preamble with a checksum, off by something.
func checked(off uint32) string {
	whole := []byte(v2(0x21, 0x11, append(append([]byte{}, ends4...), 3, 0, 4, 0, 0, 0, 0)...))
	sum := crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(whole[len(whole)-4:], sum+off)
	return string(whole)
}

func TestAPreambleIsReadToItsEndAndNoFurther(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for text, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n":                      "192.0.2.7:4660",
		"PROXY TCP6 2001:db8::7 2001:db8::1 4660 443\r\n":                 "[2001:db8::7]:4660",
		"PROXY UNKNOWN\r\n":                                               "local",
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":                           "local",
		v2(0x21, 0x11, ends4...):                                          "192.0.2.7:4660",
		v2(0x21, 0x21, ends6...):                                          "[2001:db8::7]:4660",
		v2(0x21, 0x11, join(ends4, []byte{4, 0, 2, 0, 0, 0xe0, 0, 0})...): "192.0.2.7:4660",
		v2(0x20, 0x00):                                                    "local",
		v2(0x20, 0x11, ends4...):                                          "local",
		v2(0x20, 0x00, 1, 2, 3):                                           "local",
		v2(0x21, 0x00, 1, 2, 3):                                           "local",
		v2(0x21, 0x31, make([]byte, 216)...):                              "local",
		checked(0):                                                        "192.0.2.7:4660",

		"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\n":          "malformed",
		"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443 \r\n":       "malformed",
		"PROXY TCP4  192.0.2.7 10.0.0.1 4660 443\r\n":       "malformed",
		"PROXY TCP4 192.0.2.7 10.0.0.1 04660 443\r\n":       "malformed",
		"PROXY TCP4 192.0.2.7 10.0.0.1 66666 443\r\n":       "malformed",
		"PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n":          "malformed",
		"PROXY TCP4 192.0.2.007 10.0.0.1 1 443\r\n":         "malformed",
		"PROXY TCP4 2001:db8::7 10.0.0.1 1 443\r\n":         "malformed",
		"PROXY TCP6 192.0.2.7 2001:db8::1 1 443\r\n":        "malformed",
		"PROXY TCP6 fe80::1%eth0 2001:db8::1 1 443\r\n":     "malformed",
		"PROXY TCP4 0.0.0.0 10.0.0.1 1 443\r\n":             "malformed",
		"PROXY TCP4 224.0.0.1 10.0.0.1 1 443\r\n":           "malformed",
		"PROXY UDP4 192.0.2.7 10.0.0.1 1 443\r\n":           "malformed",
		"PROXY UNKNOWN" + strings.Repeat(" ", 107):          "malformed",
		v2(0x11, 0x11, ends4...):                            "malformed",
		v2(0x22, 0x11, ends4...):                            "malformed",
		v2(0x21, 0x12, ends4...):                            "malformed",
		v2(0x21, 0x11, ends4[:11]...):                       "malformed",
		v2(0x21, 0x21, ends4...):                            "malformed",
		v2(0x21, 0x11, join(ends4, []byte{4, 0})...):        "malformed",
		v2(0x21, 0x11, join(ends4, []byte{4, 0, 9, 0})...):  "malformed",
		v2(0x21, 0x11, join(ends4, make([]byte, 5000))...):  "malformed",
		v2(0x21, 0x11, join(make([]byte, 4), ends4[4:])...): "malformed",
		checked(1): "malformed",

		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaa": "missing",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                        "missing",
		"proxy tcp4 192.0.2.7 10.0.0.1 1 443\r\n":                  "missing",
		"PROXY\r\nTCP4 192.0.2.7":                                  "missing",
		"short":                                                    "missing",
		"PROXY TCP4 192.":                                          "EOF",
		signature + "\x21":                                         "EOF",
		"":                                                         "EOF",
	} {
		stream := strings.NewReader(text + "next")
		if want == "EOF" || text == "short" {
			stream = strings.NewReader(text)
		}
		from, err := read(stream)
		got := from.String()
		switch bad, isBad := errors.AsType[malformed](err); {
		case isBad:
			got, _, _ = strings.Cut(bad.Error(), " ")
		case errors.Is(err, errMissing):
			got = "missing"
		case err != nil:
			got = "EOF"
		case !from.IsValid():
			got = "local"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
		if rest, _ := io.ReadAll(stream); err == nil && string(rest) != "next" {
			t.Errorf("%q: left %q", text, rest)
		}
	}
}

// world is a listener with one listed peer, or none, that echoes who it thinks
// has connected, and then what is sent.
func world(t *testing.T, listed bool, timeout time.Duration) (address string, log *observer.ObservedLogs) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	core, log := observer.New(zap.DebugLevel)
	l := New(tcp, Options{Listed: func(netip.Addr) bool { return listed }, Timeout: timeout, Logger: zap.New(core)})
	var workers sync.WaitGroup
	workers.Go(l.Run)
	workers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			workers.Go(func() {
				defer conn.Close()
				fmt.Fprintf(conn, "%s\n", conn.RemoteAddr())
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		workers.Wait()
	})
	return tcp.Addr().String(), log
}

func say(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestAListedPeerSpeaksForItsClients(t *testing.T) {
	address, log := world(t, true, time.Minute)
	if got := say(t, address, "PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\nhello"); got != "192.0.2.7:4660\nhello" {
		t.Errorf("got %q", got)
	}
	if got := say(t, address, v2(0x20, 0)+"hello"); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("LOCAL: got %q", got)
	}
	if got := say(t, address, "GET / HTTP/1.1\r\n\r\n"); got != "" {
		t.Errorf("without a preamble: got %q", got)
	}
	if got := log.FilterMessage("connection refused").Len(); got != 1 {
		t.Errorf("%d lines", got)
	}
}

func TestAPreambleOfAStrangerStaysInTheStream(t *testing.T) {
	address, _ := world(t, false, time.Minute)
	const forged = "PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"
	if got := say(t, address, forged); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, forged) {
		t.Errorf("got %q", got)
	}
}

func TestASilentPeerIsClosedInTimeAndKeepsNobodyWaiting(t *testing.T) {
	address, _ := world(t, true, 300*time.Millisecond)
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if got := say(t, address, "PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"); got != "192.0.2.7:4660\n" {
		t.Errorf("beside it: %q", got)
	}
	_ = silent.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := silent.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.ErrNoProgress) {
		t.Errorf("the silent one read %d bytes, %v", n, err)
	}
}

func TestCloseEndsWhatHasNotBeenIntroduced(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{}, 1)
	l := New(tcp, Options{Listed: func(netip.Addr) bool { seen <- struct{}{}; return true }, Timeout: time.Hour, Logger: zap.NewNop()})
	ended := make(chan struct{})
	go func() { defer close(ended); l.Run() }()
	silent, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	<-seen
	_ = l.Close()
	<-ended
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\nx"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x21, ends6...)))
	f.Add([]byte(checked(0) + "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		stream := bytes.NewReader(data)
		from, err := read(stream)
		if err != nil && from.IsValid() {
			t.Fatal("an error with an address")
		}
		used := len(data) - stream.Len()
		if used > 16+longestV2 {
			t.Fatalf("read %d bytes", used)
		}
		if err == nil && from.IsValid() && (from.Addr().Is4In6() || from.Addr().Zone() != "" || from.Addr().IsUnspecified()) {
			t.Fatalf("source %v", from)
		}
		if err == nil && !begins(string(data[:min(len(data), 12)])) {
			t.Fatalf("%q has no preamble", data)
		}
	})
}
