package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/mount"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/tlsmgr"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/survey"
)

// Options is one installation, and how closely to look at it.
type Options struct {
	Path     string          // of the configuration file
	Config   *config.Config  // nil: there is none to speak of, see Problems
	Settings tlsmgr.Settings // what is read from it
	Problems config.Problems // of both

	Socket        string // the control socket; empty is what the configuration says
	Unit, Compose string // further files to look at; empty is none
	Offline       bool   // ask nobody outside this machine
	WriteProbe    bool   // write and delete a record in each zone

	// Ignored are the misleading variables that were set where we were started.
	Ignored []string
	// Misleading picks, from NAME=VALUE or NAME, the names of those that lead
	// other programs astray; MisleadingHint says what to do about them.
	Misleading     func(variables []string) []string
	MisleadingHint string
}

// Severity is how bad a Finding is.
type Severity string

// The severities. Only Error makes an exit code.
const (
	OK      Severity = "ok"
	Note    Severity = "note"    // worth knowing
	Warning Severity = "warning" // will be trouble, or is trouble for some
	Unknown Severity = "unknown" // could not be found out
	Error   Severity = "ERROR"
)

// Finding is one line of doctor's report. None of its texts holds a secret.
type Finding struct {
	Check   string   `json:"check"` // the name of the step
	Level   Severity `json:"level"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
}

// doctor looks at one installation.
type doctor struct {
	Options
	running *admin.Status // nil: no process answers
	mux     *cloudflare.Mux
	survey  *survey.Survey
	ca      func() (survey.Directory, error) // asked once
}

// step is one thing that doctor looks at.
type step struct {
	name    string
	network bool // it asks the outside world
	run     func(*doctor, context.Context) []Finding
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

// Examine runs all steps, side by side, and returns what they found in order.
// What has not answered when ctx ends is reported as unknown or wrong.
func Examine(ctx context.Context, options Options) []Finding {
	d := doctor{Options: options}
	findings := []Finding{}
	for _, p := range d.Problems {
		f := Finding{"config", Error, p.Position.String() + ": " + p.Message, p.Hint}
		if p.Warning {
			f.Level = Warning
		}
		findings = append(findings, f)
	}
	if d.Problems.Err() == nil {
		findings = append(findings, Finding{"config", OK, d.Path + " is valid", ""})
	}
	if d.Config == nil {
		return append(findings, d.environment(ctx)...)
	}
	findings = append(findings, d.process(ctx)...)
	d.prepare(ctx)
	return append(findings, d.all(ctx)...)
}

// prepare makes what several steps use.
func (d *doctor) prepare(ctx context.Context) {
	options := d.Settings.Cloudflare
	options.Logger = zap.NewNop()
	if mux, err := cloudflare.New(options); err == nil { // else the configuration has said what is wrong
		d.mux = mux
	}
	d.survey = survey.New(survey.Options{Resolver: options.Resolver, Servers: d.Settings.ACME.Resolvers, Roots: d.Settings.ACME.Roots})
	d.ca = sync.OnceValues(func() (survey.Directory, error) { return d.survey.Directory(ctx, d.Settings.ACME.Directory) })
}

// all runs the steps.
func (d *doctor) all(ctx context.Context) []Finding {
	steps := checkups()
	results := make([][]Finding, len(steps))
	var group sync.WaitGroup
	for i, one := range steps {
		if one.network && d.Offline {
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
func (d *doctor) process(ctx context.Context) []Finding {
	of := func(level Severity, message, hint string) Finding { return Finding{"process", level, message, hint} }
	socket := d.Socket
	if socket == "" {
		socket = d.Config.SocketPath()
	}
	if socket == "" {
		return []Finding{of(Note, "the control socket is off, so the running instance cannot be asked", "")}
	}
	status := new(admin.Status)
	err := admin.NewClient(socket).Get(ctx, "/v1/status", status)
	if failure, ok := errors.AsType[*admin.Error](err); ok {
		if errors.Is(failure.Err, fs.ErrPermission) {
			return []Finding{of(Unknown, "whether an instance runs: "+failure.Error(), "run doctor as the user that sallyport runs as")}
		}
		return []Finding{of(Note, "no instance answers: "+failure.Error(), failure.Hint())}
	}
	if err != nil {
		return []Finding{of(Unknown, "the running instance: "+err.Error(), "")}
	}
	d.running = status
	list := []Finding{of(OK, fmt.Sprintf("sallyport %s runs as pid %d", status.Version, status.PID), "")}
	for _, problem := range status.Problems {
		list = append(list, of(Error, "the instance is not well: "+problem, ""))
	}
	own, err := filepath.Abs(d.Path)
	if loaded := status.Config; err == nil && loaded.Path != "" && filepath.Base(loaded.Path) == filepath.Base(own) && loaded.Hash != d.Config.Hash() {
		list = append(list, of(Warning, fmt.Sprintf("the file is not what the instance has loaded (%s, loaded %s)", loaded.Hash, loaded.Path), "sallyport reload"))
	}
	if status.Config.Stale != "" {
		list = append(list, of(Warning, status.Config.Stale, mount.StaleHint))
	}
	if last := status.Config.Last; last != nil && !last.OK {
		list = append(list, of(Warning, "the last reload failed: "+last.Error, last.Hint))
	}
	for _, c := range status.Certificates {
		switch {
		case c.Serves && c.DaysLeft != nil && *c.DaysLeft < 0:
			list = append(list, of(Error, "the certificate of "+c.Name+" has expired, and visitors are warned: "+cmp.Or(c.Error, "its renewal is under way"), c.Hint))
		case c.Error == "":
		case c.Serves:
			list = append(list, of(Warning, fmt.Sprintf("the certificate of %s is not renewed (days left: %s): %s", c.Name, c.Left(), c.Error), c.Hint))
		default:
			list = append(list, of(Error, "the certificate of "+c.Name+" is not obtained: "+c.Error, c.Hint))
		}
	}
	for _, u := range status.Upstreams {
		for _, m := range u.Servers {
			if m.State == "down" {
				list = append(list, of(Error, "server "+m.Address+" of upstream "+u.Name+" is down: "+strings.TrimPrefix(m.Cause, "server "+m.Address+": "),
					cmp.Or(m.Hint, "sallyport explain URL --online shows which requests go there")))
			}
		}
	}
	return list
}
