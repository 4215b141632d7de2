package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// flooding is how long each flood of TestFloodsCostLittleMemory lasts.
var flooding = flag.Duration("flood", 300*time.Millisecond, "how long each flood lasts")

// flooder is a connection over HTTP/2 to flood.
type flooder struct {
	*http2.Framer
	net.Conn
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32 // stream
}

// section encodes a GET of path with further fields.
func (f *flooder) section(path string, fields ...string) []byte {
	f.block.Reset()
	fields = append([]string{":method", "GET", ":scheme", "https", ":authority", "app.localhost", ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.block.Bytes()
}

func (f *flooder) ask(block []byte, end bool) error {
	f.next += 2
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next, BlockFragment: block, EndHeaders: end, EndStream: true})
}

// floods are what one connection does, again and again until it is ended. Those
// that read nothing leave it to the server what becomes of the answers.
func floods() map[string]struct {
	reads bool
	do    func(f *flooder, n int) error
} {
	type flood = struct {
		reads bool
		do    func(f *flooder, n int) error
	}
	return map[string]flood{
		"rapid reset": {true, func(f *flooder, _ int) error {
			if err := f.ask(f.section("/"), true); err != nil {
				return err
			}
			return f.WriteRSTStream(f.next, http2.ErrCodeCancel)
		}},
		"CONTINUATION": {true, func(f *flooder, n int) error {
			if n == 0 {
				return f.ask(f.section("/"), false)
			}
			return f.WriteContinuation(f.next, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 400))
		}},
		"SETTINGS": {false, func(f *flooder, _ int) error { return f.WriteSettings() }},
		"PING":     {false, func(f *flooder, _ int) error { return f.WritePing(false, [8]byte{}) }},
		"header bombs": {true, func(f *flooder, n int) error {
			var block []byte
			if n == 0 { // the entry that all others name, again and again
				block = f.section("/", "x-bomb", strings.Repeat("a", 3900))
			} else {
				block = f.section("/")
			}
			return f.ask(append(block, bytes.Repeat([]byte{0x80 | 62}, 10000)...), true)
		}},
		"large heads": {true, func(f *flooder, n int) error {
			return f.ask(f.section("/", "x-large", strings.Repeat(string(rune('a'+n%26)), 15000)), true)
		}},
		"answers not read":   {false, func(f *flooder, _ int) error { return f.ask(f.section("/large"), true) }},
		"answers no windows": {true, func(f *flooder, _ int) error { return f.ask(f.section("/large"), true) }},
	}
}

// flood has one client flood until the time is over, with new connections for
// those that are ended.
func flood(ctx context.Context, address string, reads bool, do func(*flooder, int) error) (connections int) {
	for ; ctx.Err() == nil && connections < 10000; connections++ {
		dialer := tls.Dialer{Config: &tls.Config{ServerName: "app.localhost", InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return connections
		}
		end := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, _ = io.WriteString(c, http2.ClientPreface)
		f := &flooder{Framer: http2.NewFramer(c, nil), Conn: c, next: ^uint32(0)}
		f.encoder = hpack.NewEncoder(&f.block)
		_ = f.WriteSettings()
		var reading sync.WaitGroup
		if reads {
			reading.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
		}
		for n := 0; n < 100000 && do(f, n) == nil; n++ {
		}
		if !reads { // what the kernel takes is not the end
			_, _ = io.Copy(io.Discard, c)
		}
		_ = c.Close()
		reading.Wait()
		end()
	}
	return connections
}

// Issue 6: floods end early with bounded memory, peak under 75 MB. It is the
// program itself that is measured, with its defaults: each flood by itself, and
// all of them one after the other in one process.
func TestFloodsCostLittleMemory(t *testing.T) {
	dir := shortDir(t)
	program := filepath.Join(dir, "sallyport")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	large := make([]byte, 4<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(large)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(server.Close)
	path := writeConfig(t, dir, internalSite(server.URL))
	attacks := attacks()
	process := func(t *testing.T, names []string) {
		i := launch(t, exec.Command(program, "run", "--config", path))
		address := i.https()
		client := visitor(t, address, filepath.Join(dir, "storage", "localca", "root.pem"))
		for _, name := range names {
			connections, leave := attacks[name](t, address)
			if status, text := page(t, client, "https://app.localhost/"); status != 200 || text != "hello" {
				t.Errorf("%s: another client got %d %q", name, status, text)
			}
			leave()
			peak := i.status("VmHWM")
			t.Logf("%s: %d connections, peak %d MB", name, connections, peak/1e6)
			if peak > 75e6 {
				t.Errorf("%s: %d MB were resident", name, peak/1e6)
			}
		}
	}
	names := slices.Sorted(maps.Keys(attacks))
	for _, name := range names {
		t.Run(name, func(t *testing.T) { process(t, []string{name}) })
	}
	t.Run("one after the other", func(t *testing.T) {
		seed := time.Now().UnixNano()
		t.Logf("order of seed %d", seed)
		order := rand.New(rand.NewPCG(uint64(seed), 0)).Perm(len(names))
		sequence := make([]string, len(names))
		for at, n := range order {
			sequence[at] = names[n]
		}
		process(t, sequence)
	})
}

// attacks are the floods, and what else takes memory. Each returns how many
// connections it made, and what ends those that are left.
func attacks() map[string]func(t *testing.T, address string) (connections int, leave func()) {
	all := make(map[string]func(*testing.T, string) (int, func()))
	for name, one := range floods() {
		all[name] = func(t *testing.T, address string) (made int, leave func()) {
			ctx, cancel := context.WithTimeout(t.Context(), *flooding)
			defer cancel()
			var clients sync.WaitGroup
			counts := make([]int, 8)
			for n := range counts {
				clients.Go(func() { counts[n] = flood(ctx, address, one.reads, one.do) })
			}
			clients.Wait()
			for _, n := range counts {
				made += n
			}
			return made, func() {}
		}
	}
	all["half requests"] = func(t *testing.T, address string) (int, func()) { return halves(t, address, 400) }
	all["slow readers"] = func(t *testing.T, address string) (made int, leave func()) {
		var open []net.Conn
		leave = func() {
			for _, c := range open {
				_ = c.Close()
			}
		}
		for made = range 100 {
			c, err := stranger(t.Context(), address)
			if err != nil {
				return made, leave
			}
			open = append(open, c)
			_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}
		return made, leave
	}
	return all
}
