package main

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/account"
)

// peak keeps the largest memory seen.
func (e *entrant) peak(m account.Memory) {
	e.memory.PSS = max(e.memory.PSS, m.PSS)
	e.memory.PeakRSS = max(e.memory.PeakRSS, m.PeakRSS)
}

// watchMemory looks at the proxy's memory five times a second, and once more
// when stop is called, which waits.
func (b *bench) watchMemory(ctx context.Context, e *entrant) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		again := time.NewTicker(time.Second / 5)
		defer again.Stop()
		for {
			select {
			case <-again.C:
			case <-ctx.Done():
			}
			if m, err := b.proc.Memory(e.running.pid); err == nil {
				e.peak(m)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// books is the state of the accounts when a trial began.
type books struct {
	proc                  account.Proc
	pid                   int
	at                    time.Time
	proxy, machine, bench time.Duration
}

func (b *bench) openBooks(pid int) (*books, error) {
	k := &books{proc: b.proc, pid: pid}
	return k, k.read()
}

func (k *books) read() (err error) {
	k.at = time.Now()
	if k.machine, err = k.proc.Busy(); err != nil {
		return err
	}
	if k.bench, err = k.proc.CPU(os.Getpid()); err != nil { // the proxies are our children
		return err
	}
	k.proxy, err = k.proc.CPU(k.pid)
	return err
}

// close returns the processor time that the proxy has used since, and the share
// of all processors that was used by nobody of the bench.
func (k *books) close() (used time.Duration, others float64, err error) {
	now := &books{proc: k.proc, pid: k.pid}
	if err := now.read(); err != nil {
		return 0, 0, err
	}
	foreign := (now.machine - k.machine) - (now.bench - k.bench)
	return now.proxy - k.proxy, max(0, float64(foreign)/float64(now.at.Sub(k.at))/float64(runtime.NumCPU())), nil
}
