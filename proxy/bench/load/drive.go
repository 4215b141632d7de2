package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hopeless is the number of failures at which a run gives up.
const hopeless = 1000

// drive calls step again and again, for each worker in a goroutine of its own,
// until the plan's time or number is used up, and counts. A step that fails
// must leave its worker able to go on.
func drive(ctx context.Context, plan *Plan, workers int, step func(ctx context.Context, worker int) error) (Result, error) {
	var (
		group    sync.WaitGroup
		started  atomic.Int64
		failures atomic.Int64
		mu       sync.Mutex
		result   Result
		all      []time.Duration
	)
	begin := time.Now()
	end := begin.Add(plan.Duration)
	bounded, cancel := context.WithDeadline(ctx, end.Add(patience))
	defer cancel()
	for worker := range workers {
		group.Go(func() {
			var took []time.Duration
			failed := make(map[string]int)
			for at := time.Now(); at.Before(end) && ctx.Err() == nil && failures.Load() < hopeless; {
				if plan.Most > 0 && started.Add(1) > int64(plan.Most) {
					break
				}
				err := step(bounded, worker)
				now := time.Now()
				if err == nil {
					took = append(took, now.Sub(at))
				} else {
					failures.Add(1)
					failed[reason(err)]++
				}
				at = now
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			for why, count := range failed {
				result.fail(why, count)
			}
		})
	}
	group.Wait()
	result.Duration = time.Since(begin)
	result.Requests = float64(len(all))
	slices.Sort(all)
	result.P50, result.P99 = quantile(all, 0.50), quantile(all, 0.99)
	return result, ctx.Err()
}

// quantile returns the smallest of the sorted values that at least the given
// share of them does not exceed, or 0 if there are none.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// errStatus and errSize are answers that came, but not as planned.
type (
	errStatus int
	errSize   struct{ got, want int64 }
)

func (e errStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }
func (e errSize) Error() string {
	return fmt.Sprintf("body of %d bytes instead of %d", e.got, e.want)
}

// reason sorts an error into one of few groups, so that failures can be counted.
func reason(err error) string {
	if _, ok := errors.AsType[errStatus](err); ok {
		return err.Error()
	}
	if _, ok := errors.AsType[errSize](err); ok {
		return "wrong length"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:] // addresses and ports come first; they would make every error its own group
	}
	return text
}

// parallel calls open for 0 to n-1, a few at a time, and returns the first
// error; after one no more are started.
func parallel(ctx context.Context, n int, open func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var next atomic.Int64
	for range min(n, 16) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := open(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
