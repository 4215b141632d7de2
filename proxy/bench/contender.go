package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// contender is a proxy that takes part.
type contender struct {
	name    string
	version string

	// launch starts it. The instance listens on the setup's address when
	// launch returns.
	launch func(ctx context.Context, s setup) (*instance, error)
}

// instance is a running proxy.
type instance struct {
	address string
	pid     int // the root of its process tree
	stop    func() error
}

// reference is the contender that ratios are made to.
const reference = "nginx"

// product is a proxy that the bench knows how to run.
type product struct {
	name      string
	template  string // and the name of the configuration file
	version   []string
	arguments []string // started in the directory of the configuration
}

// products, in the order of the rounds.
var products = []product{
	{reference, "nginx.conf", []string{"-v"}, []string{"-e", "stderr", "-p", ".", "-c", "nginx.conf"}},
	{"haproxy", "haproxy.cfg", []string{"-v"}, []string{"-db", "-f", "haproxy.cfg"}},
	{"caddy", "Caddyfile", []string{"version"}, []string{"run", "--config", "Caddyfile", "--adapter", "caddyfile"}},
	{"sallyport", "sallyport.yaml", []string{"version"}, []string{"run", "--config", "sallyport.yaml"}},
}

// contender makes a product with a binary take part.
func (p product) contender(ctx context.Context, binary string) contender {
	return contender{
		name:    p.name,
		version: versionOf(ctx, binary, p.version...),
		launch: func(ctx context.Context, s setup) (*instance, error) {
			if err := s.write(p.template); err != nil {
				return nil, err
			}
			running, err := startProcess(p.name, binary, p.arguments, s.Dir, s.Workers)
			if err != nil {
				return nil, err
			}
			if err := running.ready(ctx, s.Address); err != nil {
				_ = running.stop()
				return nil, err
			}
			return &instance{address: s.Address, pid: running.cmd.Process.Pid, stop: running.stop}, nil
		},
	}
}

// versionNumber is a word that begins as a version number does.
var versionNumber = regexp.MustCompile(`^v?\d+\.\d+`)

// versionOf asks a program for its version; "" if it does not say.
func versionOf(ctx context.Context, binary string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	output, _ := exec.CommandContext(ctx, binary, args...).CombinedOutput() // wrk -v exits with 1
	return parseVersion(string(output))
}

// parseVersion finds the version in what programs print: "nginx version:
// nginx/1.22.1", or "sallyport 7a1d8f4cafe5 go1.26.8 linux/amd64".
func parseVersion(output string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(output), "\n")
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '/' })
	if i := slices.IndexFunc(words, versionNumber.MatchString); i >= 0 {
		return strings.TrimPrefix(words[i], "v")
	}
	return strings.Join(words[min(1, len(words)):min(2, len(words))], "")
}

// findContenders returns the products that take part: those of the list, with
// the binaries given or else found on PATH. sallyport is built unless given.
// What was not asked for by name and is not installed is left out, and told.
func findContenders(ctx context.Context, list string, binaries map[string]string, dir string, tell func(format string, args ...any)) ([]contender, error) {
	var wanted []string
	if list != "" {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if !slices.ContainsFunc(products, func(p product) bool { return p.name == name }) {
				return nil, fmt.Errorf("no proxy is called %q\nhint: nginx, haproxy, caddy, sallyport", name)
			}
			wanted = append(wanted, name)
		}
	}
	var found []contender
	for _, p := range products {
		if list != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		binary := binaries[p.name]
		var err error
		switch {
		case binary != "" || p.name != "sallyport":
			binary, err = findBinary(p.name, binary)
		default:
			tell("building sallyport")
			binary, err = build(ctx, dir)
		}
		if errors.Is(err, exec.ErrNotFound) && list == "" && binaries[p.name] == "" {
			tell("%s is not installed and left out", p.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, p.contender(ctx, binary))
	}
	if len(found) == 0 {
		return nil, errors.New("no proxy to measure\nhint: apt-get install nginx haproxy caddy")
	}
	return found, nil
}

// findBinary returns the absolute path of a program: the one given, or the one
// on PATH, which often lacks the sbin directories where nginx and HAProxy are.
func findBinary(name, given string) (string, error) {
	if given != "" {
		path, err := exec.LookPath(given)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return filepath.Abs(path)
	}
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// newSetup prepares a directory and an address for one start of a contender.
func (b *bench) newSetup(c contender, w workload) (setup, error) {
	dir, err := os.MkdirTemp(b.dir, c.name+"-")
	if err != nil {
		return setup{}, err
	}
	address, err := freeAddress()
	if err != nil {
		return setup{}, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return setup{}, err
	}
	files := openFiles()
	return setup{
		Dir: dir, Address: address, Port: port, Origin: b.origin,
		Certificate: b.identity.certificate, Key: b.identity.key, Combined: b.identity.combined,
		Hosts: filepath.Join(dir, "hosts.map"), Names: w.names(),
		Workers: b.workers, Pool: pool, Files: files, Connections: min(20000, files/2-500), Root: os.Geteuid() == 0,
	}, nil
}

// pool is how many idle connections each proxy keeps to the server behind: more
// than any case but the WebSockets has requests under way.
const pool = 256
