// Package pressure knows when memory is short: how much is in use for good, of
// what the soft limit allows.
//
// The Go runtime collects garbage the more often the nearer its soft limit is,
// and goes past it rather than fail; a proxy that goes on accepting then spends
// its time collecting and is killed in the end. A [Gauge] notices before: it
// has caches dropped and unused connections closed, and if that does not help
// says so to those who would take more in. All of it passes by itself.
//
// A [Pacer] sets the collector, so that garbage is cheap where little is in use
// and bounded where a flood makes it much.
//
// The gauge also tidies up: what a burst of connections has left behind goes back to
// the system once nothing is going on.
//
// The package imports nothing of the house. Run owns the one goroutine; what is
// registered is called on it. A Pacer has none: the runtime calls it.
//
//	pacer := pressure.NewPacer()
//	defer pacer.Stop()
//	pacer.Set(800, limit)
//	gauge := pressure.New(pressure.Options{Percent: 85, Limit: pacer.Limit, Logger: logger})
//	gauge.OnShort(cache.Drop)
//	go gauge.Run(ctx)
//	...
//	if gauge.Refusing() { // one atomic load
//		return errOverloaded
//	}
package pressure
