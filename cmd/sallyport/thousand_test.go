package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// thousand is a configuration of so many sites, each with a few routes.
func thousand(sites int, last string) string {
	var b strings.Builder
	b.WriteString("sites:\n")
	for n := range sites {
		fmt.Fprintf(&b, "  s%d.localhost:\n    routes:\n      - {path: /api/, proxy: 'http://127.0.0.1:9'}\n      - {path: /, proxy: 'http://127.0.0.1:%d'}\n", n, 1000+n%50)
	}
	fmt.Fprintf(&b, "  app.localhost: %s\n", last)
	return b.String()
}

// TestAThousandSites measures what the issue bounds: a second from the start to
// serving, and 200 ms for a reload with one changed route. The test allows
// several times that, because machines that run tests are busy; -long does not.
func TestAThousandSites(t *testing.T) {
	slack := time.Duration(5)
	if *long {
		slack = 1
	}
	if raced {
		slack = 100 // what is looked for then are races
	}
	dir := shortDir(t)
	first, second := greeter(t, "first"), greeter(t, "second")
	path := writeConfig(t, dir, thousand(1000, first.URL))
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage("serving") // makes the CA
	i.stop(syscall.SIGQUIT)

	began := time.Now()
	i = start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	took := time.Since(began)
	t.Logf("serving after %v", took)
	if took > slack*time.Second {
		t.Errorf("serving after %v", took)
	}
	if _, body := page(t, client, "https://app.localhost/"); body != "first" {
		t.Fatal(body)
	}
	for range 3 {
		for _, to := range []string{second.URL, first.URL} {
			writeConfig(t, dir, thousand(1000, to))
			from := i.seen()
			i.signal(syscall.SIGHUP)
			line, _ := i.await(from, "reloaded", func(l logLine) bool { return l.message() == "configuration reloaded" })
			ms, _ := line.fields["duration_ms"].(float64)
			t.Logf("reloaded in %v ms", ms)
			if took := time.Duration(ms) * time.Millisecond; took > slack*200*time.Millisecond {
				t.Errorf("a reload took %v", took)
			}
		}
	}
}
