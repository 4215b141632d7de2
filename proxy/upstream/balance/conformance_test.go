package balance_test

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// methods are all of them: each test of this file holds for every picker.
var methods = []balance.Method{balance.RoundRobin, balance.RandomTwo, balance.LeastConn, balance.Hash}

func newPicker(t testing.TB, m balance.Method, weights ...int) (balance.Picker, []*balance.Node) {
	t.Helper()
	var nodes []*balance.Node
	for i, w := range weights {
		nodes = append(nodes, balance.NewNode(fmt.Sprintf("http://10.0.0.%d:8080", i), w))
	}
	p, err := balance.New(m, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return p, nodes
}

// shares picks n times, each with a key of its own, and returns how often each
// node was chosen, as a fraction. As in life, a request takes a while: 16 are
// under way at a time.
func shares(p balance.Picker, nodes []*balance.Node, allowed balance.Set, n int) []float64 {
	count := make([]float64, len(nodes))
	var busy []int
	for i := range n {
		chosen := p.Pick(allowed, balance.Key(fmt.Sprint("client", i)))
		count[chosen] += 1 / float64(n)
		nodes[chosen].Begin()
		if busy = append(busy, chosen); len(busy) > 16 {
			nodes[busy[0]].End()
			busy = busy[1:]
		}
	}
	for _, i := range busy {
		nodes[i].End()
	}
	return count
}

func each(t *testing.T, test func(t *testing.T, m balance.Method)) {
	for _, m := range methods {
		t.Run(string(m), func(t *testing.T) { test(t, m) })
	}
}

func TestOnlyAllowedNodesAreChosen(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		p, nodes := newPicker(t, m, make([]int, balance.Most)...)
		var allowed balance.Set
		for _, i := range []int{0, 63, 64, 200, 255} {
			allowed.Add(i)
		}
		for i, share := range shares(p, nodes, allowed, 20_000) {
			if allowed.Has(i) != (share > 0) {
				t.Errorf("node %d has a share of %v", i, share)
			}
		}
		for i := range nodes {
			var one balance.Set
			one.Add(i)
			for _, key := range []uint64{balance.NoKey, balance.Key("x")} {
				if got := p.Pick(one, key); got != i {
					t.Errorf("only %d was allowed, %d chosen", i, got)
				}
			}
		}
	})
}

func TestSharesFollowWeights(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		p, nodes := newPicker(t, m, 1, 3, 6)
		for i, got := range shares(p, nodes, balance.All(3), 50_000) {
			if want := []float64{0.1, 0.3, 0.6}[i]; math.Abs(got-want) > 0.06 {
				t.Errorf("node %d: a share of %.3f, want about %.1f", i, got, want)
			}
		}
	})
}

func TestIdleNodesOfOneWeightShareEvenly(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		p, nodes := newPicker(t, m, 1, 1, 1, 1)
		count := make([]int, len(nodes))
		for i := range 20_000 {
			count[p.Pick(balance.All(4), balance.Key(fmt.Sprint(i)))]++
		}
		for i, n := range count {
			if n < 4_000 || n > 6_000 {
				t.Errorf("node %d was chosen %d times of 20000", i, n)
			}
		}
	})
}

func TestSlowStartGrowsTheShare(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		synctest.Test(t, func(t *testing.T) {
			p, nodes := newPicker(t, m, 4, 4)
			nodes[1].SlowStart(10 * time.Second)
			last := -0.01
			for _, want := range []float64{0, 0.2, 1.0 / 3, 0.5} { // after 0, 2.5, 5 and 10 s
				got := shares(p, nodes, balance.All(2), 20_000)[1]
				if math.Abs(got-want) > 0.08 || got < last {
					t.Errorf("the starting node has %.3f, want about %.2f", got, want)
				}
				last = got
				time.Sleep(2500 * time.Millisecond)
				if want > 0.3 {
					time.Sleep(2500 * time.Millisecond)
				}
			}
		})
	})
}

func TestConcurrentPicksStayAllowed(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		p, nodes := newPicker(t, m, 1, 2, 3)
		var group sync.WaitGroup
		for g := range 4 {
			group.Go(func() {
				allowed := balance.All(3)
				allowed.Remove(g % 3)
				for i := range 2_000 {
					chosen := p.Pick(allowed, uint64(i))
					if !allowed.Has(chosen) {
						t.Errorf("%d is not allowed", chosen)
					}
					nodes[chosen].Begin()
					nodes[chosen].End()
				}
			})
		}
		group.Wait()
	})
}

func TestPickingAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, m balance.Method) {
		p, nodes := newPicker(t, m, make([]int, 100)...)
		nodes[7].SlowStart(time.Hour)
		allowed := balance.All(100)
		if n := testing.AllocsPerRun(100, func() { p.Pick(allowed, balance.Key("203.0.113.9")) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestNumberOfNodesIsBounded(t *testing.T) {
	for _, n := range []int{0, balance.Most + 1} {
		if _, err := balance.New(balance.RandomTwo, make([]*balance.Node, n)); err == nil {
			t.Errorf("%d nodes were accepted", n)
		}
	}
	if _, err := balance.New("best", make([]*balance.Node, 1)); err == nil {
		t.Error("an unknown method was accepted")
	}
}

func BenchmarkPick(b *testing.B) {
	for _, m := range methods {
		for _, n := range []int{2, 10, 100} {
			b.Run(fmt.Sprintf("%s/servers=%d", m, n), func(b *testing.B) {
				p, _ := newPicker(b, m, make([]int, n)...)
				allowed, key := balance.All(n), balance.Key("203.0.113.9")
				b.ReportAllocs()
				for b.Loop() {
					p.Pick(allowed, key)
				}
			})
		}
	}
}
