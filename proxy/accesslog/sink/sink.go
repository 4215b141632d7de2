package sink

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options shapes a Sink.
type Options struct {
	// Path is the file to append to. It is made with mode 0640; its directory
	// must exist. Empty: Stream.
	Path string

	// Stream is what to write to if there is no Path: standard output or error.
	// An *os.File that takes nothing blocks nobody; another writer must not
	// block.
	Stream io.Writer

	// Size is how many bytes a file may have before it is rotated. 0: any.
	Size int64

	// Keep is how many rotated files are kept. 0: all.
	Keep int

	// Age is how long a rotated file is kept. 0: for ever.
	Age time.Duration

	// Queue bounds what waits to be written, in bytes. 0 is 1 MiB.
	Queue int

	// Trouble is told when writing begins to fail, and nil when it works again.
	// It is called on Run's goroutine and must not write to this sink. Nil:
	// nobody is told.
	Trouble func(error)

	// Notice makes the line that tells of lines that did not fit, before the next
	// one that does. Nil: Lost is told instead.
	Notice func(lines uint64) []byte

	// Lost is told how many lines did not fit, on Run's goroutine, at most once
	// in ten seconds. Nil: nobody is told.
	Lost func(lines uint64)
}

// Sink is a place for lines. It is safe for concurrent use.
type Sink struct {
	options Options

	mu      sync.Mutex
	waiting []byte
	dropped uint64 // since the last line that was taken
	closed  bool   // Run has ended: lines are written at once
	wake    chan struct{}

	lost   atomic.Uint64
	reopen atomic.Bool
	out    output
	failed bool
	told   time.Time  // when Lost was, last
	direct sync.Mutex // writes after Run has ended
}

// output is where bytes go.
type output interface {
	// write writes p, or gives up when ctx ends. It may be called again after
	// an error.
	write(ctx context.Context, p []byte) error
	// reopen makes later writes go to the file that has the name now.
	reopen() error
	close() error
}

// Open opens the file. It starts nothing: lines wait until Run.
func Open(o Options) (*Sink, error) {
	if o.Queue == 0 {
		o.Queue = 1 << 20
	}
	s := &Sink{options: o, wake: make(chan struct{}, 1)}
	switch {
	case o.Path != "":
		f := &rotating{options: o, tell: s.tell}
		if err := f.reopen(); err != nil {
			return nil, err
		}
		s.out = f
	case o.Stream != nil:
		s.out = &plain{o.Stream}
		if file, ok := o.Stream.(*os.File); ok {
			s.out = &stream{file, s.tell}
		}
	default:
		return nil, errors.New("a log needs a path or a stream")
	}
	return s, nil
}

// Write takes one line, which must end in a line break, or drops it if the
// queue is full. It never blocks for longer than it takes to copy, keeps
// nothing of p, and never fails: it has io.Writer's form because zap wants it.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.direct.Lock()
		defer s.direct.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.out.write(ctx, p)
		return len(p), nil
	}
	if len(s.waiting)+len(p) > s.options.Queue {
		s.dropped++
		s.lost.Add(1)
		return len(p), nil
	}
	if s.dropped > 0 && s.options.Notice != nil {
		s.waiting = append(s.waiting, s.options.Notice(s.dropped)...)
		s.dropped = 0
	}
	s.waiting = append(s.waiting, p...)
	if len(s.waiting) == len(p) {
		s.poke()
	}
	return len(p), nil
}

// Sync does nothing: Run writes as soon as it can.
func (s *Sink) Sync() error { return nil }

// Dropped is how many lines have been lost since the beginning: those that did
// not fit and those that could not be written.
func (s *Sink) Dropped() uint64 { return s.lost.Load() }

// Reopen makes Run open the file anew before it writes on: by then another
// program has renamed it.
func (s *Sink) Reopen() {
	s.reopen.Store(true)
	s.poke()
}

func (s *Sink) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// patience is how long a stop waits for a target that takes nothing.
const patience = 2 * time.Second

// Run writes until ctx ends, and then what still waits. It returns nil. From
// then on lines are written by who brings them.
func (s *Sink) Run(ctx context.Context) error {
	var batch []byte
	for ctx.Err() == nil {
		select {
		case <-s.wake:
			batch = s.drain(ctx, batch)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.direct.Lock()
	defer s.direct.Unlock()
	s.drain(last, batch)
	s.told = time.Time{}
	s.tellLost()
	return nil
}

// Close closes the file. Call it when Run has returned. Who writes a line all the
// same has the file opened again.
func (s *Sink) Close() error {
	s.direct.Lock()
	defer s.direct.Unlock()
	return s.out.close()
}

// drain writes what waits. The two buffers change places, so that taking lines
// goes on meanwhile and allocates nothing.
func (s *Sink) drain(ctx context.Context, spare []byte) []byte {
	if s.reopen.Swap(false) {
		s.tell(s.out.reopen())
	}
	for {
		s.mu.Lock()
		batch := s.waiting
		s.waiting = spare[:0]
		s.mu.Unlock()
		if len(batch) == 0 {
			return batch
		}
		err := s.out.write(ctx, batch)
		if err != nil {
			s.lost.Add(lines(batch))
		}
		if ctx.Err() == nil {
			s.tell(err)
		}
		spare = batch
		s.tellLost()
	}
}

// lostInterval is the least time between two calls of Lost.
const lostInterval = 10 * time.Second

// tellLost tells of lines that did not fit, if no line in the log does.
func (s *Sink) tellLost() {
	if s.options.Notice != nil || s.options.Lost == nil || time.Since(s.told) < lostInterval {
		return
	}
	s.mu.Lock()
	lost := s.dropped
	s.dropped = 0
	s.mu.Unlock()
	if lost > 0 {
		s.told = time.Now()
		s.options.Lost(lost)
	}
}

// tell reports the beginning and the end of trouble.
func (s *Sink) tell(err error) {
	if (err != nil) == s.failed {
		return
	}
	s.failed = err != nil
	if s.options.Trouble != nil {
		s.options.Trouble(err)
	}
}

func lines(batch []byte) (n uint64) {
	for _, c := range batch {
		if c == '\n' {
			n++
		}
	}
	return n
}
