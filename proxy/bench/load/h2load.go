package load

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// H2load prepares h2load, for HTTP/2, with its files in dir. Like wrk it opens
// its connections within each run and runs for whole seconds.
func H2load(binary, dir string, plan Plan) (Session, error) {
	url, err := plan.url()
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "h2load.log")
	args := []string{"--threads=1", fmt.Sprintf("--clients=%d", plan.Connections), fmt.Sprintf("--max-concurrent-streams=%d", max(1, plan.Streams)),
		fmt.Sprintf("--duration=%d", plan.seconds()), "--log-file=" + log, "--header=accept: */*"}
	if len(plan.Body) > 0 {
		body := filepath.Join(dir, "h2load.body")
		if err := os.WriteFile(body, plan.Body, 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--data="+body)
	}
	return &program{
		binary: binary,
		args:   append(args, url),
		parse: func(output string) (Result, error) {
			result, err := parseH2load(output, plan.Size)
			if err != nil {
				return Result{}, err
			}
			file, err := os.Open(log)
			if err != nil {
				return Result{}, err
			}
			defer func() {
				_ = file.Close()
				_ = os.Remove(log) // h2load appends
			}()
			result.P50, result.P99, err = parseH2loadLog(file)
			return result, err
		},
	}, nil
}

// What h2load prints: counts, and sizes with the bytes in parentheses.
var (
	h2loadFinished = regexp.MustCompile(`(?m)^finished in ([0-9.]+)(us|ms|s),`)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: .*\((\d+)\) data$`)
	h2loadProtocol = regexp.MustCompile(`(?m)^Application protocol: (\S+)`)
)

// parseH2load reads h2load's summary. size is that of one response's body.
func parseH2load(output string, size int64) (Result, error) {
	if protocol := h2loadProtocol.FindStringSubmatch(output); protocol != nil && protocol[1] != "h2" {
		return Result{}, fmt.Errorf("h2load: the proxy chose protocol %s", protocol[1])
	}
	finished := h2loadFinished.FindStringSubmatch(output)
	requests, traffic := integers(h2loadRequests, output), integers(h2loadTraffic, output)
	if finished == nil || requests == nil || traffic == nil {
		return Result{}, fmt.Errorf("h2load: its output is not understood: %q", lastLine(output))
	}
	took, err := time.ParseDuration(finished[1] + finished[2])
	if err != nil {
		return Result{}, err
	}
	result := Result{Requests: float64(requests[1]), Duration: took}
	if size >= largeBody {
		result.Requests = float64(traffic[0]) / float64(size)
	}
	result.fail("status not 2xx", int(requests[2]-requests[3]))
	// requests: done, succeeded, failed (those in error too), in error, timed out.
	result.fail("stream error", int(requests[3]))
	result.fail("timeout", int(requests[4]))
	return result, nil
}

// integers returns the groups of a match, or nil if there is none.
func integers(pattern *regexp.Regexp, text string) []int64 {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return nil
	}
	numbers := make([]int64, 0, len(match)-1)
	for _, group := range match[1:] {
		number, err := strconv.ParseInt(group, 10, 64)
		if err != nil {
			return nil
		}
		numbers = append(numbers, number)
	}
	return numbers
}

// parseH2loadLog returns percentiles of the times in h2load's log: start time,
// status, and microseconds until the response was complete, tabs between them.
func parseH2loadLog(log io.Reader) (p50, p99 time.Duration, err error) {
	var all []time.Duration
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 {
			return 0, 0, fmt.Errorf("h2load: a log line is not understood: %q", lines.Text())
		}
		if fields[1] == "-1" {
			continue // failed, and counted as such
		}
		took, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, time.Duration(took)*time.Microsecond)
	}
	slices.Sort(all)
	return quantile(all, 0.50), quantile(all, 0.99), lines.Err()
}
