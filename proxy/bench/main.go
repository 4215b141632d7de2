package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/account"
)

// options is the command line.
type options struct {
	rounds, seconds, workers int
	only, proxies            string
	json, table, profile     string
	generator                string
	list                     bool
	binaries                 map[string]string // by product
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == originCommand {
		signal.Ignore(os.Interrupt) // the bench stops it
		exit(serveOrigin(os.Stdin, os.Stdout))
	}
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, o, os.Stdout, os.Stderr))
}

// exit ends the program: 0 without an error, 130 if it was interrupted, else 1.
func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, context.Canceled):
		os.Exit(130)
	}
	fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	os.Exit(1)
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{binaries: make(map[string]string)}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rounds, "rounds", 5, "`times` that every proxy is measured in every case")
	flags.IntVar(&o.seconds, "seconds", 3, "`seconds` of load for each figure")
	flags.IntVar(&o.workers, "workers", 2, "worker processes or threads of each proxy")
	flags.StringVar(&o.only, "only", "", "run these `cases`, with commas between (--list names them)")
	flags.StringVar(&o.proxies, "proxies", "", "measure these `proxies`, with commas between (default: all that are installed)")
	flags.StringVar(&o.generator, "generator", "auto", "auto uses wrk and h2load where they are installed, builtin never")
	flags.StringVar(&o.json, "json", "", "write the result to this `file`, after each case")
	flags.StringVar(&o.table, "table", "", "print the result in this `file` as Markdown, and measure nothing")
	flags.StringVar(&o.profile, "profile", "", "write a profile of sallyport under load to this `file`, for the compiler (cmd/sallyport/default.pgo), and compare nothing")
	flags.BoolVar(&o.list, "list", false, "print the names of the cases, and measure nothing")
	for _, p := range products {
		flags.Func(p.name, p.name+" `binary` (default: from PATH; sallyport is built from this checkout)", func(path string) error {
			o.binaries[p.name] = path
			return nil
		})
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	complain := func(format string, args ...any) (options, error) {
		err := fmt.Errorf(format, args...)
		_, _ = fmt.Fprintf(stderr, "bench: %v\n", err)
		return options{}, err
	}
	switch {
	case flags.NArg() > 0:
		return complain("no arguments are taken, and there is %q; see --help", flags.Arg(0))
	case o.rounds < 1 || o.rounds > 1000, o.seconds < 1 || o.seconds > 600, o.workers < 1 || o.workers > 1000:
		return complain("--rounds is 1 to 1000, --seconds 1 to 600, --workers 1 to 1000")
	case o.generator != "auto" && o.generator != "builtin":
		return complain("--generator is auto or builtin")
	}
	return o, nil
}

// run does what the command line says.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.list {
		for _, w := range workloads {
			_, _ = fmt.Fprintf(stdout, "%-12s %s\n", w.name, w.title)
		}
		return nil
	}
	if o.table != "" {
		r, err := loadResult(o.table)
		if err != nil {
			return err
		}
		return printTable(stdout, r)
	}
	if o.profile != "" {
		o.only, o.proxies = cmp.Or(o.only, profiledCases), "sallyport"
	}
	selected, err := selectWorkloads(o.only)
	if err != nil {
		return err
	}
	return measureAll(ctx, o, selected, stdout, stderr)
}

// measureAll prepares everything that cases share, and runs them.
func measureAll(ctx context.Context, o options, selected []workload, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{
		dir: dir, rounds: o.rounds, duration: time.Duration(o.seconds) * time.Second, settle: 2 * time.Second, workers: o.workers,
		tell: func(format string, args ...any) { _, _ = fmt.Fprintf(stderr, "bench: "+format+"\n", args...) },
	}
	if b.identity, err = makeIdentity(dir); err != nil {
		return err
	}
	if o.profile != "" {
		b.tell("building sallyport for profiling")
		if o.binaries["sallyport"], err = buildProfiled(ctx, dir); err != nil {
			return err
		}
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return err
		}
	}
	if b.contenders, err = findContenders(ctx, o.proxies, o.binaries, dir, b.tell); err != nil {
		return err
	}
	b.findGenerators(o.generator)
	address, stop, err := startOrigin(o.workers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	b.origin = address
	if o.profile != "" {
		return b.profile(ctx, selected, o.profile)
	}
	return b.runAll(ctx, b.newResult(ctx, o), selected, o.json, stdout)
}

// findGenerators looks for wrk and h2load.
func (b *bench) findGenerators(which string) {
	if which == "builtin" {
		return
	}
	for name, into := range map[string]*string{"wrk": &b.wrk, "h2load": &b.h2load} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			b.tell("%s is not installed; the generator built in stands in for it", name)
			continue
		}
		*into = path
	}
}

// newResult is a result without cases.
func (b *bench) newResult(ctx context.Context, o options) *result {
	r := &result{
		Date: time.Now().UTC().Truncate(time.Second), Machine: account.Proc{}.Machine(runtime.NumCPU()),
		Versions: map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go")},
		Rounds:   o.rounds, Seconds: o.seconds, Workers: o.workers, Pool: pool,
	}
	for _, c := range b.contenders {
		r.Proxies = append(r.Proxies, c.name)
		r.Versions[c.name] = c.version
	}
	if b.wrk != "" {
		r.Versions["wrk"] = versionOf(ctx, b.wrk, "-v")
	}
	if b.h2load != "" {
		r.Versions["h2load"] = versionOf(ctx, b.h2load, "--version")
	}
	return r
}

// runAll runs the cases one after the other. What is there is printed and kept
// after each, so that an interruption loses one case.
func (b *bench) runAll(ctx context.Context, r *result, selected []workload, file string, stdout io.Writer) error {
	printMachine(stdout, r)
	for i, w := range selected {
		c, err := b.runCase(ctx, w)
		if err != nil {
			return err
		}
		r.Cases = append(r.Cases, c)
		r.Complete = i == len(selected)-1
		printCase(stdout, c)
		if file != "" {
			if err := r.save(file); err != nil {
				return err
			}
		}
	}
	return nil
}
