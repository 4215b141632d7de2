package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upgraded waits until another process serves, and sees to its end.
func upgraded(t *testing.T, i *instance, from int) (pid int) {
	t.Helper()
	line, _ := i.await(from, "upgrade: another process serves", func(l logLine) bool { return l.message() == "upgrade: another process serves" })
	n, _ := line.fields["pid"].(float64)
	t.Cleanup(func() { _ = syscall.Kill(int(n), syscall.SIGTERM) })
	return int(n)
}

func TestUpgradeUnderLoadFailsNoRequest(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, "limits: {shutdown_timeout: 20s}\n"+internalSite(echo(t).URL))
	i := start(t, nil, "run", "--config", path)
	load := begin(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"), 200, 0)
	load.settled(100)
	var out, errs strings.Builder
	if code := execute(sealing{}, []string{"upgrade", "--config", path}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	pid := upgraded(t, i, 0)
	if !strings.Contains(out.String(), fmt.Sprint(pid)) {
		t.Errorf("it says %q, and the pid is %d", out.String(), pid)
	}
	awaitExit(t, i)
	load.settled(100)
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("%d requests were served and %d failed, such as\n%s", load.served.Load(), len(failures), strings.Join(failures[:min(len(failures), 5)], "\n"))
	}
	// The new one is asked by the same socket, and can be replaced itself.
	if code := execute(sealing{}, []string{"healthcheck", "--config", path}, io.Discard, &errs); code != exitOK {
		t.Errorf("healthcheck: %d %s", code, errs.String())
	}
	_ = syscall.Kill(pid, syscall.SIGQUIT)
	for deadline := time.Now().Add(patience); ; {
		if _, err := os.Stat(filepath.Join(dir, "storage", "sallyport.sock")); err != nil {
			break // it tidied up
		}
		if time.Now().After(deadline) {
			t.Fatal("the new process does not stop, or leaves its socket behind")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// awaitExit waits for the end of the process, whose output others may still have
// open.
func awaitExit(t *testing.T, i *instance) {
	t.Helper()
	i.awaitMessage("stopped")
}

func TestUpgradeToWhatDoesNotComeUpChangesNothing(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite(echo(t).URL))
	i := start(t, nil, "run", "--config", path)
	load := begin(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"), 100, 5)
	try := func(want, hint string, args ...string) {
		t.Helper()
		var errs strings.Builder
		if code := execute(sealing{}, append([]string{"upgrade", "--config", path}, args...), io.Discard, &errs); code != exitFailure {
			t.Errorf("exit code %d", code)
		}
		if !strings.Contains(errs.String(), want) || !strings.Contains(errs.String(), hint) {
			t.Errorf("it says %q, want %q and %q", errs.String(), want, hint)
		}
	}
	try("the new process ended", "log", "--binary", "/bin/false")
	try("no such file", "", "--binary", "/nonexistent/sallyport")
	try("not a program", "chmod", "--binary", path)
	writeFile(t, path, "sites: {app.localhost: 'http://'}\n")
	errs := new(strings.Builder)
	if code := execute(sealing{}, []string{"upgrade", "--socket", filepath.Join(dir, "storage", "sallyport.sock")}, io.Discard, errs); code != exitFailure || !strings.Contains(errs.String(), "could not start") {
		t.Errorf("a bad configuration: %d %s", code, errs)
	}
	load.settled(50)
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("%d failures, such as %s", len(failures), failures[0])
	}
	// Handing sockets on must leave ours as they are: one that blocks could
	// not be closed.
	began := time.Now()
	i.stop(syscall.SIGTERM)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestRestartWithPassedSocketsFailsNoRequest restarts as systemd does: the
// sockets stay open between one process and the next.
func TestRestartWithPassedSocketsFailsNoRequest(t *testing.T) {
	if raced {
		t.Skip("the load is more than the race detector carries")
	}
	dir := shortDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, fmt.Sprintf("listen: {http: off, https: %q}\nstorage: storage\nlog: {level: debug, format: json}\nlimits: {shutdown_timeout: 3s}\n%s", l.Addr(), internalSite(echo(t).URL)))
	run := func() *instance {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// LISTEN_PID has to be that of the process, which a shell knows.
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=https exec "$0" run --config "$1"`, link(t, exe), path)
		cmd.ExtraFiles = []*os.File{file}
		return launch(t, cmd)
	}
	i := run()
	load := begin(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"), 200, 0)
	for range 3 {
		load.settled(50)
		i.stop(syscall.SIGQUIT)
		if i.endErr != nil {
			t.Fatal(i.endErr)
		}
		i = run()
		i.awaitMessage("serving")
	}
	load.settled(50)
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("%d requests were served and %d failed, such as\n%s", load.served.Load(), len(failures), strings.Join(failures[:min(len(failures), 5)], "\n"))
	}
}

// link gives the test's program the name by which it is sallyport.
func link(t *testing.T, exe string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "sallyport")
	if err := os.Symlink(exe, name); err != nil {
		t.Fatal(err)
	}
	return name
}
