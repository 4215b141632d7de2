package cache

import (
	"context"
	"sync"
	"time"
)

// flights are the requests to the server under way, by key. Who finds one for
// its key waits for it instead of asking as well.
type flights struct {
	mu   sync.Mutex
	open map[string]*flight
}

// flight is one request to the server that others may wait for.
type flight struct {
	landed chan struct{} // closed when there is something to be had, or never will be
	once   sync.Once
}

// board returns the flight for key, and whether the caller is the one who
// flies: it must land.
func (f *flights) board(key string) (_ *flight, pilot bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.open[key]; ok {
		return under, false
	}
	mine := &flight{landed: make(chan struct{})}
	f.open[key] = mine
	return mine, true
}

// land lets those who wait go on. It may be called more than once.
func (f *flights) land(key string, mine *flight) {
	mine.once.Do(func() {
		f.mu.Lock()
		delete(f.open, key)
		f.mu.Unlock()
		close(mine.landed)
	})
}

// wait returns when the flight has landed, the limit is over or ctx ends.
func (f *flight) wait(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.landed:
	case <-timer.C:
	case <-ctx.Done():
	}
}
