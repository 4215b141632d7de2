package load

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

// largeBody is the size from which on requests are counted by bytes received:
// a generator that stops in the middle of some should not lose them.
const largeBody = 100 << 10

// wrkScript makes wrk send what the plan says, and print what it counted in a
// form that does not change with the size of numbers.
const wrkScript = `wrk.method = %q
wrk.headers["Accept"] = "*/*"
if %d > 0 then
  wrk.body = string.rep("x", %d)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("bench requests=%%d bytes=%%d duration=%%d p50=%%d p99=%%d connect=%%d read=%%d write=%%d status=%%d timeout=%%d\n",
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
`

// program is a Session that starts a program for each run.
type program struct {
	binary string
	args   []string
	parse  func(output string) (Result, error)
}

// Wrk prepares wrk, for HTTP/1.1, with a script in dir. It opens its
// connections, handshakes included, within each run, and runs for whole
// seconds. plan.Body is sent as so many x.
func Wrk(binary, dir string, plan Plan) (Session, error) {
	script := filepath.Join(dir, "wrk.lua")
	content := fmt.Sprintf(wrkScript, plan.Method, len(plan.Body), len(plan.Body))
	if err := os.WriteFile(script, []byte(content), 0o600); err != nil {
		return nil, err
	}
	url, err := plan.url()
	if err != nil {
		return nil, err
	}
	return &program{
		binary: binary,
		args: []string{"--threads", "1", "--connections", fmt.Sprint(plan.Connections),
			"--duration", fmt.Sprint(plan.seconds()), "--timeout", fmt.Sprint(int(patience.Seconds())), "--script", script, url},
		parse: func(output string) (Result, error) { return parseWrk(output, plan.Size) },
	}, nil
}

// url is what a program outside of this one is called with.
func (p *Plan) url() (string, error) {
	_, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return "", err
	}
	return "https://" + net.JoinHostPort(p.name(0), port) + p.Path, nil
}

// seconds is the duration in whole seconds, at least one.
func (p *Plan) seconds() int { return max(1, int(p.Duration.Round(time.Second).Seconds())) }

func (p *program) Run(ctx context.Context) (Result, error) {
	cmd := exec.CommandContext(ctx, p.binary, p.args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w: %s", filepath.Base(p.binary), err, lastLine(string(output)))
	}
	return p.parse(string(output))
}

func (p *program) Close() {}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// parseWrk reads the line of the script among what wrk prints. size is that of
// one response's body.
func parseWrk(output string, size int64) (Result, error) {
	_, line, ok := strings.Cut("\n"+output, "\nbench ")
	if !ok {
		return Result{}, errors.New("wrk: its output lacks the line of our script")
	}
	line, _, _ = strings.Cut(line, "\n")
	var requests, bytes, duration, p50, p99 int64
	var connect, read, write, status, timeout int
	if _, err := fmt.Sscanf(line, "requests=%d bytes=%d duration=%d p50=%d p99=%d connect=%d read=%d write=%d status=%d timeout=%d",
		&requests, &bytes, &duration, &p50, &p99, &connect, &read, &write, &status, &timeout); err != nil {
		return Result{}, fmt.Errorf("wrk: %q: %w", line, err)
	}
	result := Result{
		Requests: float64(requests - int64(status)),
		Duration: time.Duration(duration) * time.Microsecond,
		P50:      time.Duration(p50) * time.Microsecond,
		P99:      time.Duration(p99) * time.Microsecond,
	}
	if size >= largeBody {
		result.Requests = float64(bytes) / float64(size)
	}
	result.fail("connect", connect)
	result.fail("read", read)
	result.fail("write", write)
	result.fail("status not 2xx", status)
	result.fail("timeout", timeout)
	return result, nil
}
