package metrics

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// History is the last five minutes of traffic in a fixed piece of memory, for
// people to look at. Counting costs a few atomic additions; a request that ends
// in the very moment in which its slot passes to the next interval may be
// counted there.
type History struct {
	underWay atomic.Int64
	slots    [slotCount]slot
}

// Interval is what one point of a history stands for.
const Interval = 5 * time.Second

const slotCount = int(5 * time.Minute / Interval)

// slot is one interval. Durations are counted by powers of the square root of
// two, from 1/8 ms on, which is as fine as a curve on a page can show.
type slot struct {
	number atomic.Int64 // of the interval since 1970
	total  atomic.Uint32
	failed atomic.Uint32 // 5xx
	took   [44]atomic.Uint32
}

// NewHistory returns a history without traffic.
func NewHistory() *History { return &History{} }

// Began counts a request that is under way.
func (h *History) Began(*http.Request, *exchange.Exchange) { h.underWay.Add(1) }

// Done counts one that has ended. How long an upgraded connection lasted says
// nothing about the server.
func (h *History) Done(_ *http.Request, x *exchange.Exchange, took time.Duration) {
	h.underWay.Add(-1)
	ended := x.Started.Add(took) // which spares looking at the clock
	if x.Started.IsZero() {
		ended = time.Now()
	}
	s := h.now(ended)
	s.total.Add(1)
	if x.Status >= 500 {
		s.failed.Add(1)
	}
	if x.Status != http.StatusSwitchingProtocols {
		s.took[bucket(took)].Add(1)
	}
}

// UnderWay is how many requests are.
func (h *History) UnderWay() int { return int(h.underWay.Load()) }

func (h *History) now(at time.Time) *slot {
	number := at.UnixNano() / int64(Interval)
	s := &h.slots[number%int64(slotCount)]
	if have := s.number.Load(); have != number && s.number.CompareAndSwap(have, number) {
		s.total.Store(0)
		s.failed.Store(0)
		for i := range s.took {
			s.took[i].Store(0)
		}
	}
	return s
}

// bucket is the number of a duration: 0 up to 125 us, then half a power of two
// each.
func bucket(took time.Duration) int {
	limit := 125 * time.Microsecond
	for i := range 22 {
		if took <= limit {
			return max(0, 2*i)
		}
		if took <= limit*181/128 {
			return 2*i + 1
		}
		limit *= 2
	}
	return 43
}

// upper is the longest duration of a bucket.
func upper(i int) time.Duration {
	limit := 125 * time.Microsecond << (i / 2)
	if i%2 == 1 {
		limit = limit * 181 / 128
	}
	return limit
}

// Sum is some traffic.
type Sum struct {
	Total, Failed uint32
	P50, P99      time.Duration // 0 without traffic
}

// Points returns the intervals up to now, the oldest first; the last is under
// way yet.
func (h *History) Points(now time.Time) []Sum {
	points := make([]Sum, 0, slotCount)
	last := now.UnixNano() / int64(Interval)
	for number := last - int64(slotCount) + 1; number <= last; number++ {
		points = append(points, h.sum(number, number))
	}
	return points
}

// Since returns the sum of the intervals that ended or run within d before now.
func (h *History) Since(now time.Time, d time.Duration) Sum {
	last := now.UnixNano() / int64(Interval)
	return h.sum(max(last-int64(d/Interval), last-int64(slotCount)+1), last)
}

func (h *History) sum(from, to int64) Sum {
	var s Sum
	var took [44]uint32
	measured := uint32(0)
	for number := from; number <= to; number++ {
		one := &h.slots[((number%int64(slotCount))+int64(slotCount))%int64(slotCount)]
		if one.number.Load() != number {
			continue
		}
		s.Total += one.total.Load()
		s.Failed += one.failed.Load()
		for i := range took {
			n := one.took[i].Load()
			took[i] += n
			measured += n
		}
	}
	s.P50, s.P99 = quantile(took[:], measured, 0.5), quantile(took[:], measured, 0.99)
	return s
}

func quantile(took []uint32, total uint32, q float64) time.Duration {
	if total == 0 {
		return 0
	}
	want := uint32(q*float64(total-1)) + 1
	for i, n := range took {
		if want <= n {
			return upper(i)
		}
		want -= n
	}
	return upper(len(took) - 1)
}
