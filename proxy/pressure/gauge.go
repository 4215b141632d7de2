package pressure

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options shapes a [Gauge].
type Options struct {
	// Percent of the soft limit that may be in use before memory is short. It
	// is no longer short a tenth of the limit below. Zero or negative is 85.
	Percent int

	// Limit returns the most that may be in use, in bytes: the runtime's own
	// limit may be nearer, see [Pacer.Limit]. Nil is the runtime's own.
	Limit func() uint64

	// Interval between two looks. Zero or negative is 250 ms. One look takes
	// some microseconds.
	Interval time.Duration

	// Logger is told when memory becomes short and when it is over; required.
	Logger *zap.Logger
}

const (
	defaultPercent  = 85
	defaultInterval = 250 * time.Millisecond
	relief          = 10 // percent below which it is over

	// While memory is short, what is in use is only known after a collection.
	// They are forced at most this often, in case that nobody allocates any more.
	collectEvery = time.Second

	// What a burst has left behind is cleared away once nothing is going on: the
	// collector is paced by allocation, so in a server at rest garbage, grown
	// stacks and free pages would stay for minutes, or for good. At rest is who
	// allocates less than restingRate in an interval, restingLooks times in a row;
	// less than worthTidying is left alone, unless much was allocated since: stacks
	// that goroutines have left behind are counted nowhere.
	restingRate  = 1 << 20
	restingLooks = 3
	worthTidying = 16 << 20
	muchSince    = 32 << 20
	tidyEvery    = 10 * time.Second
)

// Gauge watches the memory in use. It is safe for concurrent use.
type Gauge struct {
	percent  atomic.Uint64
	interval time.Duration
	logger   *zap.Logger
	onShort  []func()
	measure  func() (used, limit uint64) // a field for tests
	collect  func()                      // likewise
	waste    func() (bytes, allocated uint64)
	tidy     func()

	refusing  atomic.Bool
	short     bool
	collected time.Time
	allocated uint64 // in all, at the last look
	resting   int    // looks
	tidied    time.Time
	cleared   uint64 // allocated, when it was tidied
}

// New prepares a gauge. It starts nothing.
func New(o Options) *Gauge {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	m := newMeter()
	g := &Gauge{
		interval: o.Interval,
		logger:   o.Logger,
		measure:  m.read,
		collect:  runtime.GC,
		waste:    m.waste,
		tidy:     debug.FreeOSMemory,
	}
	if o.Limit != nil {
		g.measure = func() (used, limit uint64) {
			used, _ = m.read()
			return used, o.Limit()
		}
	}
	g.SetPercent(o.Percent)
	return g
}

// SetPercent changes Options.Percent. It may be called at any time.
func (g *Gauge) SetPercent(percent int) {
	if percent <= 0 {
		percent = defaultPercent
	}
	g.percent.Store(uint64(percent))
}

// OnShort registers what gives memory back: it is called as long as memory is
// short, once in each interval, on the goroutine of Run, and must not take long.
// Register before Run.
func (g *Gauge) OnShort(give func()) { g.onShort = append(g.onShort, give) }

// Refusing reports whether nothing more should be taken in: memory is short,
// and what could be given back was not enough.
func (g *Gauge) Refusing() bool { return g.refusing.Load() }

// Run watches until ctx ends, and returns its error.
func (g *Gauge) Run(ctx context.Context) error {
	defer g.refusing.Store(false)
	ticker := time.NewTicker(g.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			g.look()
			g.rest()
		}
	}
}

// rest gives back to the system what a server at rest does not need.
func (g *Gauge) rest() {
	waste, allocated := g.waste()
	if allocated-g.allocated > restingRate {
		g.resting = 0
	} else {
		g.resting++
	}
	g.allocated = allocated
	worth := waste > worthTidying || allocated-g.cleared > muchSince
	if g.resting >= restingLooks && worth && time.Since(g.tidied) >= tidyEvery {
		g.tidy()
		g.tidied, g.cleared = time.Now(), allocated
	}
}

// look measures, and sees to relief.
func (g *Gauge) look() {
	used, limit := g.measure()
	if limit == 0 || limit >= math.MaxInt64 {
		return // none was set
	}
	percent := g.percent.Load()
	most := limit / 100 * percent
	least := limit / 100 * (percent - min(relief, percent))
	switch {
	case g.short && used < least:
		g.short = false
		g.refusing.Store(false)
		g.logger.Info("memory suffices again", zap.Uint64("used_bytes", used), zap.Uint64("soft_limit_bytes", limit))
		return
	case !g.short && used < most:
		return
	}
	if !g.short {
		g.short = true
		g.logger.Warn("memory is short: caches are dropped, unused connections closed and, if that is not enough, new ones and requests refused",
			zap.Uint64("used_bytes", used), zap.Uint64("soft_limit_bytes", limit),
			zap.String("hint", "raise runtime.memory_limit or the container's, or lower limits.connections"))
	}
	for _, give := range g.onShort {
		give()
	}
	if time.Since(g.collected) >= collectEvery {
		g.collect()
		g.collected = time.Now()
		used, _ = g.measure()
	}
	g.refusing.Store(used >= most)
}

// meter reads the runtime's own figures.
type meter struct{ samples []metrics.Sample }

// The figures that a measurement is made of.
const (
	total = iota
	released
	free
	objects
	live
	softLimit
	allocs
)

func newMeter() *meter {
	names := [...]string{
		total:     "/memory/classes/total:bytes",
		released:  "/memory/classes/heap/released:bytes",
		free:      "/memory/classes/heap/free:bytes",
		objects:   "/memory/classes/heap/objects:bytes",
		live:      "/gc/heap/live:bytes",
		softLimit: "/gc/gomemlimit:bytes",
		allocs:    "/gc/heap/allocs:bytes",
	}
	m := &meter{samples: make([]metrics.Sample, len(names))}
	for i, name := range names {
		m.samples[i].Name = name
	}
	return m
}

// read returns how much is in use, and the soft limit. What the limit is held
// against is all memory that was not given back to the system; of that, garbage
// and free pages do not count here, for the runtime fills what it may with
// garbage before it collects. What has been allocated since the last collection
// counts as garbage: the runtime collects before the limit is reached.
func (m *meter) read() (used, limit uint64) {
	metrics.Read(m.samples)
	value := m.value
	mapped := value(total) - min(value(total), value(released)+value(free))
	garbage := value(objects) - min(value(objects), value(live))
	return mapped - min(mapped, garbage), value(softLimit)
}

// waste returns how much memory a collection could give back to the system, and
// how much was allocated in all. It goes by what read has sampled.
func (m *meter) waste() (bytes, allocated uint64) {
	garbage := m.value(objects) - min(m.value(objects), m.value(live))
	return garbage + m.value(free), m.value(allocs)
}

func (m *meter) value(i int) uint64 {
	if m.samples[i].Value.Kind() != metrics.KindUint64 {
		return 0 // a later runtime may have dropped it
	}
	return m.samples[i].Value.Uint64()
}
