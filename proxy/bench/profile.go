package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// profiledCases are what a profile is made of, unless --only names others: the
// traffic of a proxy, small requests first of all.
const profiledCases = "h1-13b,h2-13b,h1-1k,h2-1k,h1-100k,h2-100k,h1-post,h2-post,tls-full,tls-resumed"

// profiler is a file that is added to the program while it is built for
// profiling, and is in no other build: the first SIGUSR2 starts a profile, the
// second writes it.
const profiler = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"syscall"
)

func init() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		<-asked
		name := DIRECTORY + "/" + strconv.Itoa(os.Getpid())
		file, err := os.Create(name + ".part")
		if err != nil || pprof.StartCPUProfile(file) != nil {
			return
		}
		<-asked
		pprof.StopCPUProfile()
		_ = file.Close()
		_ = os.Rename(name+".part", name)
	}()
}
`

// buildProfiled compiles sallyport with the profiler in it, which leaves
// profiles in dir. A profile that there is already is not used: it would shape
// the next one.
func buildProfiled(ctx context.Context, dir string) (binary string, err error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", mainPackage).Output()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", mainPackage, err)
	}
	source, overlay := filepath.Join(dir, "profiler.go"), filepath.Join(dir, "overlay.json")
	text := strings.Replace(profiler, "DIRECTORY", strconv.Quote(dir), 1)
	mapping, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(strings.TrimSpace(string(root)), "profiler_of_bench.go"): source},
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(source, []byte(text), 0o600), os.WriteFile(overlay, mapping, 0o600)); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "sallyport")
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo=off", "-overlay", overlay, "-o", binary, mainPackage)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("go build: %w\n%s", err, output), ctx.Err())
	}
	return binary, nil
}

// profile drives the cases and writes what sallyport did meanwhile, as a
// profile for the compiler.
func (b *bench) profile(ctx context.Context, selected []workload, into string) error {
	merge := []string{"tool", "pprof", "-proto", "-output", into}
	for _, w := range selected {
		b.tell("%s: profiling", w.name)
		file, err := b.profileCase(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		merge = append(merge, file)
	}
	if output, err := exec.CommandContext(ctx, "go", merge...).CombinedOutput(); err != nil {
		return fmt.Errorf("merging the profiles: %w\n%s", err, output)
	}
	b.tell("%s is written; the next build goes by it if it is cmd/sallyport/default.pgo", into)
	return nil
}

// profileCase returns the file with the profile of one case.
func (b *bench) profileCase(ctx context.Context, w workload) (string, error) {
	e := &entrant{contender: b.contenders[0]}
	defer e.end()
	if err := b.begin(ctx, e, w); err != nil {
		return "", err
	}
	pid := e.running.pid
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		return "", err
	}
	if _, err := b.measure(ctx, e, w); err != nil {
		return "", err
	}
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, strconv.Itoa(pid))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return "", errors.New("no profile was written")
		}
	}
}
