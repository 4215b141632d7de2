//go:build unix

package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stream is standard output or error, which may be a pipe that nobody empties.
// It is not made non-blocking, because others share it. Instead it is asked
// before each write whether there is room: POLLOUT promises that one of at most
// PIPE_BUF bytes does not block (pipe(7)).
type stream struct {
	file *os.File
	tell func(error) // of a target that has taken nothing for a while
}

const (
	pipeBuf  = 4096
	pollTime = 100 * time.Millisecond // between two looks at ctx
	stuck    = 2 * time.Second        // without room, after which that is said
)

// ErrStuck is a pipe or terminal that takes nothing.
var ErrStuck = errors.New("the log's target takes nothing")

func (s *stream) reopen() error { return nil }
func (s *stream) close() error  { return nil }

func (s *stream) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if err := s.room(ctx); err != nil {
			return err
		}
		n, err := s.file.Write(p[:min(len(p), pipeBuf)])
		if err != nil {
			return fmt.Errorf("writing the log: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// room waits until something can be written.
func (s *stream) room(ctx context.Context) error {
	var since time.Duration
	for {
		fds := []unix.PollFd{{Fd: int32(s.file.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(pollTime/time.Millisecond))
		switch {
		case n > 0:
			return nil // also if the other end is gone: writing says so
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("waiting for the log's target: %w", err)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrStuck, ctx.Err())
		}
		if since += pollTime; since == stuck {
			s.tell(ErrStuck)
		}
	}
}

// plain is a writer of which nothing is known.
type plain struct{ to io.Writer }

func (p *plain) reopen() error { return nil }
func (p *plain) close() error  { return nil }

func (p *plain) write(_ context.Context, b []byte) error {
	if _, err := p.to.Write(b); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}
