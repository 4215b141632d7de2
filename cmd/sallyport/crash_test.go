package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// TestKillAtRandomMomentsLosesNothing kills the process without warning while
// it orders certificates and writes them, again and again: each next one starts
// clean, every pair of certificate and key that was ever whole stays whole, and
// at the end all names are served and no TXT record is left. No order is made that
// need not be: each process makes one at most for each name, and none for a name
// whose certificate it found. So each kill costs one order at most for each that it
// hit.
func TestKillAtRandomMomentsLosesNothing(t *testing.T) {
	kills := 8
	if *long {
		kills = 50
	}
	world, _ := internet(t, "example.test")
	world.API.AddToken(acmetest.Token{Value: configuredToken, Zones: []string{"example.test"}})
	dir := shortDir(t)
	head := worldConfig(t, dir, world, configuredToken, "example.test")
	sites := "sites:\n"
	whole := map[string]bool{}
	before, hit := map[string]int{}, 0
	// lived counts what one process ordered, given what was whole when it began.
	lived := func(what string, found map[string]bool) {
		t.Helper()
		after := orders(world)
		for name, count := range after {
			made := count - before[name]
			if made > 1 || found[name+".crt"] && made > 0 {
				t.Errorf("%s: %d orders for %s in one life; its certificate was there: %t", what, made, name, found[name+".crt"])
			}
		}
		before = after
	}
	for n := range kills {
		sites += fmt.Sprintf("  s%d.example.test: http://127.0.0.1:9\n", n)
		path := writeConfig(t, dir, head+sites)
		i := start(t, nil, "run", "--config", path)
		i.awaitMessage("serving")
		<-time.After(rand.N(700 * time.Millisecond))
		_ = i.cmd.Process.Signal(syscall.SIGKILL)
		<-i.ended
		ordersSettle(world)
		now := pairs(t, filepath.Join(dir, "storage"))
		for pair := range whole {
			if !now[pair] {
				t.Fatalf("kill %d: %s was whole and is not any more", n, pair)
			}
		}
		was := before
		lived(fmt.Sprintf("kill %d", n), whole)
		for name, count := range before {
			if count > was[name] && !now[name+".crt"] {
				hit++
			}
		}
		whole = now
	}
	i := start(t, nil, "run", "--config", writeConfig(t, dir, head+sites))
	i.awaitMessage("serving")
	for deadline := time.Now().Add(patience); len(pairs(t, filepath.Join(dir, "storage"))) < kills || len(world.API.Records("example.test")) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d certificates are there, and %d TXT records are left", len(pairs(t, filepath.Join(dir, "storage"))), kills, len(world.API.Records("example.test")))
		}
		<-time.After(50 * time.Millisecond)
	}
	lived("the last one", whole)
	all := 0
	for _, count := range before {
		all += count
	}
	if all != kills+hit {
		t.Errorf("%d orders for %d names, of which %d were hit by a kill", all, kills, hit)
	}
	t.Logf("%d kills, which hit %d orders; %d whole pairs after them; %d orders in all for %d names", kills, hit, len(whole), all, kills)
	for _, line := range i.all() {
		if strings.Contains(line.raw, "damaged") {
			t.Errorf("something was half written: %s", line.raw)
		}
	}
}

// orders counts those that the CA has taken, by name.
func orders(world *acmetest.World) map[string]int {
	counts := map[string]int{}
	for _, order := range world.ACME.Orders() {
		if order.Status == http.StatusCreated {
			counts[strings.Join(order.Names, ",")]++
		}
	}
	return counts
}

// ordersSettle waits until the CA has dealt with what a killed process had sent.
func ordersSettle(world *acmetest.World) {
	for same, last := 0, -1; same < 10; {
		n := len(world.ACME.Orders())
		if same++; n != last {
			same, last = 0, n
		}
		<-time.After(20 * time.Millisecond)
	}
}

// pairs finds the certificates below a storage directory whose key is there and
// belongs to them. One without its key, or with another's, is an error.
func pairs(t *testing.T, storage string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	_ = filepath.WalkDir(storage, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".crt") {
			return nil
		}
		key := strings.TrimSuffix(path, ".crt") + ".key"
		if _, err := tls.LoadX509KeyPair(path, key); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			return nil
		}
		found[filepath.Base(path)] = true
		return nil
	})
	return found
}
