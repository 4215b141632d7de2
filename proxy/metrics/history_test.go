package metrics_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/metrics"
)

func TestHistoryForgetsAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := metrics.NewHistory()
		for i := range 100 {
			status := 200
			if i < 10 {
				status = 502
			}
			h.Began(nil, nil)
			h.Done(nil, &exchange.Exchange{Status: status}, time.Duration(i)*time.Millisecond)
		}
		h.Began(nil, nil)
		if h.UnderWay() != 1 {
			t.Errorf("%d under way", h.UnderWay())
		}
		sum := h.Since(time.Now(), time.Minute)
		if sum.Total != 100 || sum.Failed != 10 || sum.P50 < 49*time.Millisecond || sum.P50 > 70*time.Millisecond || sum.P99 < 98*time.Millisecond || sum.P99 > 140*time.Millisecond {
			t.Errorf("%+v", sum)
		}
		points := h.Points(time.Now())
		if len(points) != 60 || points[59].Total != 100 || points[58].Total != 0 {
			t.Errorf("%d points, the last %+v", len(points), points[len(points)-1])
		}
		time.Sleep(4 * time.Minute)
		if points := h.Points(time.Now()); points[59-48].Total != 100 {
			t.Error("the traffic of four minutes ago is not where it belongs")
		}
		if sum := h.Since(time.Now(), time.Minute); sum.Total != 0 || sum.P99 != 0 {
			t.Errorf("of the last minute: %+v", sum)
		}
		time.Sleep(time.Minute)
		for _, p := range h.Points(time.Now()) {
			if p.Total != 0 {
				t.Errorf("five minutes later: %+v", p)
			}
		}
		h.Done(nil, &exchange.Exchange{Status: 200}, time.Hour)
		if p := h.Points(time.Now())[59]; p.Total != 1 {
			t.Errorf("a slot that was used before: %+v", p)
		}
	})
}

func TestHistoryCountsEveryRequest(t *testing.T) {
	h := metrics.NewHistory()
	h.Done(nil, &exchange.Exchange{}, 0) // so that no slot changes hands below, nearly always
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				h.Done(nil, &exchange.Exchange{Status: 200}, time.Millisecond)
			}
		})
	}
	group.Wait()
	if sum := h.Since(time.Now(), time.Minute); sum.Total < 7900 || sum.Total > 8001 {
		t.Errorf("%d", sum.Total)
	}
}
