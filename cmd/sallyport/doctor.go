package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/tlsmgr"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/survey"
)

// doctorTimeout bounds doctor as a whole; what has not answered by then is
// reported as unknown.
const doctorTimeout = 2 * time.Minute

// severity is how bad a finding is.
type severity string

// The severities. Only levelError makes an exit code.
const (
	levelOK      severity = "ok"
	levelNote    severity = "note"    // worth knowing
	levelWarning severity = "warning" // will be trouble, or is trouble for some
	levelUnknown severity = "unknown" // could not be found out
	levelError   severity = "ERROR"
)

// finding is one line of doctor's report. None of its texts holds a secret.
type finding struct {
	Check   string   `json:"check"` // the name of the step
	Level   severity `json:"level"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
}

// doctor looks at one installation.
type doctor struct {
	operator
	credentialsDir, unit, compose string
	offline, writeProbe           bool
	sealed                        sealing

	cfg      *config.Config
	settings tlsmgr.Settings
	running  *admin.Status // nil: no process answers
	mux      *cloudflare.Mux
	survey   *survey.Survey
	ca       func() (survey.Directory, error) // asked once
}

// step is one thing that doctor looks at.
type step struct {
	name    string
	network bool // it asks the outside world
	run     func(*doctor, context.Context) []finding
}

// checkups returns the steps that need a configuration, in the order of the
// report.
func checkups() []step {
	return []step{
		{"config", false, (*doctor).configFile},
		{"files", false, (*doctor).paths},
		{"environment", false, (*doctor).environment},
		{"unit", false, (*doctor).unitFile},
		{"compose", false, (*doctor).composeFile},
		{"storage", false, (*doctor).storageDir},
		{"ports", false, (*doctor).ports},
		{"certificates", false, (*doctor).certificates},
		{"rate_limit", false, (*doctor).rateLimit},
		{"ca", true, (*doctor).authority},
		{"clock", true, (*doctor).clock},
		{"token", true, (*doctor).tokens},
		{"caa", true, (*doctor).caa},
		{"dns", true, (*doctor).names},
	}
}

func newDoctorCommand(sealed sealing) *cobra.Command {
	d := doctor{sealed: sealed}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for whatever is wrong, before or during trouble",
		Long: "Look at everything that can be looked at, and say in one line each what is wrong and\n" +
			"what to do: the configuration and its files, the storage, the ports, variables that\n" +
			"mislead, the running instance, renewals that are due; and, unless --offline, the CA\n" +
			"and its clock, each token, CAA records and the DNS of each name. Nothing is changed,\n" +
			"except that --write-probe writes and deletes a TXT record in each zone.\n\n" +
			"Run it as the user that sallyport runs as, where it runs: in its container, too.\n\n" +
			"Exit codes: 0 nothing is wrong, though there may be warnings; 1 something is; 2 wrong\n" +
			"command line; 3 the configuration or a file it names is wrong; 4 a credential is not\n" +
			"fit for its zones.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.offline && d.writeProbe {
				return &exitError{code: exitUsage, err: errors.New("--offline and --write-probe exclude each other"), hint: "see sallyport doctor --help"}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			findings, err := d.examine(ctx)
			if err != nil {
				return err
			}
			if err := d.print(cmd.OutOrStdout(), findings, func(w io.Writer) { printFindings(w, findings) }); err != nil {
				return err
			}
			return verdict(findings)
		},
	}
	configFlag(cmd, &d.path)
	credentialsFlag(cmd, &d.credentialsDir)
	cmd.Flags().StringVar(&d.socket, "socket", "", "control socket `path` (default: what the configuration says)")
	cmd.Flags().BoolVar(&d.offline, "offline", false, "ask nobody outside this machine")
	cmd.Flags().BoolVar(&d.writeProbe, "write-probe", false, "write and delete a TXT record in each zone, to see whether the tokens may")
	cmd.Flags().StringVar(&d.unit, "unit", "", "also look at this systemd unit `file`")
	cmd.Flags().StringVar(&d.compose, "compose", "", "also look at this compose `file`")
	return d.withJSON(cmd)
}

// verdict turns findings into an exit code.
func verdict(findings []finding) error {
	wrong := 0
	code := exitFailure
	for _, f := range findings {
		if f.Level != levelError {
			continue
		}
		wrong++
		switch {
		case f.Check == "config":
			code = exitConfig
		case f.Check == "token" && code != exitConfig:
			code = exitOnline
		}
	}
	if wrong == 0 {
		return nil
	}
	return &exitError{code: code, err: fmt.Errorf("%d found wrong", wrong), hint: "the lines that begin with ERROR say what and what to do"}
}

func printFindings(w io.Writer, findings []finding) {
	for _, f := range findings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Level, f.Check, strings.Map(harmless, oneLine(f.Message)))
		if f.Hint != "" {
			_, _ = fmt.Fprintf(w, "\t\thint: %s\n", strings.Map(harmless, oneLine(f.Hint)))
		}
	}
}

// examine runs all steps, side by side, and returns what they found in order.
func (d *doctor) examine(ctx context.Context) ([]finding, error) {
	roots, err := publicRoots()
	if err != nil {
		return nil, err
	}
	cfg, settings, problems, err := inspect(d.path, d.credentialsDir, roots)
	if err != nil {
		return nil, err
	}
	findings := []finding{}
	for _, p := range problems {
		f := finding{"config", levelError, p.Position.String() + ": " + p.Message, p.Hint}
		if p.Warning {
			f.Level = levelWarning
		}
		findings = append(findings, f)
	}
	if problems.Err() == nil {
		findings = append(findings, finding{"config", levelOK, d.path + " is valid", ""})
	}
	if cfg == nil {
		return append(findings, d.environment(ctx)...), nil
	}
	d.cfg, d.settings = cfg, settings
	findings = append(findings, d.process(ctx)...)
	d.prepare(ctx)
	return append(findings, d.all(ctx)...), nil
}

// prepare makes what several steps use.
func (d *doctor) prepare(ctx context.Context) {
	options := d.settings.Cloudflare
	options.Logger = zap.NewNop()
	if mux, err := cloudflare.New(options); err == nil { // else the configuration has said what is wrong
		d.mux = mux
	}
	d.survey = survey.New(survey.Options{Resolver: options.Resolver, Servers: d.settings.ACME.Resolvers, Roots: d.settings.ACME.Roots})
	d.ca = sync.OnceValues(func() (survey.Directory, error) { return d.survey.Directory(ctx, d.settings.ACME.Directory) })
}

// all runs the steps.
func (d *doctor) all(ctx context.Context) []finding {
	steps := checkups()
	results := make([][]finding, len(steps))
	var group sync.WaitGroup
	for i, one := range steps {
		if one.network && d.offline {
			continue
		}
		group.Go(func() { results[i] = one.run(d, ctx) })
	}
	group.Wait()
	for i, one := range steps {
		for j := range results[i] {
			results[i][j].Check = one.name
		}
	}
	return slices.Concat(results...)
}

// process asks the running instance how it is.
func (d *doctor) process(ctx context.Context) []finding {
	of := func(level severity, message, hint string) finding { return finding{"process", level, message, hint} }
	socket := d.socket
	if socket == "" {
		socket = d.cfg.SocketPath()
	}
	if socket == "" {
		return []finding{of(levelNote, "the control socket is off, so the running instance cannot be asked", "")}
	}
	status := new(admin.Status)
	err := admin.NewClient(socket).Get(ctx, "/v1/status", status)
	if failure, ok := errors.AsType[*admin.Error](err); ok {
		return []finding{of(levelNote, "no instance answers: "+failure.Error(), failure.Hint())}
	}
	if err != nil {
		return []finding{of(levelUnknown, "the running instance: "+err.Error(), "")}
	}
	d.running = status
	list := []finding{of(levelOK, fmt.Sprintf("sallyport %s runs as pid %d", status.Version, status.PID), "")}
	for _, problem := range status.Problems {
		list = append(list, of(levelError, "the instance is not well: "+problem, ""))
	}
	own, err := filepath.Abs(d.path)
	if loaded := status.Config; err == nil && loaded.Path != "" && filepath.Base(loaded.Path) == filepath.Base(own) && loaded.Hash != d.cfg.Hash() {
		list = append(list, of(levelWarning, fmt.Sprintf("the file is not what the instance has loaded (%s, loaded %s)", loaded.Hash, loaded.Path), "sallyport reload"))
	}
	if status.Config.Stale != "" {
		list = append(list, of(levelWarning, status.Config.Stale, staleHint))
	}
	if last := status.Config.Last; last != nil && !last.OK {
		list = append(list, of(levelWarning, "the last reload failed: "+last.Error, last.Hint))
	}
	for _, c := range status.Certificates {
		switch {
		case c.Error == "":
		case c.Serves:
			list = append(list, of(levelWarning, fmt.Sprintf("certificate of %s is not renewed (%s left): %s", c.Name, daysLeft(c), c.Error), c.Hint))
		default:
			list = append(list, of(levelError, "certificate of "+c.Name+" is not obtained: "+c.Error, c.Hint))
		}
	}
	for _, u := range status.Upstreams {
		for _, m := range u.Servers {
			if m.State == "down" {
				list = append(list, of(levelError, "server "+m.Address+" is down: "+m.Cause, "sallyport explain URL --online shows which requests go there"))
			}
		}
	}
	return list
}
