package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/accesslog/sink"
)

// running opens a sink and runs it until the returned function is called, which
// returns when everything has been written.
func running(t *testing.T, o sink.Options) (*sink.Sink, func()) {
	t.Helper()
	s, err := sink.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = s.Run(ctx) })
	stop := sync.OnceFunc(func() {
		cancel()
		group.Wait()
		_ = s.Close()
	})
	t.Cleanup(stop)
	return s, stop
}

func TestEveryLineArrivesInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	s, stop := running(t, sink.Options{Path: path})
	var want bytes.Buffer
	for i := range 5000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	stop()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%v: %d bytes of %d", err, len(got), want.Len())
	}
	if s.Dropped() != 0 {
		t.Errorf("%d dropped", s.Dropped())
	}
}

func TestAPipeThatNobodyReadsBlocksNobody(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	write.Fd() // blocking, as standard error is
	s, stop := running(t, sink.Options{Stream: write, Queue: 64 << 10})
	line := []byte(strings.Repeat("x", 99) + "\n")
	start := time.Now()
	for range 10_000 { // 1 MB into 64 KiB of pipe and 64 KiB of queue
		_, _ = s.Write(line)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("10,000 lines took their writers %v", took)
	}
	if s.Dropped() < 8000 {
		t.Errorf("%d dropped", s.Dropped())
	}
	start = time.Now()
	stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestANamedPipeThatNobodyReadsHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	trouble := make(chan error, 10)
	s, stop := running(t, sink.Options{Path: path, Queue: 64 << 10, Size: 1000, Trouble: func(err error) { trouble <- err }})
	for range 10_000 {
		_, _ = s.Write([]byte(strings.Repeat("x", 99) + "\n"))
	}
	if err := <-trouble; !errors.Is(err, sink.ErrStuck) {
		t.Errorf("told %v", err)
	}
	if s.Dropped() < 8000 {
		t.Errorf("%d dropped", s.Dropped())
	}
	s.Reopen()
	read, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0) // with a writer of its own it has no end
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	var taken atomic.Int64 // who comes late gets what the pipe holds, and then what waits
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for piece := make([]byte, 4<<10); ; {
			n, err := read.Read(piece)
			if taken.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	again := time.NewTicker(10 * time.Millisecond) // what waited may have been given up by now
	defer again.Stop()
	for over := false; !over; {
		select {
		case err := <-trouble:
			over = err == nil
		case <-again.C:
			_, _ = s.Write([]byte("one more\n"))
		}
	}
	_, _ = s.Write([]byte("and the last\n"))
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	_ = read.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // all is in the pipe by now
	<-ended
	if n := taken.Load(); n == 0 {
		t.Error("nothing came")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("the pipe was rotated: %v, %v", files, err)
	}
}

func TestDroppedLinesAreTold(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s, err := sink.Open(sink.Options{Stream: write, Queue: 100, Notice: func(n uint64) []byte { return fmt.Appendf(nil, "count %d\n", n) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, _ = s.Write([]byte(strings.Repeat("x", 39) + "\n")) // two fit
	}
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	group.Go(func() { _ = s.Run(ctx) })
	first := make([]byte, 80)
	if _, err := io.ReadFull(read, first); err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte("after\n"))
	cancel()
	group.Wait()
	_ = write.Close()
	rest, err := io.ReadAll(read)
	if err != nil || !strings.Contains(string(rest), "count 3\n") || !strings.HasSuffix(string(rest), "after\n") {
		t.Errorf("%v: %q", err, rest)
	}
}

func TestRotation(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "access.log")
	other := filepath.Join(folder, "access-notes.log")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sink.Open(sink.Options{Path: path, Size: 1000, Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // each a batch of its own, 900 bytes
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _ = s.Write([]byte(fmt.Sprintf("%d", i) + strings.Repeat("x", 898) + "\n"))
		_ = s.Run(ctx)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "access-2*.log"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v: %v", err, files)
	}
	for _, file := range append(files, path) {
		if info, err := os.Stat(file); err != nil || info.Size() != 900 || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", file, info, err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file that is not ours: %v", err)
	}
}

func TestReopenFollowsARename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	s, stop := running(t, sink.Options{Path: path})
	_, _ = s.Write([]byte("before\n"))
	waitFor(t, path, "before\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	waitFor(t, path, "")
	_, _ = s.Write([]byte("after\n"))
	stop()
	waitFor(t, path+".1", "before\n")
	waitFor(t, path, "after\n")
}

func TestAFullDiskIsToldOnceAndHeals(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "a.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	trouble := make(chan error, 100)
	s, stop := running(t, sink.Options{Path: path, Trouble: func(err error) { trouble <- err }})
	for i := range uint64(5) {
		_, _ = s.Write([]byte("lost\n"))
		await(t, func() bool { return s.Dropped() == i+1 })
	}
	if err := <-trouble; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("trouble is %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	waitFor(t, path, "")
	_, _ = s.Write([]byte("kept\n"))
	if err := <-trouble; err != nil {
		t.Errorf("still in trouble: %v", err)
	}
	stop()
	if got, _ := os.ReadFile(path); !strings.HasSuffix(string(got), "kept\n") {
		t.Errorf("the file has %q", got)
	}
	if len(trouble) > 0 {
		t.Errorf("told %d times more", len(trouble))
	}
}

func TestALogThatCannotBeOpened(t *testing.T) {
	for name, o := range map[string]sink.Options{"no folder": {Path: filepath.Join(t.TempDir(), "none", "a.log")}, "nothing": {}} {
		if _, err := sink.Open(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// waitFor waits until a file has the content.
func waitFor(t *testing.T, path, want string) {
	t.Helper()
	await(t, func() bool {
		got, err := os.ReadFile(path)
		return err == nil && string(got) == want
	})
}

// await looks until something is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it did not happen within 10 s")
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	s, err := sink.Open(sink.Options{Path: filepath.Join(b.TempDir(), "a.log"), Queue: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = s.Run(ctx) })
	line := []byte(strings.Repeat("x", 299) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Write(line)
	}
	cancel()
	group.Wait()
}
