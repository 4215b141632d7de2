package sink_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/proxy/accesslog/sink"
)

func TestASetHasOneSinkForATargetUntilNobodyHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	var stderr bytes.Buffer
	set := sink.NewSet(sink.SetOptions{Stderr: &stderr})
	target := sink.Target{Output: path}
	open := func(target sink.Target) *sink.Sink {
		t.Helper()
		s, err := set.Open(target, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open(target)
	if open(target) != first {
		t.Error("two that are prepared for one file have a sink each")
	}
	set.Hold(target, first)
	set.Hold(target, open(target))
	early := sink.Target{Output: "stderr"}
	set.Hold(early, open(early))
	_, _ = open(early).Write([]byte("early\n")) // before Run
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = set.Run(ctx) })
	_, _ = first.Write([]byte("one\n"))
	waitFor(t, path, "one\n")

	set.Release(target, first)
	if open(target) != first {
		t.Error("released although somebody holds it")
	}
	set.Release(target, first)
	if open(target) == first {
		t.Error("held although nobody does")
	}
	_, _ = first.Write([]byte("late\n")) // a request of the configuration before
	waitFor(t, path, "one\nlate\n")
	if losses := set.Losses(); len(losses) != 2 || losses[0] != (sink.Loss{Output: path}) || losses[1] != (sink.Loss{Output: "stderr"}) {
		t.Errorf("losses %v", losses)
	}
	cancel()
	group.Wait()
	if stderr.String() != "early\n" {
		t.Errorf("standard error has %q", stderr.String())
	}
	if _, err := set.Open(sink.Target{Output: filepath.Join(path, "x")}, nil); err == nil {
		t.Error("a file below a file was opened")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
