package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"math/rand/v2"
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
// at the end all names are served and no TXT record is left.
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
	for n := range kills {
		sites += fmt.Sprintf("  s%d.example.test: http://127.0.0.1:9\n", n)
		path := writeConfig(t, dir, head+sites)
		i := start(t, nil, "run", "--config", path)
		i.awaitMessage("serving")
		<-time.After(rand.N(700 * time.Millisecond))
		_ = i.cmd.Process.Signal(syscall.SIGKILL)
		<-i.ended
		now := pairs(t, filepath.Join(dir, "storage"))
		for pair := range whole {
			if !now[pair] {
				t.Fatalf("kill %d: %s was whole and is not any more", n, pair)
			}
		}
		whole = now
	}
	ordered := len(world.ACME.Orders())
	i := start(t, nil, "run", "--config", writeConfig(t, dir, head+sites))
	i.awaitMessage("serving")
	for deadline := time.Now().Add(patience); len(pairs(t, filepath.Join(dir, "storage"))) < kills || len(world.API.Records("example.test")) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d certificates are there, and %d TXT records are left", len(pairs(t, filepath.Join(dir, "storage"))), kills, len(world.API.Records("example.test")))
		}
		<-time.After(50 * time.Millisecond)
	}
	// An order that was under way at a kill is made again; no name has more
	// orders than there were kills while it had none, and one.
	if all := len(world.ACME.Orders()); all > 2*kills+kills*kills/2 {
		t.Errorf("%d orders for %d names", all, kills)
	}
	t.Logf("%d kills, %d whole pairs after them, %d orders then and %d in all", kills, len(whole), ordered, len(world.ACME.Orders()))
	for _, line := range i.all() {
		if strings.Contains(line.raw, "damaged") {
			t.Errorf("something was half written: %s", line.raw)
		}
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
