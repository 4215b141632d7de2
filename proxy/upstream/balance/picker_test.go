package balance_test

import (
	"fmt"
	"testing"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// This file tests what one method promises beyond conformance_test.go.

func TestRoundRobinIsSmooth(t *testing.T) {
	p, _ := newPicker(t, balance.RoundRobin, 5, 1, 1)
	got := ""
	for range 14 {
		got += string(rune('a' + p.Pick(balance.All(3), balance.NoKey)))
	}
	if want := "aabacaaaabacaa"; got != want {
		t.Errorf("the turns were %s, want %s", got, want)
	}
}

func TestBusyServerIsAvoided(t *testing.T) {
	for _, m := range []balance.Method{balance.LeastConn, balance.RandomTwo} {
		p, nodes := newPicker(t, m, 1, 1)
		nodes[0].Begin()
		for range 100 {
			if p.Pick(balance.All(2), balance.NoKey) != 1 {
				t.Fatalf("%s chose the busy one of two", m)
			}
		}
	}
	p, nodes := newPicker(t, balance.LeastConn, 1, 10)
	for range 5 {
		nodes[1].Begin()
	}
	if p.Pick(balance.All(2), balance.NoKey) != 1 {
		t.Error("five requests are little for a weight of ten, but the idle small server was chosen")
	}
}

// Losing a server moves its share and nothing else, and so does its return.
func TestHashMovesOnlyTheShareOfTheLostServer(t *testing.T) {
	p, _ := newPicker(t, balance.Hash, 1, 2, 3, 4)
	all := balance.All(4)
	without := all
	without.Remove(2)
	moved := 0
	for i := range 10_000 {
		key := balance.Key(fmt.Sprint(i))
		before, after := p.Pick(all, key), p.Pick(without, key)
		if before != 2 && before != after {
			t.Fatalf("key %d moved from %d to %d, and only 2 was lost", i, before, after)
		}
		if before == 2 {
			moved++
		}
	}
	if moved < 2_500 || moved > 3_500 {
		t.Errorf("%d of 10000 keys moved, want about 3000", moved)
	}
}

func TestHashKnowsServersByNameNotByPlace(t *testing.T) {
	name := []string{"http://a", "http://b", "http://c"}
	var there, back []*balance.Node
	for i := range name {
		there = append(there, balance.NewNode(name[i], 1))
		back = append(back, balance.NewNode(name[len(name)-1-i], 1))
	}
	p, _ := balance.New(balance.Hash, there)
	q, _ := balance.New(balance.Hash, back)
	for i := range 1_000 {
		key := balance.Key(fmt.Sprint(i))
		if a, b := p.Pick(balance.All(3), key), q.Pick(balance.All(3), key); a != 2-b {
			t.Fatalf("key %d: %s in one order, %s in the other", i, name[a], name[2-b])
		}
	}
}
