package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// build compiles sallyport from the checkout that the sandbox was started in.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "sallyport")
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo=off", "-o", binary, "github.com/sallyport/sallyport/cmd/sallyport")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/sallyport: %w\n%s", err, output)
	}
	return binary, nil
}

// process is a running sallyport.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and its log is read
	err   error         // how it ended; read after ended

	mu  sync.Mutex
	log strings.Builder // everything it logged
}

// startProcess runs binary with exactly this environment and shows its log.
func startProcess(binary, config string, environment []string, out io.Writer) (*process, error) {
	p := &process{cmd: exec.Command(binary, "run", "--config", config), ended: make(chan struct{})}
	p.cmd.Env = environment
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the sandbox, which then stops it
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process; close waits for it
		defer close(p.ended)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			_, _ = fmt.Fprintf(out, "      | %s\n", lines.Text())
		}
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// logged returns everything that the process has logged.
func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// environment returns the environment that the kernel holds for the process.
func (p *process) environment() (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("only Linux shows the environment of a process")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid))
	return string(text), err
}

// stop ends the process gracefully, or hard when it does not listen, and waits
// for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	patience := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer patience.Stop()
	<-p.ended
	return p.err
}
