package sink

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"
)

// Target is where lines go, and how long a file gets.
type Target struct {
	// Output is "stderr", "stdout" or a path.
	Output string

	// Size, Keep and Age are as in Options.
	Size int64
	Keep int
	Age  time.Duration
}

// SetOptions shapes a Set.
type SetOptions struct {
	// Stdout and Stderr are what these words stand for. An *os.File is never
	// blocked on; of any other writer it is believed that it does not block.
	Stdout, Stderr io.Writer

	// Trouble is told when writing to an output begins to fail, and nil when it
	// works again; Lost how many lines an output did not take in time, at most
	// once in ten seconds. Both may be nil. They are called on goroutines of the
	// set's.
	Trouble func(output string, err error)
	Lost    func(output string, lines uint64)
}

// Set is all the logs of a process: one sink for each target, however many
// write to it, so that lines never mix and a file is rotated once. It is safe
// for concurrent use.
type Set struct {
	options SetOptions

	mu    sync.Mutex
	held  map[Target]*holding
	fresh map[Target]weak.Pointer[Sink] // opened, and not held yet if at all
	ctx   context.Context               // Run's; nil before it. Sinks come while it runs
	group sync.WaitGroup
	ended map[string]uint64 // lines lost by sinks that have ended
}

type holding struct {
	sink  *Sink
	count int
	stop  context.CancelFunc // nil before Run
}

// NewSet returns a set without sinks. It starts nothing.
func NewSet(o SetOptions) *Set {
	return &Set{options: o, held: make(map[Target]*holding), fresh: make(map[Target]weak.Pointer[Sink]), ended: make(map[string]uint64)}
}

// Open returns the sink that is held for a target or, if none is, opens a new
// one, which is forgotten unless Hold follows. notice is as in Options, and
// counts only for a new one.
func (s *Set) Open(t Target, notice func(lines uint64) []byte) (*Sink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.held[t]; have != nil {
		return have.sink, nil
	}
	if have := s.fresh[t].Value(); have != nil {
		return have, nil // two that are prepared for one target
	}
	o := Options{Size: t.Size, Keep: t.Keep, Age: t.Age, Notice: notice}
	switch t.Output {
	case "stderr":
		o.Stream = s.options.Stderr
	case "stdout":
		o.Stream = s.options.Stdout
	default:
		o.Path = t.Output
	}
	if told := s.options.Trouble; told != nil {
		o.Trouble = func(err error) { told(t.Output, err) }
	}
	if told := s.options.Lost; told != nil {
		o.Lost = func(lines uint64) { told(t.Output, lines) }
	}
	opened, err := Open(o)
	if err == nil {
		s.fresh[t] = weak.Make(opened)
	}
	return opened, err
}

// Hold has the lines of a sink written until as many calls of Release follow.
// It may be called before Run, and by then lines wait.
func (s *Set) Hold(t Target, sink *Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fresh, t)
	have := s.held[t]
	if have == nil || have.sink != sink {
		have = &holding{sink: sink}
		s.held[t] = have
		s.start(have)
	}
	have.count++
}

// Release takes a Hold back. What waits is written yet, and a line that comes
// later is written by who brings it.
func (s *Set) Release(t Target, sink *Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.held[t]
	if have == nil || have.sink != sink {
		return
	}
	if have.count--; have.count > 0 {
		return
	}
	delete(s.held, t)
	s.ended[t.Output] += sink.Dropped()
	if have.stop != nil {
		have.stop()
	}
}

// start runs a sink, if Run does. The caller holds s.mu.
func (s *Set) start(h *holding) {
	if s.ctx == nil || h.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(s.ctx)
	h.stop = stop
	s.group.Go(func() {
		defer stop()
		_ = h.sink.Run(ctx) // it returns nil
		_ = h.sink.Close()
	})
}

// Run writes the lines of all sinks that are held until ctx ends, and then what
// still waits, for at most two seconds. It returns nil. From then on lines are
// written by who brings them.
func (s *Set) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	for h := range maps.Values(s.held) {
		s.start(h)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ctx = nil // so that nothing is started behind Wait
	s.mu.Unlock()
	s.group.Wait()
	return nil
}

// Reopen has every file opened anew.
func (s *Set) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		h.sink.Reopen()
	}
}

// Loss is how many lines of an output were lost.
type Loss struct {
	Output string
	Lines  uint64
}

// Losses returns how many lines each output has lost since the beginning, also
// those that lost none, sorted by output.
func (s *Set) Losses() []Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := maps.Clone(s.ended)
	for t, h := range s.held {
		sum[t.Output] += h.sink.Dropped()
	}
	list := make([]Loss, 0, len(sum))
	for _, output := range slices.Sorted(maps.Keys(sum)) {
		list = append(list, Loss{output, sum[output]})
	}
	return list
}
