package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/admin"
)

// long runs the shows at their full length.
var long = flag.Bool("long", false, "run the shows of reloads and crashes at their full length")

// asked asks the process by its socket.
func asked(t *testing.T, path string, value any, args ...string) int {
	t.Helper()
	var out, errs strings.Builder
	code := execute(sealing{}, append(args, "--config", path, "--json"), &out, &errs)
	if err := json.Unmarshal([]byte(out.String()), value); err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return code
}

// footprint returns the memory of the process in KiB, and its open files.
func footprint(i *instance) (memory, descriptors int) {
	for line := range strings.Lines(i.proc("status")) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &memory)
	}
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.cmd.Process.Pid))
	return memory, len(entries)
}

// TestReloadUnderTrafficDropsNothing reloads again and again, each second time
// with something else and now and then with what is wrong, while clients come
// over HTTP/1.1 and HTTP/2 and WebSockets talk. With -long it does so for as long
// as the issue says: 30 reloads in 30 s under 500 requests a second.
func TestReloadUnderTrafficDropsNothing(t *testing.T) {
	reloads, pause, rate, sockets := 8, 100*time.Millisecond, 200, 10
	if *long {
		reloads, pause, rate, sockets = 30, time.Second, 500, 50
	}
	dir := shortDir(t)
	server, other := echo(t), greeter(t, "other")
	base := internalSite(server.URL)
	path := writeConfig(t, dir, base)
	i := start(t, nil, "run", "--config", path)
	address := i.https()
	load := begin(t, address, filepath.Join(dir, "storage", "localca", "root.pem"), rate, sockets)
	warm := int64(rate) / 2
	if *long {
		warm = 10 * int64(rate)
	}
	load.settled(warm)
	memory, descriptors := footprint(i)

	extra := freePort(t)
	variants := []string{
		base + "  more.localhost: " + other.URL + "\n",
		"limits: {http2_streams: 99, idle_timeout: 60s, connections: 5000}\n" + base,
		"sites: {app.localhost: 'http://'}\n", // wrong
		"trusted_proxies: [127.0.0.1]\n" + base,
		strings.Replace(base, "app.localhost:", "app.localhost: &a", 1) + "nonsense: 1\n", // wrong
		"LISTEN" + base,
		base + "  x.localhost: {redirect: 'https://more.localhost/'}\n",
	}
	good, last := 0, ""
	for n := range reloads {
		text := variants[n%len(variants)]
		wrong := n%len(variants) == 2 || n%len(variants) == 4
		if rest, ok := strings.CutPrefix(text, "LISTEN"); ok {
			writeFile(t, path, fmt.Sprintf("listen: {http: \"127.0.0.1:0\", https: [\"127.0.0.1:0\", %q]}\nstorage: storage\nlog: {level: info, format: json}\n%s", extra, rest))
		} else {
			writeConfig(t, dir, text)
		}
		var r admin.Reload
		code := asked(t, path, &r, "reload", "--socket", filepath.Join(dir, "storage", "sallyport.sock"))
		if r.OK == wrong || (code == exitOK) == wrong {
			t.Fatalf("reload %d: %+v, exit code %d", n, r, code)
		}
		var s admin.Status
		asked(t, path, &s, "status", "--socket", filepath.Join(dir, "storage", "sallyport.sock"))
		switch {
		case wrong && (s.Config.Hash != last || s.Config.Last == nil || s.Config.Last.OK || s.Config.Last.Error == ""):
			t.Errorf("reload %d was refused, and status says %+v", n, s.Config)
		case !wrong && s.Config.Hash == last:
			t.Errorf("reload %d changed nothing", n)
		}
		last = s.Config.Hash
		if !wrong {
			good++
		}
		<-time.After(pause)
	}
	writeConfig(t, dir, base)
	i.signal(syscall.SIGHUP)
	load.settled(int64(rate) / 2)
	after, open := footprint(i)
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("%d requests and %d messages passed; %d failed, such as\n%s", load.served.Load(), load.echoed.Load(), len(failures), strings.Join(failures[:min(5, len(failures))], "\n"))
	}
	t.Logf("%d reloads, %d of them good; %d requests, %d messages over %d WebSockets; memory %d -> %d KiB, descriptors %d -> %d",
		reloads, good, load.served.Load(), load.echoed.Load(), sockets, memory, after, descriptors, open)
	if open > descriptors+100 { // 64 unused connections to the server are kept
		t.Errorf("%d descriptors are open, %d were before", open, descriptors)
	}
	if *long && after > 2*memory {
		t.Errorf("%d KiB of memory, %d before", after, memory)
	}
}

func TestReloadSwitchesTheLog(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite("http://127.0.0.1:9"))
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage("serving")
	writeFile(t, path, strings.Replace(read(t, path), "format: json", "format: console", 1))
	i.signal(syscall.SIGHUP)
	i.await(0, "a line for people", func(l logLine) bool {
		return l.fields == nil && strings.Contains(l.raw, "configuration reloaded")
	})
}

func TestReloadMovesTheLogAndABadPlaceForItIsRefused(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite("http://127.0.0.1:9"))
	config := read(t, path)
	to := func(output string) {
		t.Helper()
		writeFile(t, path, strings.Replace(config, "format: json", "format: json, output: "+filepath.Join(dir, output), 1))
	}
	reload := func(want int) {
		t.Helper()
		var errs strings.Builder
		if code := execute(sealing{}, []string{"reload", "--config", path}, io.Discard, &errs); code != want {
			t.Fatalf("exit code %d, want %d: %s", code, want, errs.String())
		}
	}
	has := func(output, part string, times int) {
		t.Helper()
		late := time.After(patience)
		for strings.Count(read(t, filepath.Join(dir, output)), part) < times { // lines are written behind the work
			select {
			case <-late:
				t.Fatalf("%s has not %q %d times:\n%s", output, part, times, read(t, filepath.Join(dir, output)))
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage("serving")
	to("one.log")
	reload(exitOK)
	to("two.log")
	reload(exitOK)
	has("two.log", "configuration reloaded", 1)
	links, err := filepath.Glob("/proc/" + strconv.Itoa(i.cmd.Process.Pid) + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasSuffix(target, "one.log") {
			t.Errorf("%s is still open", target)
		}
	}
	left := read(t, filepath.Join(dir, "one.log"))
	to("nowhere/three.log")
	reload(exitFailure)
	to("two.log")
	reload(exitOK)
	has("two.log", "configuration reloaded", 2)
	has("two.log", "nowhere", 1)
	if now := read(t, filepath.Join(dir, "one.log")); now != left {
		t.Errorf("the old file has got %q", strings.TrimPrefix(now, left))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWatchReloadsWhenAFileHasChanged(t *testing.T) {
	dir := shortDir(t)
	first, second := greeter(t, "first"), greeter(t, "second")
	path := writeConfig(t, dir, "watch: true\n"+internalSite(first.URL))
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	if _, body := page(t, client, "https://app.localhost/"); body != "first" {
		t.Fatal(body)
	}
	<-time.After(2 * watchEvery) // it has seen the file as it is
	writeConfig(t, dir, "watch: true\n"+internalSite(second.URL))
	i.awaitMessage("configuration reloaded")
	if _, body := page(t, client, "https://app.localhost/"); body != "second" {
		t.Error(body)
	}
}

func TestWatcherWaitsForAChangeToBeComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var w watcher
	for n, step := range []struct {
		text string
		want bool
	}{{"1", false}, {"", false}, {"", false}, {"22", false}, {"333", false}, {"", true}, {"", false}} {
		if step.text != "" {
			write(step.text)
		}
		if got := w.look([]string{path}); got != step.want {
			t.Errorf("step %d: %t", n, got)
		}
	}
}

func TestHealthTurnsRedBeforeTheStop(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, "limits: {pre_stop_delay: 1h}\n"+internalSite(greeter(t, "hello").URL))
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	i.signal(syscall.SIGQUIT)
	i.awaitMessage("serving on until others have noticed")
	var errs strings.Builder
	if code := execute(sealing{}, []string{"healthcheck", "--config", path}, io.Discard, &errs); code != exitFailure || !strings.Contains(errs.String(), "stopping") {
		t.Errorf("healthcheck: %d %s", code, errs.String())
	}
	if status, body := page(t, client, "https://app.localhost/"); status != 200 || body != "hello" {
		t.Errorf("got %d %q", status, body)
	}
	i.signal(syscall.SIGQUIT) // the delay is cut short
	i.awaitMessage("stopped")
}
