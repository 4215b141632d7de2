package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stuck are the states in which a connection may be when a stop comes. Each
// function returns when its connection is in it.
func stuck() map[string]func(t *testing.T, r *running) {
	secure := func(t *testing.T, r *running, protocol string) *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", r.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	says := func(text, until string) func(*testing.T, *running) {
		return func(t *testing.T, r *running) {
			for _, c := range []net.Conn{dialled(t, r.http, ""), secure(t, r, "http/1.1")} {
				_, _ = io.WriteString(c, text)
				if got, err := read(c, until); err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			}
		}
	}
	multiplexed := func(path string, end, whole bool, answered bool) func(*testing.T, *running) {
		return func(t *testing.T, r *running) {
			c := secure(t, r, "h2")
			_, _ = io.WriteString(c, http2.ClientPreface)
			f := http2.NewFramer(c, c)
			_ = f.WriteSettings()
			var block strings.Builder
			e := hpack.NewEncoder(&block)
			for _, field := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", path}} {
				_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
			if path != "" {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: whole, EndStream: end})
			}
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := frame.(*http2.HeadersFrame); ok || !answered {
					return
				}
			}
		}
	}
	asks3 := func(request []byte, end, answered bool) func(*testing.T, *running) {
		return func(t *testing.T, r *running) {
			stream, err := r.quic(t).OpenStreamSync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := stream.Write(request); err != nil {
				t.Fatal(err)
			}
			if end {
				_ = stream.Close()
			}
			if answered {
				if _, err := stream.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const host = " HTTP/1.1\r\nHost: a.test\r\n"
	return map[string]func(*testing.T, *running){
		"silent":                func(t *testing.T, r *running) { dialled(t, r.http, ""); dialled(t, r.https, "") },
		"half a handshake":      func(t *testing.T, r *running) { dialled(t, r.https, "\x16\x03\x01\x02\x00\x01") },
		"handshake, no more":    func(t *testing.T, r *running) { secure(t, r, "http/1.1"); secure(t, r, "h2") },
		"h1 half a head":        says("GET /"+host, ""),
		"h1 at rest":            says("GET /"+host+"\r\n", "\r\n\r\n"),
		"h1 waiting":            says("GET /wait"+host+"\r\n", "started"),
		"h1 half a body":        says("POST /read"+host+"Content-Length: 9\r\n\r\nhalf", "started"),
		"h1 not reading":        says("GET /write"+host+"\r\n", "started"),
		"h1 hijacked":           says("GET /hijack"+host+"\r\n", "started"),
		"h1 refused, lingers":   says("GET"+host+"\r\n", "\r\n\r\n"),
		"h1 chunk without end":  says("POST /read"+host+"Transfer-Encoding: chunked\r\n\r\n4\r\nhal", "started"),
		"h2 no request":         multiplexed("", true, true, false),
		"h2 half a head":        multiplexed("/", true, false, false),
		"h2 at rest":            multiplexed("/", true, true, true),
		"h2 waiting":            multiplexed("/wait", true, true, true),
		"h2 half a body":        multiplexed("/read", false, true, true),
		"h2 not reading":        multiplexed("/write", true, true, true),
		"h3 half a handshake":   deaf,
		"h3 no request":         func(t *testing.T, r *running) { r.quic(t) },
		"h3 half a head":        asks3(head3("GET", "/")[:9], false, false),
		"h3 at rest":            asks3(head3("GET", "/"), true, true),
		"h3 waiting":            asks3(head3("GET", "/wait"), true, true),
		"h3 waiting for a body": asks3(head3("GET", "/"), false, false),
		"h3 half a body":        asks3(append(head3("POST", "/read"), 0, 9, 'h', 'a', 'l', 'f'), false, true),
		"h3 not reading":        asks3(head3("GET", "/write"), true, true),
	}
}

// deaf begins a handshake of QUIC and hears no answer.
func deaf(t *testing.T, r *running) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	transport := &quic.Transport{Conn: deafened{socket, gone}}
	ctx, cancel := context.WithCancel(context.Background())
	var dialling sync.WaitGroup
	dialling.Go(func() {
		to, _ := net.ResolveUDPAddr("udp", r.https)
		_, _ = transport.Dial(ctx, to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	})
	t.Cleanup(func() {
		cancel()
		dialling.Wait()
		close(gone)
		socket.Close()
		_ = transport.Close()
	})
	eventually(t, "the handshake to begin", func() bool { return r.Server.quic.shaking.Load() > 0 })
}

// deafened is a socket on which nothing is heard.
type deafened struct {
	net.PacketConn
	gone chan struct{}
}

func (d deafened) ReadFrom([]byte) (int, net.Addr, error) {
	<-d.gone
	return 0, nil, net.ErrClosed
}

// read reads up to and with a text.
func read(c net.Conn, until string) (string, error) {
	var got strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(got.String(), until) {
		if _, err := c.Read(one); err != nil {
			return got.String(), err
		}
		got.Write(one)
	}
	return got.String(), nil
}

// busybody has a handler for every way to be busy. None ends by itself, but all
// do with their connection.
func busybody(w http.ResponseWriter, r *http.Request) {
	start := func() {
		_, _ = io.WriteString(w, "started")
		_ = http.NewResponseController(w).Flush()
	}
	switch r.URL.Path {
	case "/wait":
		start()
		<-r.Context().Done()
	case "/read":
		_ = http.NewResponseController(w).EnableFullDuplex()
		start()
		_, _ = io.Copy(io.Discard, r.Body)
	case "/write":
		start()
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case "/hijack":
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "started")
		_, _ = bufio.NewReader(c).ReadByte()
	}
}

func TestAStopEndsInWhateverStateConnectionsAre(t *testing.T) {
	states := stuck()
	all := func(t *testing.T, r *running) {
		var each sync.WaitGroup
		for _, reach := range states {
			each.Go(func() { reach(t, r) })
		}
		each.Wait()
	}
	ends := func(reach func(*testing.T, *running)) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			r := run(t, Options{HTTP3: true, ShutdownTimeout: 200 * time.Millisecond, HandshakeTimeout: time.Hour, RequestHeaderTimeout: time.Hour, IdleTimeout: time.Hour}, busybody)
			reach(t, r)
			began := time.Now()
			stopped := make(chan struct{})
			go func() { defer close(stopped); r.stop() }()
			limit := time.NewTimer(15 * time.Second)
			defer limit.Stop()
			select {
			case <-stopped:
			case <-limit.C:
				panic("Run does not end") // with every goroutine's stack
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("the stop took %v", took)
			}
			if n := r.logs.FilterMessage("a request handler did not end with its connection").Len(); n > 0 {
				t.Error("a handler was left")
			}
		}
	}
	for name, reach := range states {
		t.Run(name, ends(reach))
	}
	t.Run("all at once", ends(all))
}

// late is a listener whose last connection comes out after it was closed: the
// kernel had given it away, and the one who accepts was slow.
type late struct {
	net.Listener
	last    net.Conn
	release chan struct{}
	once    sync.Once
}

func (l *late) Accept() (c net.Conn, err error) {
	err = net.ErrClosed
	l.once.Do(func() {
		<-l.release
		c, err = l.last, nil
	})
	return c, err
}

func (l *late) Close() error { return nil }

// A stop cuts those whose hands are being shaken and waits for the end of all
// handshakes. It must not miss one that has just been accepted.
func TestAStopDoesNotWaitForAConnectionThatWasAcceptedInTheSameMoment(t *testing.T) {
	silent, server := net.Pipe()
	defer silent.Close()
	l := &late{last: server, release: make(chan struct{})}
	conns := newTable(newCaps(0, 0))
	h := newHandshaker(newAcceptor(l, conns, nil, zap.NewNop()), &tls.Config{}, func() time.Duration { return 0 })
	ended := make(chan struct{})
	go func() { defer close(ended); h.run() }()
	_ = h.Close()
	conns.cut(fresh)
	close(l.release)
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		t.Error("it waits for a client that says nothing")
	}
}
