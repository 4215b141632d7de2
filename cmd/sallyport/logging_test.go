package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/logging"
	"github.com/sallyport/sallyport/proxy/admin"
)

// holds waits until a file has a text in it.
func holds(t *testing.T, path, text string) {
	t.Helper()
	until(t, path+" has "+text, func() bool {
		content, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(content), text)
	})
}

// until looks until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestEachRouteHasItsAccessLogAndUSR1OpensItAnew(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, `sites:
  app.localhost:
    access_log: {output: app.log, headers: [X-Api-Key], exclude: /quiet}
    routes:
      - {path: /plain/, respond: plain, access_log: {output: plain.log, format: combined}}
      - {path: /never/, respond: never, access_log: off}
      - {path: /, respond: hello}
  other.localhost: {respond: other}
`)
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	app, plain := filepath.Join(dir, "app.log"), filepath.Join(dir, "plain.log")
	for _, url := range []string{"app.localhost/quiet", "app.localhost/never/", "other.localhost/", "app.localhost/plain/?token=s3cr3t", "app.localhost/a?TOKEN=s3cr3t"} {
		page(t, client, "https://"+url)
	}
	holds(t, app, `"target":"/a?TOKEN=***"`)
	holds(t, plain, `"GET /plain/?token=*** HTTP/2.0" 200 5 "-" "Go-http-client/2.0"`)
	if err := os.Rename(app, app+".1"); err != nil {
		t.Fatal(err)
	}
	i.signal(syscall.SIGUSR1)
	until(t, "the file is there again", func() bool { _, err := os.Stat(app); return err == nil })
	page(t, client, "https://app.localhost/after")
	holds(t, app, `"target":"/after"`)

	// A reload that takes the log away ends it, and one whose log cannot be
	// opened is refused.
	from := i.seen()
	writeConfig(t, dir, "sites:\n  app.localhost: {respond: hello, access_log: {output: none/app.log}}\n")
	i.signal(syscall.SIGHUP)
	line, from := i.await(from, "a refusal", func(l logLine) bool { return strings.HasPrefix(l.message(), "reload failed") })
	if !strings.Contains(line.raw, "none/app.log") || !strings.Contains(line.raw, "access_log") {
		t.Errorf("the refusal does not say why: %s", line.raw)
	}
	page(t, client, "https://app.localhost/still")
	holds(t, app, `"target":"/still"`)
	writeConfig(t, dir, "sites:\n  app.localhost: {respond: hello}\n")
	i.signal(syscall.SIGHUP)
	i.await(from, "a reload", func(l logLine) bool { return l.message() == "configuration reloaded" })
	page(t, client, "https://app.localhost/unseen")
	i.stop(syscall.SIGTERM)
	for _, file := range []string{app, app + ".1", plain} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, not := range []string{"s3cr3t", "/quiet", "/never/", "other", "/unseen"} {
			if strings.Contains(string(content), not) {
				t.Errorf("%s has %s:\n%s", file, not, content)
			}
		}
	}
}

func TestAFullDiskUnderALogStopsNoRequest(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	dir := shortDir(t)
	if err := os.Symlink("/dev/full", filepath.Join(dir, "app.log")); err != nil {
		t.Fatal(err)
	}
	i := start(t, nil, "run", "--config", writeConfig(t, dir, "sites:\n  app.localhost: {respond: hello, access_log: {output: app.log}}\n"))
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	for range 20 {
		if _, body := page(t, client, "https://app.localhost/"); body != "hello" {
			t.Fatalf("answered %q", body)
		}
	}
	line := i.awaitMessage(logging.Trouble)
	for _, want := range []string{"app.log", "no space left", "free space"} {
		if !strings.Contains(line.raw, want) {
			t.Errorf("no %q in %s", want, line.raw)
		}
	}
	for range 20 {
		page(t, client, "https://app.localhost/")
	}
	told := 0
	for _, l := range i.all() {
		if l.message() == logging.Trouble {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestANamedPipeThatNobodyReadsStopsNeitherStartNorReloadNorRequests(t *testing.T) {
	dir := shortDir(t)
	for _, name := range []string{"app.pipe", "log.pipe"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, address := filepath.Join(dir, "sallyport.yaml"), freePort(t)
	configure := func(output, body string) {
		writeFile(t, path, fmt.Sprintf("listen: {http: off, https: %q}\nstorage: storage\nlog: {format: json, output: %s}\nsites:\n  app.localhost: {respond: %s, access_log: {output: app.pipe}}\n", address, output, body))
	}
	configure("stderr", "hello")
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	for range 2000 { // more than the pipe holds
		if _, body := page(t, client, "https://app.localhost/?"+strings.Repeat("x", 100)); body != "hello" {
			t.Fatalf("answered %q", body)
		}
	}
	if line := i.awaitMessage(logging.Trouble); !strings.Contains(line.raw, "app.pipe") || !strings.Contains(line.raw, "stopped reading") {
		t.Errorf("told %s", line.raw)
	}
	configure("log.pipe", "again")
	i.signal(syscall.SIGHUP)
	until(t, "the reload holds", func() bool { _, body := page(t, client, "https://app.localhost/"); return body == "again" })
	i.signal(syscall.SIGUSR1)
	page(t, client, "https://app.localhost/")
	i.stop(syscall.SIGTERM)
	if i.endErr != nil {
		t.Errorf("it ended with %v", i.endErr)
	}
}

func TestABlockedStandardErrorStopsNothingAndIsOnTheStatusPage(t *testing.T) {
	dir := shortDir(t)
	address := freePort(t)
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, "listen: {http: off, https: \""+address+"\"}\nstorage: storage\nlog: {level: debug}\nsites:\n  app.localhost: {respond: hello}\n")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(read.Close(), write.Close()) }()
	if err := write.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(write, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{"sallyport", "run", "--config", path}
	cmd.Env, cmd.Dir, cmd.Stderr = []string{}, dir, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	root := filepath.Join(dir, "storage", "localca", "root.pem")
	until(t, "it serves", func() bool { _, err := os.Stat(filepath.Join(dir, "storage", "sallyport.sock")); return err == nil })
	until(t, "there is a root", func() bool { _, err := os.Stat(root); return err == nil })
	client := visitor(t, address, root)
	until(t, "it answers", func() bool {
		response, err := client.Get("https://app.localhost/")
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
	var status admin.Status
	until(t, "the event is on the status page", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := admin.NewClient(filepath.Join(dir, "storage", "sallyport.sock")).Get(ctx, "/v1/status", &status); err != nil {
			t.Fatal(err)
		}
		for _, event := range status.Events {
			if event.Message == logging.Trouble && strings.Contains(event.Hint, "log driver") {
				return true
			}
		}
		return false
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it does not stop")
		_ = cmd.Process.Kill()
		<-ended
	}
}

// endless is read for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
