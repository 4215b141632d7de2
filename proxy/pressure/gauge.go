package pressure

import (
	"context"
	"math"
	"runtime"
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
)

// Gauge watches the memory in use. It is safe for concurrent use.
type Gauge struct {
	percent  uint64
	interval time.Duration
	logger   *zap.Logger
	onShort  []func()
	measure  func() (used, limit uint64) // a field for tests
	collect  func()                      // likewise

	refusing  atomic.Bool
	short     bool
	collected time.Time
}

// New prepares a gauge. It starts nothing.
func New(o Options) *Gauge {
	if o.Percent <= 0 {
		o.Percent = defaultPercent
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	return &Gauge{
		percent:  uint64(o.Percent),
		interval: o.Interval,
		logger:   o.Logger,
		measure:  newMeter().read,
		collect:  runtime.GC,
	}
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
		}
	}
}

// look measures, and sees to relief.
func (g *Gauge) look() {
	used, limit := g.measure()
	if limit == 0 || limit >= math.MaxInt64 {
		return // none was set
	}
	most := limit / 100 * g.percent
	least := limit / 100 * (g.percent - min(relief, g.percent))
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
)

func newMeter() *meter {
	names := [...]string{
		total:     "/memory/classes/total:bytes",
		released:  "/memory/classes/heap/released:bytes",
		free:      "/memory/classes/heap/free:bytes",
		objects:   "/memory/classes/heap/objects:bytes",
		live:      "/gc/heap/live:bytes",
		softLimit: "/gc/gomemlimit:bytes",
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
	value := func(i int) uint64 {
		if m.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later runtime may have dropped it
		}
		return m.samples[i].Value.Uint64()
	}
	mapped := value(total) - min(value(total), value(released)+value(free))
	garbage := value(objects) - min(value(objects), value(live))
	return mapped - min(mapped, garbage), value(softLimit)
}
