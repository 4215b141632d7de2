package tlsmgr

import (
	"context"
	"sync"
	"time"
)

// attemptFunc makes one attempt for a name: whatever has to be done for it now.
// It returns when the next is due, and whether this one failed. failures is
// the number of attempts that failed in a row before this one, since the last
// success or since resubmit.
type attemptFunc func(ctx context.Context, name string, failures int) (next time.Time, failed bool)

// scheduler runs attempts: one at a time per name, a bounded number in all,
// each when it is due. It knows nothing of certificates.
//
// A plain scan finds what is due: with ten thousand names it takes less than
// a millisecond, and it happens once per finished attempt.
type scheduler struct {
	attempt attemptFunc
	workers int
	wake    chan struct{} // holds a token when there may be something to do

	mu    sync.Mutex
	tasks map[string]*task
}

// task is the schedule of one name.
type task struct {
	due      time.Time
	failures int

	running bool
	cancel  context.CancelFunc // of the running attempt
	removed bool               // forget the task when the running attempt has ended
	again   trigger            // what happens when the running attempt has ended
	asked   bool               // by ask, since the running attempt took in what there is to do
}

// trigger says whether a running attempt is followed by another at once.
type trigger int

const (
	triggerNone    trigger = iota
	triggerFailure         // if it fails
	triggerAlways
)

func newScheduler(workers int, attempt attemptFunc) *scheduler {
	return &scheduler{
		attempt: attempt,
		workers: workers,
		wake:    make(chan struct{}, 1),
		tasks:   make(map[string]*task),
	}
}

// submit makes an attempt for name due now, with its failures forgotten. A
// running attempt is for something that is not wanted any more: it is
// cancelled, and followed by the new one when it has ended.
func (s *scheduler) submit(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[name]
	if t == nil {
		t = &task{}
		s.tasks[name] = t
	}
	t.due, t.failures, t.removed = time.Now(), 0, false
	if t.running {
		t.again = triggerAlways
		t.cancel()
	}
	signal(s.wake)
}

// ask makes an attempt for name due now; if one is running, another follows it,
// unless that one takes in what this is about.
func (s *scheduler) ask(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[name]
	switch {
	case t == nil || t.removed:
	case t.running:
		t.asked = true
	default:
		t.due = time.Now()
	}
	signal(s.wake)
}

// takenIn says that the running attempt has read what there is to do for its
// name: what was asked for before that needs no attempt of its own.
func (s *scheduler) takenIn(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[name]; t != nil {
		t.asked = false
	}
}

// resubmit makes the next attempt of each of the names due now if its last one
// failed, with its failures forgotten. A running attempt may have begun before
// whatever is better now: it is left alone, and repeated at once if it fails.
func (s *scheduler) resubmit(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		t := s.tasks[name]
		switch {
		case t == nil || t.removed:
		case t.running:
			t.again = max(t.again, triggerFailure)
		case t.failures > 0:
			t.due, t.failures = time.Now(), 0
		}
	}
	signal(s.wake)
}

// remove forgets a name and cancels its running attempt.
func (s *scheduler) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[name]
	switch {
	case t == nil:
	case t.running:
		t.removed = true
		t.cancel()
	default:
		delete(s.tasks, name)
	}
}

// run starts attempts until ctx ends, and returns when all of them have ended.
// What was submitted before is not lost; run may be called once.
func (s *scheduler) run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, ok := s.start(ctx, &attempts)
		if ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// start starts what is due, as far as there are workers, and returns when the
// next task is due. It reports false if there is nothing to wait for but the
// end of an attempt.
func (s *scheduler) start(ctx context.Context, attempts *sync.WaitGroup) (next time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	running := 0
	for _, t := range s.tasks {
		if t.running {
			running++
		}
	}
	for name, t := range s.tasks {
		switch {
		case t.running:
		case !t.due.After(now):
			// Without a free worker the end of an attempt wakes us.
			if running < s.workers && ctx.Err() == nil {
				running++
				s.launch(ctx, name, t, attempts)
			}
		case !ok || t.due.Before(next):
			next, ok = t.due, true
		}
	}
	return next, ok
}

// launch starts an attempt. The caller holds s.mu.
func (s *scheduler) launch(ctx context.Context, name string, t *task, attempts *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	t.running, t.cancel, t.again, t.asked = true, cancel, triggerNone, false
	failures := t.failures
	attempts.Go(func() {
		next, failed := s.attempt(ctx, name, failures)
		cancel()
		s.finish(name, t, next, failed)
	})
}

// finish notes the outcome of an attempt.
func (s *scheduler) finish(name string, t *task, next time.Time, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.running, t.cancel = false, nil
	again := t.again == triggerAlways || t.asked || failed && t.again == triggerFailure
	switch {
	case t.removed:
		delete(s.tasks, name)
	case again:
		t.due, t.failures = time.Now(), 0
	case failed:
		t.due, t.failures = next, t.failures+1
	default:
		t.due, t.failures = next, 0
	}
	signal(s.wake)
}
