package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/origin"
)

// originCommand is the hidden subcommand that makes this binary the server
// behind the proxies.
const originCommand = "origin"

// serveOrigin prints its address and serves until its standard input ends,
// which it does however the bench ends.
func serveOrigin(stdin io.Reader, stdout io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, listener.Addr()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the process at the latest
		defer cancel()
		_, _ = io.Copy(io.Discard, stdin)
	}()
	return origin.Serve(ctx, listener)
}

// startOrigin runs this binary again as the server behind, so that its
// processor time is not the bench's. stop ends it.
func startOrigin(workers int) (address string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, originCommand)
	cmd.Env = []string{} // nothing from ours
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := startBound(cmd, workers); err != nil {
		return "", nil, err
	}
	stop = func() error {
		_ = stdin.Close()
		patience := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
		defer patience.Stop()
		return cmd.Wait()
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = stop()
		return "", nil, fmt.Errorf("the server behind did not start: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}
