package upstream

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
	"github.com/sallyport/sallyport/proxy/upstream/probe"
)

func TestFailuresInTheWindowEjectAndTimeBringsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := at("http://a:1")
		o.MaxFails, o.FailTimeout, o.SlowStart = 3, 10*time.Second, time.Minute
		p, seen := newPool(t, PoolOptions{}, o, at("http://b:1"))
		h := &p.members[0].health
		fail := func() { h.failed(syscall.ECONNRESET) }
		fail()
		fail()
		time.Sleep(11 * time.Second) // out of the window
		fail()
		fail()
		if !h.up() || seen.all() != "" {
			t.Fatalf("down after two failures in the window; events: %s", seen.all())
		}
		fail()
		if h.up() || seen.all() != "down http://a:1" {
			t.Fatalf("up after three failures in the window; events: %s", seen.all())
		}
		var none balance.Set
		if c := p.candidates(&none); c.Has(0) || !c.Has(1) {
			t.Error("the ejected server is a candidate")
		}
		time.Sleep(11 * time.Second)
		if !h.up() {
			t.Error("still out after fail_timeout")
		}
		fail() // one is enough now
		if h.up() {
			t.Error("a failure on probation was forgiven")
		}
		time.Sleep(11 * time.Second)
		h.succeeded()
		if !h.up() || seen.all() != "down http://a:1, up http://a:1" {
			t.Errorf("events: %s", seen.all())
		}
		count := 0
		for range 1000 {
			if p.picker.Pick(balance.All(2), balance.NoKey) == 0 {
				count++
			}
		}
		if count > 10 {
			t.Errorf("%d of 1000 requests went to a server that has just come back and starts slowly", count)
		}
	})
}

func TestChecksNeedFallAndRise(t *testing.T) {
	o := at("http://a:1")
	o.Interval, o.Fall, o.Rise = time.Second, 2, 3
	p, seen := newPool(t, PoolOptions{}, o)
	h := &p.members[0].health
	for i, c := range []struct {
		good, up bool
	}{{true, true}, {false, true}, {true, true}, {false, true}, {false, false}, {true, false}, {true, false}, {false, false}, {true, false}, {true, false}, {true, true}} {
		err := error(&probe.BadAnswer{Text: "sick"})
		if c.good {
			err = nil
		}
		h.checked(err)
		if h.up() != c.up {
			t.Errorf("after check %d: up is %t", i, h.up())
		}
	}
	if seen.all() != "down http://a:1, up http://a:1" {
		t.Errorf("events: %s", seen.all())
	}
	fresh, _ := newPool(t, PoolOptions{}, o)
	fresh.members[0].health.checked(syscall.ECONNREFUSED)
	if fresh.members[0].health.up() {
		t.Error("a server that was never well is up after a bad check")
	}
}

func TestNoHealthyServerIs503UnlessAllAreGone(t *testing.T) {
	o := at(absent(t))
	o.Interval, o.Fall, o.Rise = time.Hour, 1, 1
	p, _ := newPool(t, PoolOptions{Name: "api"}, o)
	p.members[0].health.checked(&probe.BadAnswer{Text: "sick"})
	_, err := send(t.Context(), p, "GET", nil)
	if none, ok := errors.AsType[*Unavailable](err); !ok || none.Reason != NoServer || !strings.Contains(err.Error(), "upstream api: no server is healthy: sick") {
		t.Errorf("got %v", err)
	}
	p.members[0].check(t.Context())
	_, err = send(t.Context(), p, "GET", nil)
	if refused, ok := errors.AsType[*Error](err); !ok || !refused.Refused() {
		t.Errorf("got %v", err)
	}
}
