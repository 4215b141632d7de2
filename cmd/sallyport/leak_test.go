package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// metric asks the process for one of its metrics.
func metric(t *testing.T, socket, name string) (value float64) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	res, err := client.Get("http://sallyport/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(rest, &value)
		}
	}
	return value
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	dir := shortDir(t)
	server := greeter(t, "hello")
	base := internalSite(server.URL)
	path := writeConfig(t, dir, base)
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	socket := filepath.Join(dir, "storage", "sallyport.sock")
	extra := freePort(t)
	reload := func(n int) {
		t.Helper()
		switch n % 3 {
		case 0:
			writeConfig(t, dir, base)
		case 1:
			writeConfig(t, dir, fmt.Sprintf("upstreams: {a: {servers: [%q], health: {path: /}}}\nlimits: {http2_streams: %d}\n%s  b.localhost: a\n", server.URL, 10+n, base))
		case 2:
			writeFile(t, path, fmt.Sprintf("listen: {http3: true, http: \"127.0.0.1:0\", https: [\"127.0.0.1:0\", %q]}\nstorage: storage\nlog: {level: debug, format: json}\n%s", extra, base))
		}
		from := i.seen()
		i.signal(syscall.SIGHUP)
		line, _ := i.await(from, "a verdict", func(l logLine) bool {
			return l.message() == "configuration reloaded" || strings.HasPrefix(l.message(), "reload failed")
		})
		if line.message() != "configuration reloaded" {
			t.Fatal(line.raw)
		}
		if _, body := page(t, client, "https://app.localhost/"); body != "hello" {
			t.Fatal(body)
		}
	}
	for n := range 4 {
		reload(n)
	}
	measure := func() (goroutines float64, open int) {
		_, open = footprint(i)
		return metric(t, socket, "go_goroutines"), open
	}
	goroutines, open := measure()
	for n := range 30 {
		reload(n + 1)
	}
	for deadline := time.Now().Add(15 * time.Second); ; <-time.After(100 * time.Millisecond) {
		after, files := measure()
		if after <= goroutines+3 && files <= open+3 {
			t.Logf("goroutines %v -> %v, descriptors %d -> %d", goroutines, after, open, files)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines %v -> %v, descriptors %d -> %d", goroutines, after, open, files)
		}
	}
}
