package acmetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"runtime/pprof"
	"time"
)

// drainTimeout bounds how long Close waits. Pebble's validations give up after 15 s, and no goroutine lives longer.
const drainTimeout = 20 * time.Second

// family is a set of goroutines that can be waited for although others start them: they are known by a profiler label,
// which every goroutine inherits from the one that started it. A WaitGroup cannot count the goroutines of net/http's
// server, of the DNS library and of Pebble, and Pebble has no way to be waited for at all.
type family struct{ label string }

func newFamily() family { return family{label: rand.Text()} }

// run calls f in a goroutine of the family and returns its result. What f starts belongs to the family as well.
func (f family) run(do func() error) error {
	result := make(chan error, 1)
	go func() {
		f.join()
		result <- do()
	}()
	return <-result
}

func (f family) join() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("acmetest_world", f.label)))
}

// wait returns when no goroutine of the family is left. It polls: the runtime tells who is alive, but not when that
// changes.
func (f family) wait() error {
	deadline := time.Now().Add(drainTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			return fmt.Errorf("acmetest: list goroutines: %w", err)
		}
		if !bytes.Contains(profile.Bytes(), []byte(f.label)) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("acmetest: goroutines still run %v after close:\n%s", drainTimeout, f.stacks(profile.Bytes()))
		}
		time.Sleep(pause)
	}
}

// stacks returns those parts of a goroutine profile that belong to the family.
func (f family) stacks(profile []byte) []byte {
	var own [][]byte
	for part := range bytes.SplitSeq(profile, []byte("\n\n")) {
		if bytes.Contains(part, []byte(f.label)) {
			own = append(own, part)
		}
	}
	return bytes.Join(own, []byte("\n\n"))
}
