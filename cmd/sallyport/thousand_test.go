package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
// serving, and 200 ms for a reload with one changed route. Machines that run
// tests are busy, so the clock is only gone by with -long; but the processor's
// time, which that does not lengthen much, is bounded always.
func TestAThousandSites(t *testing.T) {
	reloads := 6
	if *long {
		reloads = 30
	}
	within := func(what string, took, worked, bound time.Duration) {
		t.Helper()
		t.Logf("%s: %v, %v of the processor", what, took, worked)
		if took > bound && *long && !raced {
			t.Errorf("%s took %v", what, took)
		}
		if worked > bound && !raced {
			t.Errorf("%s took %v of the processor", what, worked)
		}
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
	within("start", time.Since(began), i.worked(), time.Second)
	if _, body := page(t, client, "https://app.localhost/"); body != "first" {
		t.Fatal(body)
	}
	for n := range reloads {
		writeConfig(t, dir, thousand(1000, []string{second.URL, first.URL}[n%2]))
		from, before := i.seen(), i.worked()
		i.signal(syscall.SIGHUP)
		line, _ := i.await(from, "reloaded", func(l logLine) bool { return l.message() == "configuration reloaded" })
		ms, _ := line.fields["duration_ms"].(float64)
		within("reload", time.Duration(ms)*time.Millisecond, i.worked()-before, 200*time.Millisecond)
	}
}

// worked returns how much of the processor's time the process has had, 0 where
// that cannot be told. Linux numbers the clock of a process by its id.
func (i *instance) worked() time.Duration {
	var now unix.Timespec
	if runtime.GOOS != "linux" || unix.ClockGettime(int32(^i.cmd.Process.Pid<<3|2), &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
