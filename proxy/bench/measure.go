package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/account"
	"github.com/sallyport/sallyport/proxy/bench/load"
)

// bench is what all cases share.
type bench struct {
	dir         string // removed at the end
	identity    *identity
	origin      string // address of the server behind
	contenders  []contender
	wrk, h2load string // binaries; "" uses the generators of our own
	rounds      int
	duration    time.Duration // of load for each figure
	settle      time.Duration // before memory of idle connections is read
	workers     int
	proc        account.Proc
	tell        func(format string, args ...any) // progress, for the user
}

// trial is one measurement: one case, one proxy, one round.
type trial struct {
	cpu      float64 // microseconds per request
	ratio    float64 // to the reference in the same round; 0 if there is none
	rate     float64
	p50, p99 float64 // milliseconds
	perIdle  float64 // KiB
	others   float64
	requests float64
	failed   map[string]int
}

// entrant is a contender in one case.
type entrant struct {
	contender contender
	running   *instance
	plan      load.Plan
	trials    []trial
	memory    account.Memory // peaks
	failure   error          // why it takes no more part
}

// runCase measures one workload: all proxies are started and checked, and then
// measured in turn, round after round. The error is the context's or our own;
// what goes wrong in a proxy is in its figures.
func (b *bench) runCase(ctx context.Context, w workload) (_ caseResult, err error) {
	var entrants []*entrant
	defer func() {
		for _, e := range entrants {
			e.end()
		}
	}()
	for _, c := range b.contenders {
		e := &entrant{contender: c}
		entrants = append(entrants, e)
		e.failure = b.begin(ctx, e, w)
	}
	for round := range b.rounds {
		b.tell("%s: round %d of %d", w.name, round+1, b.rounds)
		var base float64
		for _, e := range entrants {
			if ctx.Err() != nil {
				return caseResult{}, ctx.Err()
			}
			if e.failure != nil {
				continue
			}
			t, err := b.measure(ctx, e, w)
			if err != nil {
				e.failure = err
				continue
			}
			if e.contender.name == reference {
				base = t.cpu
			}
			if base > 0 {
				t.ratio = t.cpu / base
			}
			e.trials = append(e.trials, t)
		}
	}
	if ctx.Err() != nil {
		return caseResult{}, ctx.Err()
	}
	generator, _ := b.generator(w)
	report := caseResult{Name: w.name, Title: w.title, Unit: w.unit(), Generator: generator, Connections: w.connections, Streams: w.streams}
	for _, e := range entrants {
		e.end()
		report.Figures = append(report.Figures, e.figures())
	}
	return report, nil
}

// begin starts a proxy, checks it, and warms it up.
func (b *bench) begin(ctx context.Context, e *entrant, w workload) error {
	s, err := b.newSetup(e.contender, w)
	if err != nil {
		return err
	}
	if e.running, err = e.contender.launch(ctx, s); err != nil {
		return err
	}
	e.plan = w.plan()
	e.plan.Address, e.plan.Roots, e.plan.Duration = e.running.address, b.identity.roots, b.duration
	if err := check(ctx, w, e.plan); err != nil {
		return err
	}
	if w.kind == idleConnections {
		return nil // memory is to be counted from a cold start
	}
	warm := e.plan
	warm.Duration = min(b.duration, time.Second/2)
	_, open := b.generator(workload{kind: w.kind, builtin: true})
	session, err := open(ctx, warm)
	if err != nil {
		return err
	}
	defer session.Close()
	_, err = session.Run(ctx)
	return err
}

// end stops the proxy. One that had ended by itself has failed.
func (e *entrant) end() {
	if e.running != nil {
		e.failure = errors.Join(e.failure, e.running.stop())
		e.running = nil
	}
}

// generator returns the name of what makes the load of a workload, and how to
// open a session of it.
func (b *bench) generator(w workload) (name string, open func(context.Context, load.Plan) (load.Session, error)) {
	switch {
	case w.kind == newConnections:
		return "builtin", load.Handshakes
	case w.kind == webSockets:
		return "builtin", load.WebSockets
	case w.kind == http2Requests && !w.builtin && b.h2load != "":
		return "h2load", func(_ context.Context, plan load.Plan) (load.Session, error) {
			return load.H2load(b.h2load, b.dir, plan)
		}
	case w.kind == http2Requests:
		return "builtin", load.HTTP2
	case !w.builtin && b.wrk != "":
		return "wrk", func(_ context.Context, plan load.Plan) (load.Session, error) { return load.Wrk(b.wrk, b.dir, plan) }
	default:
		return "builtin", load.HTTP1
	}
}

// measure makes one trial.
func (b *bench) measure(ctx context.Context, e *entrant, w workload) (trial, error) {
	if w.kind == idleConnections {
		return b.measureIdle(ctx, e, w)
	}
	_, open := b.generator(w)
	session, err := open(ctx, e.plan)
	if err != nil {
		return trial{}, err
	}
	defer session.Close()
	stop := b.watchMemory(ctx, e)
	books, err := b.openBooks(e.running.pid)
	if err != nil {
		stop()
		return trial{}, err
	}
	done, err := session.Run(ctx)
	used, others, accountErr := books.close()
	stop()
	if err = errors.Join(err, accountErr); err != nil {
		return trial{}, err
	}
	if done.Requests <= 0 {
		return trial{}, fmt.Errorf("no %s succeeded: %s", w.unit(), done.Failures())
	}
	if w.kind == newConnections {
		share := float64(done.Resumed) / done.Requests
		if w.resume && share < 0.95 || !w.resume && share > 0 {
			return trial{}, fmt.Errorf("%.0f %% of the TLS sessions were resumed", 100*share)
		}
	}
	return trial{
		cpu:      float64(used) / float64(time.Microsecond) / done.Requests,
		rate:     done.Requests / done.Duration.Seconds(),
		p50:      milliseconds(done.P50),
		p99:      milliseconds(done.P99),
		others:   others,
		requests: done.Requests,
		failed:   done.Failed,
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measureIdle opens connections, sends one request on each, and reads by how
// much memory has grown. Each trial needs a new process, since none gives back
// all that it has once used.
func (b *bench) measureIdle(ctx context.Context, e *entrant, w workload) (trial, error) {
	if len(e.trials) > 0 {
		if e.end(); e.failure != nil {
			return trial{}, e.failure
		}
		if err := b.begin(ctx, e, w); err != nil {
			return trial{}, err
		}
	}
	before, err := b.proc.Memory(e.running.pid)
	if err != nil {
		return trial{}, err
	}
	open := load.HTTP1
	if w.streams > 0 {
		open = load.HTTP2
	}
	session, err := open(ctx, e.plan)
	if err != nil {
		return trial{}, err
	}
	defer session.Close()
	books, err := b.openBooks(e.running.pid)
	if err != nil {
		return trial{}, err
	}
	select {
	case <-time.After(b.settle):
	case <-ctx.Done():
		return trial{}, ctx.Err()
	}
	after, err := b.proc.Memory(e.running.pid)
	if err != nil {
		return trial{}, err
	}
	_, others, err := books.close()
	e.peak(after)
	return trial{
		perIdle:  float64(after.PSS-before.PSS) / 1024 / float64(e.plan.Connections),
		others:   others,
		requests: float64(e.plan.Connections),
	}, err
}

// figures summarises the trials.
func (e *entrant) figures() figures {
	f := figures{Proxy: e.contender.name}
	if e.failure != nil || len(e.trials) == 0 {
		f.Failure = fmt.Sprint(e.failure)
		return f
	}
	positive := func(figure func(trial) float64) *spread { // nil if it was not measured
		if s := collect(e.trials, figure); s.Max > 0 {
			return s
		}
		return nil
	}
	f.CPU = positive(func(t trial) float64 { return t.cpu })
	f.Ratio = positive(func(t trial) float64 { return t.ratio })
	f.Rate = positive(func(t trial) float64 { return t.rate })
	f.P50 = positive(func(t trial) float64 { return t.p50 })
	f.P99 = positive(func(t trial) float64 { return t.p99 })
	f.PerIdle = positive(func(t trial) float64 { return t.perIdle })
	f.Others = collect(e.trials, func(t trial) float64 { return t.others })
	f.PeakPSS, f.PeakRSS = e.memory.PSS, e.memory.PeakRSS
	for _, t := range e.trials {
		f.Requests += t.requests
		for reason, count := range t.failed {
			if f.Failed == nil {
				f.Failed = make(map[string]int)
			}
			f.Failed[reason] += count
		}
	}
	return f
}
