package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that the bench started, in a process group of its own.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with all it printed
	ended chan struct{} // closed when it has been waited for
}

// startProcess starts a program in dir, with an environment that says nothing
// but where it is at home and how many threads Go may use.
func startProcess(name, binary string, args []string, dir string, workers int) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the program has its own
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = []string{"HOME=" + dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", fmt.Sprintf("GOMAXPROCS=%d", workers)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := startBound(p.cmd, workers); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() { // ends with the process; stop waits for it
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// ready waits until the process accepts connections.
func (p *process) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-p.ended:
			return fmt.Errorf("%s ended at once: %s", p.name, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w: %s", p.name, address, context.Cause(ctx), p.lastWords())
		}
	}
}

// lastWords is the end of what the process printed.
func (p *process) lastWords() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "it printed nothing"
	}
	return text[max(0, len(text)-600):]
}

// stop ends the process and all it has started, gently at first, and waits. It
// returns an error if the process had ended before.
func (p *process) stop() error {
	select {
	case <-p.ended:
		p.kill()
		return fmt.Errorf("%s ended by itself (%v): %s", p.name, p.cmd.ProcessState, p.lastWords())
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	patience := time.AfterFunc(3*time.Second, p.kill)
	defer patience.Stop()
	<-p.ended
	return nil
}

// kill ends the process's whole group. Its number is not given to another as
// long as it has a member.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// freeAddress returns an address of 127.0.0.1 with a port that was free just now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// mainPackage is the program.
const mainPackage = "github.com/sallyport/sallyport/cmd/sallyport"

// build compiles sallyport from the checkout that the bench was started in.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "sallyport")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-o", binary, mainPackage)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("go build ./cmd/sallyport: %w\n%s", err, output), ctx.Err())
	}
	return binary, nil
}
