package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// instance is a sallyport process under test.
type instance struct {
	t       *testing.T
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has ended and its output is read
	endErr  error         // read after ended
	stdout  strings.Builder
	changed *sync.Cond // a line came, or it ended

	mu    sync.Mutex
	lines []logLine
	over  bool
}

// logLine is one line of standard error: raw and, where it is JSON, decoded.
type logLine struct {
	raw    string
	fields map[string]any
}

func (l logLine) message() string { m, _ := l.fields["message"].(string); return m }

// start runs `sallyport ARGS` with exactly this environment. The process is
// ended with the test, and its log is shown if the test failed.
func start(t *testing.T, environment []string, args ...string) *instance {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = append([]string{"sallyport"}, args...)
	cmd.Env = environment
	return launch(t, cmd)
}

// launch is start for a command that becomes sallyport.
func launch(t *testing.T, cmd *exec.Cmd) *instance {
	t.Helper()
	i := &instance{t: t, cmd: cmd, ended: make(chan struct{})}
	i.changed = sync.NewCond(&i.mu)
	if cmd.Env == nil {
		i.cmd.Env = []string{} // nil would pass the test's own environment on
	}
	i.cmd.Dir = t.TempDir()
	i.cmd.Stdout = &i.stdout
	stderr, err := i.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go i.read(bufio.NewScanner(stderr))
	t.Cleanup(func() {
		i.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("standard error of the process:\n%s", i.log())
		}
	})
	return i
}

func (i *instance) read(lines *bufio.Scanner) {
	defer close(i.ended)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := logLine{raw: lines.Text()}
		_ = json.Unmarshal(lines.Bytes(), &line.fields) // a panic trace is not JSON
		i.mu.Lock()
		i.lines = append(i.lines, line)
		i.mu.Unlock()
		i.changed.Broadcast()
	}
	i.endErr = i.cmd.Wait()
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
	i.changed.Broadcast()
}

// await waits for a log line that match accepts, from the given one on, and
// returns it with the number of the line after it.
func (i *instance) await(from int, what string, match func(logLine) bool) (logLine, int) {
	i.t.Helper()
	late := time.AfterFunc(patience, func() {
		i.mu.Lock()
		i.over = true
		i.mu.Unlock()
		i.changed.Broadcast()
	})
	defer late.Stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := from; ; n++ {
		for n >= len(i.lines) {
			if i.over {
				i.t.Fatalf("never logged: %s", what)
			}
			i.changed.Wait()
		}
		if match(i.lines[n]) {
			return i.lines[n], n + 1
		}
	}
}

// awaitMessage waits for a line with this message.
func (i *instance) awaitMessage(message string) logLine {
	i.t.Helper()
	line, _ := i.await(0, message, func(l logLine) bool { return l.message() == message })
	return line
}

// seen returns how many lines have come so far.
func (i *instance) seen() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.lines)
}

// all returns the lines that have come so far.
func (i *instance) all() []logLine {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.lines)
}

// log returns all of standard error.
func (i *instance) log() string {
	var all strings.Builder
	for _, line := range i.all() {
		all.WriteString(line.raw + "\n")
	}
	return all.String()
}

// https returns where the process listens for HTTPS.
func (i *instance) https() string {
	i.t.Helper()
	addresses, _ := i.awaitMessage("serving").fields["https"].([]any)
	if len(addresses) == 0 {
		i.t.Fatal("the process serves nowhere")
	}
	return addresses[0].(string)
}

func (i *instance) signal(s syscall.Signal) {
	i.t.Helper()
	if err := i.cmd.Process.Signal(s); err != nil {
		i.t.Fatal(err)
	}
}

// stop ends the process and waits for it; calling it again does nothing.
func (i *instance) stop(s syscall.Signal) {
	_ = i.cmd.Process.Signal(s)
	late := time.AfterFunc(20*time.Second, func() { _ = i.cmd.Process.Kill() })
	defer late.Stop()
	<-i.ended
}

// proc returns a file of the process in /proc.
func (i *instance) proc(file string) string {
	i.t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", i.cmd.Process.Pid, file))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(content)
}

// writeConfig writes a configuration for a process under test: ports of the
// system's choice, a JSON log at debug level and storage of its own.
func writeConfig(t *testing.T, dir, rest string) string {
	t.Helper()
	head := `listen: {http: "127.0.0.1:0", https: "127.0.0.1:0"}
storage: storage
log: {level: debug, format: json}
`
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, head+rest)
	return path
}

// writeFile replaces a file in one step, readable by its owner.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// shortDir is a directory whose path is short enough for a unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// portOf returns the port of host:port.
func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
