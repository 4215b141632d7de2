package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// upgradeTimeout is how long the new process may take until it serves.
const upgradeTimeout = 20 * time.Second

// Errors of an upgrade.
var (
	errUpgrading = errors.New("an upgrade is under way, or the process is stopping")
	errFirst     = errors.New("this process is the first of its container, which ends with it")
)

// successor is a process that takes over, as the old one sees it.
type successor struct {
	cmd   *exec.Cmd
	ready *os.File // to read from
	done  *os.File // to write to, see predecessor
}

func newUpgradeCommand() *cobra.Command {
	var o operator
	var binary string
	cmd := o.acting("upgrade", "Have another binary take over from the running instance",
		"Start the binary that is at the path of the running one now, or --binary, with the same\n"+
			"arguments; give it all sockets; and, when it serves, finish what is under way and\n"+
			"end. No connection is refused and no request cut. If the new process does not come\n"+
			"up within 20 seconds, the old one goes on as if nothing had been.",
		cobra.NoArgs, "/v1/upgrade", func([]string) url.Values { return url.Values{"binary": {binary}} })
	cmd.Flags().StringVar(&binary, "binary", "", "`path` of the new binary (default: where the running one was started from)")
	_ = cmd.MarkFlagFilename("binary")
	return cmd
}

// upgrade starts a process that takes over and returns its PID when it serves.
// On error nothing has changed.
func (c *control) upgrade(ctx context.Context, binary string) (int, error) {
	if !c.upgrading.TryLock() || c.edge.stopping.Load() {
		return 0, errUpgrading
	}
	defer c.upgrading.Unlock()
	if os.Getpid() == 1 {
		return 0, &exitError{err: errFirst, hint: "start a container of the new image instead"}
	}
	binary, err := newBinary(binary)
	if err != nil {
		return 0, err
	}
	c.reloading.Lock() // the sockets stay what they are
	defer c.reloading.Unlock()
	began := time.Now()
	next, err := c.startSuccessor(binary)
	if err != nil {
		c.edge.listeners.Keep()
		return 0, err
	}
	c.logger.Info("upgrade: started", zap.String("binary", binary), zap.Int("pid", next.cmd.Process.Pid))
	if err := next.await(context.WithoutCancel(ctx)); err != nil {
		c.edge.listeners.Keep()
		c.logger.Error("upgrade failed; this process keeps serving", zap.Error(err), zap.String("hint", hintOf(err)))
		return 0, err
	}
	c.logger.Info("upgrade: another process serves", zap.Int("pid", next.cmd.Process.Pid), zap.Int64("duration_ms", time.Since(began).Milliseconds()))
	c.tell(fmt.Sprintf("MAINPID=%d", next.cmd.Process.Pid))
	c.edge.stopping.Store(true)
	if c.edge.admin != nil {
		c.edge.admin.Leave()
	}
	c.replaced <- next
	return next.cmd.Process.Pid, nil
}

// newBinary returns what to start.
func newBinary(path string) (string, error) {
	var err error
	if path == "" {
		if path, err = os.Executable(); err != nil {
			return "", err
		}
		path = strings.TrimSuffix(path, " (deleted)")
	}
	if !filepath.IsAbs(path) {
		return "", &exitError{err: fmt.Errorf("%s is not an absolute path", path), hint: "the running process may be elsewhere: name the binary from / on"}
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("new binary: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", &exitError{err: fmt.Errorf("%s is not a program", path), hint: "chmod 755"}
	}
	return path, nil
}

// startSuccessor starts a process with our arguments and all our sockets.
func (c *control) startSuccessor(binary string) (*successor, error) {
	var what passedOn
	var files []*os.File // closed here; the process has copies
	defer func() {
		for _, file := range files {
			_ = file.Close()
		}
	}()
	pass := func(file *os.File) int {
		files = append(files, file)
		return firstPassed + len(files) - 1
	}
	sockets, err := c.edge.listeners.Files()
	if err != nil {
		return nil, err
	}
	for _, socket := range sockets {
		one := passedSocket{FD: pass(socket.File), Name: socket.Name, Address: socket.Address}
		if socket.Relay != nil {
			one.Relay = pass(socket.Relay)
		}
		what.Sockets = append(what.Sockets, one)
	}
	if c.edge.admin != nil {
		admins, err := c.edge.admin.Files()
		if err != nil {
			return nil, err
		}
		for _, file := range admins {
			what.Admin = append(what.Admin, pass(file))
		}
	}
	ready, tellReady, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	what.Ready = pass(tellReady)
	hearDone, done, err := os.Pipe()
	if err != nil {
		_ = ready.Close()
		return nil, err
	}
	what.Done = pass(hearDone)
	letter, err := writeTakeover(what)
	if err == nil {
		pass(letter)
		cmd := exec.Command(binary)
		cmd.Args = os.Args
		cmd.Env = c.service.environment()
		cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, files
		if err = cmd.Start(); err == nil {
			return &successor{cmd, ready, done}, nil
		}
	}
	_, _ = ready.Close(), done.Close()
	return nil, fmt.Errorf("new process: %w", err)
}

// await returns when the process serves. If it does not, it is ended.
func (s *successor) await(ctx context.Context) error {
	defer s.ready.Close()
	_ = s.ready.SetReadDeadline(time.Now().Add(upgradeTimeout))
	text, err := io.ReadAll(io.LimitReader(s.ready, 64<<10))
	if err == nil && string(text) == readyWord {
		go func() { _ = s.cmd.Wait() }() // it outlives us; should it not, it is no zombie
		return nil
	}
	_ = s.done.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	ended := s.cmd.Wait()
	switch {
	case err != nil:
		return &exitError{err: fmt.Errorf("the new process did not serve within %v", upgradeTimeout), hint: "its log is in the same place as ours"}
	case len(text) == 0:
		return &exitError{err: fmt.Errorf("the new process ended: %v", ended), hint: "its log is in the same place as ours"}
	}
	message, hint, _ := strings.Cut(string(text), "\n")
	return &exitError{err: fmt.Errorf("the new process could not start: %s", message), hint: hint}
}

// yield ends what only one process may do, and tells the other. It returns
// when that is told, or the edge has ended.
func (c *control) yield(next *successor, stop func()) {
	e := c.edge
	e.listeners.Yield()
	stop()
	e.leave()
	<-e.ordersEnded
	_, _ = next.done.Write([]byte{stoppedOrders}) // it may have ended
	_ = next.done.Close()
}
