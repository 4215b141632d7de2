package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// plugged is a pool of one server that answers when told to.
func plugged(t *testing.T, o MemberOptions) (p *Pool, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}, 100), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		io.WriteString(w, "well")
	}))
	t.Cleanup(s.Close)
	o.Address = s.URL
	p, _ = newPool(t, PoolOptions{}, o)
	return p, arrived, release
}

func TestFullServerQueuesThenRefuses(t *testing.T) {
	p, arrived, release := plugged(t, MemberOptions{MaxConnections: 1, QueueSize: 1, QueueTimeout: time.Hour})
	results := make(chan error, 2)
	ask := func() { _, err := send(t.Context(), p, "GET", nil); results <- err }
	go ask()
	<-arrived
	go ask()
	queued := func() bool {
		p.members[0].slots.mu.Lock()
		defer p.members[0].slots.mu.Unlock()
		return len(p.members[0].slots.waiting) == 1
	}
	for tick := time.Tick(time.Millisecond); !queued(); <-tick {
	}
	_, err := send(t.Context(), p, "GET", nil)
	if full, ok := errors.AsType[*Unavailable](err); !ok || full.Reason != QueueFull {
		t.Errorf("the third got %v", err)
	}
	select {
	case <-arrived:
		t.Error("two requests are under way, and one is the limit")
	default:
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if p.members[0].slots.free != 1 || p.members[0].node.InFlight() != 0 {
		t.Errorf("%d free, %d in flight when all is done", p.members[0].slots.free, p.members[0].node.InFlight())
	}
}

func TestQueueIsInOrderAndTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{free: 1, queue: 3}
		if reason := s.acquire(t.Context(), time.Second); reason != 0 {
			t.Fatal(reason)
		}
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				limit := time.Minute
				if i == 1 {
					limit = time.Second
				}
				if reason := s.acquire(t.Context(), limit); reason == QueueTimeout {
					order <- -i
					return
				}
				order <- i
				s.release()
			}()
			synctest.Wait()
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if reason := s.acquire(gone, time.Minute); reason != QueueFull {
			t.Errorf("a fourth waits: %d", reason)
		}
		time.Sleep(2 * time.Second)
		if got := <-order; got != -1 {
			t.Errorf("%d came first, want 1 to time out", got)
		}
		s.release()
		if a, b := <-order, <-order; a != 0 || b != 2 {
			t.Errorf("served %d, then %d", a, b)
		}
		synctest.Wait()
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d free, %d waiting at the end", s.free, len(s.waiting))
		}
	})
}
