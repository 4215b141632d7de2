package tlsmgr

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// startScheduler runs a scheduler in a synctest bubble and returns the function that
// stops it and waits.
func startScheduler(s *scheduler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { s.run(ctx) })
	return func() {
		cancel()
		group.Wait()
	}
}

// pass lets synctest's time pass, and everything happen that is due then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSchedulerRunsEachTaskWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		s := newScheduler(4, func(context.Context, string, int) (time.Time, bool) {
			at = append(at, time.Since(begin))
			return time.Now().Add(24 * time.Hour), false
		})
		s.submit("a")
		defer startScheduler(s)()
		pass(49 * time.Hour)
		if want := []time.Duration{0, 24 * time.Hour, 48 * time.Hour}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
	})
}

func TestSchedulerBacksOffAndResubmitCutsItShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		var counts []int
		s := newScheduler(4, func(_ context.Context, _ string, failures int) (time.Time, bool) {
			at, counts = append(at, time.Since(begin)), append(counts, failures)
			return time.Now().Add(time.Duration(failures+1) * time.Hour), true
		})
		s.submit("a")
		defer startScheduler(s)()
		pass(4 * time.Hour) // attempts at 0, 1 h and 3 h; the next would be at 6 h
		s.resubmit([]string{"a", "unknown"})
		synctest.Wait()
		wantAt := []time.Duration{0, time.Hour, 3 * time.Hour, 4 * time.Hour}
		if !slices.Equal(at, wantAt) || !slices.Equal(counts, []int{0, 1, 2, 0}) {
			t.Errorf("attempts at %v with failures %v, want %v with 0 1 2 0", at, counts, wantAt)
		}
	})
}

func TestSchedulerResubmitLeavesSucceededTasksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		s := newScheduler(4, func(context.Context, string, int) (time.Time, bool) {
			attempts++
			return time.Now().Add(time.Hour), false
		})
		s.submit("a")
		defer startScheduler(s)()
		synctest.Wait()
		s.resubmit([]string{"a"})
		synctest.Wait()
		if attempts != 1 {
			t.Errorf("%d attempts, want 1", attempts)
		}
	})
}

func TestSchedulerRepeatsARunningAttemptThatFailsAfterResubmit(t *testing.T) {
	for _, fails := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			s := newScheduler(4, func(context.Context, string, int) (time.Time, bool) {
				attempts++
				time.Sleep(time.Minute)
				return time.Now().Add(time.Hour), fails && attempts == 1
			})
			s.submit("a")
			defer startScheduler(s)()
			pass(time.Second)
			s.resubmit([]string{"a"})
			pass(10 * time.Minute)
			want := 1
			if fails {
				want = 2
			}
			if attempts != want {
				t.Errorf("failing %v: %d attempts, want %d", fails, attempts, want)
			}
		})
	}
}

func TestSchedulerRunsOneAttemptPerNameAndAFewInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		var mu sync.Mutex
		perName := make(map[string]int)
		done := make(map[string]int)
		s := newScheduler(3, func(_ context.Context, name string, _ int) (time.Time, bool) {
			mu.Lock()
			perName[name]++
			if perName[name] > 1 {
				t.Errorf("%s runs twice at once", name)
			}
			mu.Unlock()
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			mu.Lock()
			perName[name]--
			done[name]++
			mu.Unlock()
			return time.Now().Add(time.Hour), false
		})
		for i := range 20 {
			s.submit(fmt.Sprint(i))
		}
		defer startScheduler(s)()
		pass(500 * time.Millisecond)
		for i := range 20 {
			s.ask(fmt.Sprint(i)) // also those that run
		}
		pass(time.Minute)
		if most.Load() != 3 {
			t.Errorf("%d attempts at once, want 3", most.Load())
		}
		if len(done) != 20 {
			t.Errorf("%d names were served, want 20", len(done))
		}
	})
}

func TestSchedulerCancelsWhatIsRemovedOrReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began, cancelled atomic.Int32
		s := newScheduler(4, func(ctx context.Context, _ string, _ int) (time.Time, bool) {
			began.Add(1)
			<-ctx.Done()
			cancelled.Add(1)
			time.Sleep(time.Second) // cleaning up
			return time.Now(), false
		})
		s.submit("a")
		stop := startScheduler(s)
		synctest.Wait()
		s.submit("a") // another issuer
		synctest.Wait()
		if began.Load() != 1 || cancelled.Load() != 1 {
			t.Errorf("began %d, cancelled %d: the second must wait for the end of the first", began.Load(), cancelled.Load())
		}
		pass(2 * time.Second)
		if began.Load() != 2 {
			t.Errorf("began %d, want 2", began.Load())
		}
		s.remove("a")
		s.submit("a") // removed and added within one attempt
		pass(2 * time.Second)
		if began.Load() != 3 {
			t.Errorf("began %d, want 3", began.Load())
		}
		s.remove("a")
		pass(time.Hour)
		if began.Load() != 3 || cancelled.Load() != 3 || len(s.tasks) != 0 {
			t.Errorf("after removal: began %d, cancelled %d, %d tasks", began.Load(), cancelled.Load(), len(s.tasks))
		}
		stop()
	})
}

func TestSchedulerWaitsForItsAttemptsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		s := newScheduler(1, func(ctx context.Context, _ string, _ int) (time.Time, bool) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			ended = true
			return time.Now(), true
		})
		s.submit("a")
		stop := startScheduler(s)
		synctest.Wait()
		stop()
		if !ended {
			t.Error("run returned before its attempt had ended")
		}
	})
}

func TestAskIsFollowedByAnAttemptThatHasNotTakenItIn(t *testing.T) {
	for _, test := range []struct {
		name      string
		askBefore bool // the running attempt reads what there is to do
		want      int
	}{
		{"asked before it was read", true, 1},
		{"asked after it was read", false, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *scheduler
				attempts := 0
				s = newScheduler(1, func(context.Context, string, int) (time.Time, bool) {
					if attempts++; attempts == 1 && test.askBefore {
						s.ask("a")
					}
					s.takenIn("a")
					if attempts == 1 && !test.askBefore {
						s.ask("a")
					}
					return time.Now().Add(time.Hour), false
				})
				s.submit("a")
				defer startScheduler(s)()
				pass(time.Minute)
				if attempts != test.want {
					t.Errorf("%d attempts, want %d", attempts, test.want)
				}
			})
		})
	}
}
