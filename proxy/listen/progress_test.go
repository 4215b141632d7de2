package listen

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// account is a flow and what the guard has decided about it.
type account struct {
	flow
	stopped int
}

func (a *account) stop() { a.stopped++ }

func newAccount(l *flows) *account {
	a := new(account)
	a.flow.stop = a
	l.begin(&a.flow)
	return a
}

func TestCreditIsTimeAndBytesEarnIt(t *testing.T) {
	const rate, grace = 512, 30 * time.Second
	for _, test := range []struct {
		name  string
		moves func(second int) int64
		lasts int // seconds; 0 is for ever
	}{
		{"nothing", func(int) int64 { return 0 }, 30},
		{"a byte a second", func(int) int64 { return 1 }, 31},
		{"50 bytes a second", func(int) int64 { return 50 }, 34},
		{"just enough", func(int) int64 { return 512 }, 0},
		{"20 KB/s", func(int) int64 { return 20_000 }, 0},
		{"20 KB/s with pauses of 25 s", func(s int) int64 {
			if s%26 == 0 {
				return 520_000
			}
			return 0
		}, 0},
		{"a quick start and then nothing", func(s int) int64 {
			if s < 10 {
				return 1 << 40
			}
			return 0
		}, 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &flows{}
			l.set(rate, grace)
			a := newAccount(l)
			a.waiting.Store(true)
			for second := range 600 {
				a.moved.Add(test.moves(second))
				l.account(time.Second)
				if a.stopped > 0 {
					if second+1 < test.lasts || second+1 > test.lasts+1 {
						t.Errorf("stopped after %d s, want %d", second+1, test.lasts)
					}
					return
				}
			}
			if test.lasts > 0 {
				t.Errorf("never stopped, want after %d s", test.lasts)
			}
		})
	}
}

func TestWhoIsNotWaitedForIsNotCharged(t *testing.T) {
	l := &flows{}
	l.set(512, time.Second)
	server, exempt, over := newAccount(l), newAccount(l), newAccount(l)
	exempt.waiting.Store(true)
	exempt.exempt.Store(true)
	over.waiting.Store(true)
	l.end(&over.flow)
	for range 10 {
		l.account(time.Second)
	}
	if server.stopped+exempt.stopped+over.stopped != 0 {
		t.Errorf("stopped: %d while the server was waited for, %d that is exempt, %d that was over", server.stopped, exempt.stopped, over.stopped)
	}
	server.waiting.Store(true)
	for range 10 {
		l.account(time.Second)
	}
	if server.stopped != 1 {
		t.Errorf("stopped %d times, want once", server.stopped)
	}
	l.end(&server.flow)
	l.end(&exempt.flow)
	if l.first != nil {
		t.Error("the list is not empty")
	}
}

func TestAnAnswerLeftInTheKernelIsNotForgotten(t *testing.T) {
	if openFiles() == 0 {
		t.Skip("the kernel cannot be asked here")
	}
	const size = 128 << 10
	o := Options{MinRate: 512, MinRateGrace: time.Second, IdleTimeout: time.Hour}
	r := run(t, o, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size)) })
	ask := func(buffer int) net.Conn {
		c, err := net.Dial("tcp", r.http)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(buffer)
		write(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		return c
	}
	reader := ask(1 << 20)
	ask(4 << 10) // takes nothing, and has room for little
	res, err := http.ReadResponse(bufio.NewReader(reader), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	eventually(t, "both to be answered, as far as the server knows", func() bool { return r.conns.count(idle) == 2 })
	eventually(t, "the end of the connection that takes nothing", func() bool { return r.conns.count(idle)+r.conns.count(busy) == 1 })
	write(t, reader, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(reader), nil); err != nil {
		t.Errorf("the connection that takes everything: %v", err)
	}
}

// BenchmarkSmallGet is what the guarding of a small exchange costs: compare a
// rate with none.
func BenchmarkSmallGet(b *testing.B) {
	for name, rate := range map[string]int{"guarded": 512, "not": 0} {
		for _, proto := range []string{"http/1.1", "h2"} {
			b.Run(proto+" "+name, func(b *testing.B) {
				r := run(b, Options{MinRate: rate, MinRateGrace: 30 * time.Second}, ok)
				transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: proto == "h2"}
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport}
				b.ReportAllocs()
				for b.Loop() {
					res, err := client.Get("https://" + r.https)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		}
	}
}
