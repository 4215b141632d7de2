package pressure

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// paced returns a pacer at work, and the limits that it gives the runtime.
func paced(t *testing.T, percent int, limit int64) (*Pacer, chan int64) {
	t.Helper()
	percentBefore, limitBefore := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	p := NewPacer()
	limits := make(chan int64, 100)
	set := p.set
	p.set = func(limit int64) { set(limit); limits <- limit }
	t.Cleanup(func() {
		p.Stop()
		debug.SetGCPercent(percentBefore)
		debug.SetMemoryLimit(limitBefore)
	})
	p.Set(percent, limit)
	return p, limits
}

// awaitLimit collects until the runtime has a limit that is right.
func awaitLimit(t *testing.T, limits chan int64, right func(int64) bool) {
	t.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	last := int64(-1)
	for {
		select {
		case last = <-limits:
			if right(last) {
				return
			}
		case <-again.C:
			runtime.GC()
		case <-late.C:
			t.Fatalf("the limit stayed %d", last)
		}
	}
}

func TestTheLimitFollowsWhatIsInUse(t *testing.T) {
	p, limits := paced(t, 800, 0)
	if p.Limit() != math.MaxInt64 {
		t.Errorf("without a limit it is %d", p.Limit())
	}
	awaitLimit(t, limits, func(n int64) bool { return n == leastLimit })
	kept := make([][]byte, 256)
	for i := range kept {
		kept[i] = make([]byte, 1<<20)
	}
	awaitLimit(t, limits, func(n int64) bool { return n > 400<<20 && n < 600<<20 })
	runtime.KeepAlive(kept)
	kept = nil
	awaitLimit(t, limits, func(n int64) bool { return n == leastLimit })
}

func TestTheLimitIsNeverPastTheOneThatMustBeKept(t *testing.T) {
	p, limits := paced(t, 800, 100<<20)
	if p.Limit() != 100<<20 {
		t.Errorf("the limit is %d", p.Limit())
	}
	kept := make([][]byte, 80)
	for i := range kept {
		kept[i] = make([]byte, 1<<20)
	}
	awaitLimit(t, limits, func(n int64) bool {
		if n > 100<<20 {
			t.Errorf("the limit was %d", n)
		}
		return n == 100<<20
	})
	runtime.KeepAlive(kept)
	p.Set(800, 20<<20)
	awaitLimit(t, limits, func(n int64) bool { return n == 20<<20 })
}

func TestAStoppedPacerSetsNothing(t *testing.T) {
	p, limits := paced(t, 800, 0)
	p.Stop()
	for len(limits) > 0 {
		<-limits
	}
	kept := make([]byte, 256<<20)
	for range 5 {
		runtime.GC()
	}
	runtime.KeepAlive(kept)
	if len(limits) > 0 {
		t.Errorf("it has set %d", <-limits)
	}
}

func TestTheNearLimit(t *testing.T) {
	for used, want := range map[uint64]uint64{0: 48, 10: 48, 32: 48, 40: 60, 64: 96, 96: 144, 200: 352, 1000: 1952} {
		if got := nearLimit(used << 20); got != want<<20 {
			t.Errorf("with %d MiB in use it is %d, want %d", used, got>>20, want)
		}
	}
}
