package pressure

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestReliefComesBeforeRefusalAndAllPassesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		g := New(Options{Percent: 85, Logger: zap.New(core)})
		var used, given atomic.Int64
		var helps atomic.Bool
		used.Store(10)
		helps.Store(true)
		g.measure = func() (uint64, uint64) { return uint64(used.Load()) * 1000, 100_000 }
		g.collect = func() {}
		g.OnShort(func() {
			given.Add(1)
			if helps.Load() {
				used.Store(80)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- g.Run(ctx) }()
		pass := func() { time.Sleep(defaultInterval); synctest.Wait() }

		pass()
		if given.Load() != 0 || g.Refusing() || logs.Len() != 0 {
			t.Errorf("with memory to spare: %d, %v, %v", given.Load(), g.Refusing(), logs.All())
		}
		used.Store(90)
		pass()
		if given.Load() != 1 || g.Refusing() {
			t.Errorf("what was given back sufficed, but: %d, refusing %v", given.Load(), g.Refusing())
		}
		helps.Store(false)
		used.Store(95)
		pass()
		if given.Load() != 2 || !g.Refusing() {
			t.Errorf("nothing helped, but: %d, refusing %v", given.Load(), g.Refusing())
		}
		used.Store(80)
		pass()
		if given.Load() != 3 || g.Refusing() {
			t.Errorf("below the threshold, not yet below relief: %d, refusing %v", given.Load(), g.Refusing())
		}
		used.Store(70)
		pass()
		pass()
		if given.Load() != 3 || g.Refusing() || logs.Len() != 2 {
			t.Errorf("after it was over: %d, %v, %v", given.Load(), g.Refusing(), logs.All())
		}
		used.Store(100)
		pass()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || g.Refusing() {
			t.Errorf("at the end: %v, refusing %v", err, g.Refusing())
		}
	})
}

func TestGarbageIsNotInUse(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	runtime.GC()
	m := newMeter()
	before, limit := m.read()
	if limit != 1<<30 || before == 0 {
		t.Fatalf("read %d of %d", before, limit)
	}
	for range 64 {
		sink = make([]byte, 1<<20)
	}
	if after, _ := m.read(); after > before+16<<20 {
		t.Errorf("64 MiB of garbage count: %d, before %d", after, before)
	}
	var kept [][]byte
	for range 64 {
		kept = append(kept, make([]byte, 1<<20))
	}
	runtime.GC()
	if after, _ := m.read(); after < before+60<<20 {
		t.Errorf("64 MiB that are kept do not count: %d, before %d", after, before)
	}
	runtime.KeepAlive(kept)
}

var sink []byte

func TestALookIsCheapAndAllocatesNothing(t *testing.T) {
	m := newMeter()
	if n := testing.AllocsPerRun(100, func() { m.read() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLook(b *testing.B) {
	m := newMeter()
	b.ReportAllocs()
	for b.Loop() {
		m.read()
	}
}

func TestWhatABurstLeftIsClearedAwayAtRest(t *testing.T) {
	g := New(Options{Logger: zap.NewNop()})
	waste, allocated, tidied := uint64(0), uint64(0), 0
	g.waste = func() (uint64, uint64) { return waste, allocated }
	g.tidy = func() { tidied++ }
	step := func(alloc, left uint64) { allocated += alloc; waste = left; g.rest() }
	for range 10 {
		step(2<<20, 100<<20) // under load
	}
	if tidied != 0 {
		t.Error("under load")
	}
	for range 10 {
		step(1000, 1<<20) // at rest, with nothing to gain
	}
	if tidied != 0 {
		t.Error("for next to nothing")
	}
	for range 10 {
		step(1000, 100<<20)
	}
	if tidied != 1 {
		t.Errorf("%d times at rest", tidied)
	}
}

// Goroutines that have ended leave grown stacks, which are no waste in the
// runtime's figures.
func TestAfterMuchWasAllocatedStacksAreClearedAwayToo(t *testing.T) {
	g := New(Options{Logger: zap.NewNop()})
	allocated, tidied := uint64(0), 0
	g.waste = func() (uint64, uint64) { return 1 << 20, allocated }
	g.tidy = func() { tidied++ }
	for range 10 {
		allocated += 4 << 20
		g.rest()
	}
	for range 10 {
		g.rest()
	}
	if tidied != 1 {
		t.Errorf("%d times after a burst", tidied)
	}
	g.tidied = g.tidied.Add(-tidyEvery)
	for range 10 {
		g.rest()
	}
	if tidied != 1 {
		t.Error("again, though nothing has happened")
	}
}
