package h1

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// sender writes a request's body while the response may already be read. The
// head has been sent by then: holding it back until the goroutine has a first
// piece of the body to go with it saves a system call, but was measured to cost
// a third more processor time for 10 KB, in hand-offs.
type sender struct {
	x      *exchange
	c      *conn
	body   io.ReadCloser
	length int64 // -1: chunked

	ending atomic.Bool   // the last bytes are being written
	done   chan struct{} // closed when the connection is not used any more
	err    error         // set before done is closed
	broken bool          // err is the body's, not the connection's
}

// run sends the body and closes it.
func (s *sender) run() {
	defer s.body.Close()
	buf := s.x.t.copies.Get().(*[copySize]byte)
	defer s.x.t.copies.Put(buf)
	var sawEnd bool
	if s.length < 0 {
		sawEnd = true
		s.err = s.sendChunks(buf[:])
	} else {
		sawEnd, s.err = s.sendLength(buf[:])
	}
	switch {
	case s.err == nil:
		if s.x.t.options.BodyIdleTimeout > 0 {
			s.c.setWriteDeadline(time.Time{})
		}
		s.x.limit(s.x.patience)
	case !s.broken:
		s.x.limit(lastWords)
	}
	close(s.done)
	if s.broken {
		s.c.interrupt() // the server waits for something that will not come
	}
	if !sawEnd && s.err == nil {
		// All was sent. Some bodies do more at their end, like taking in
		// trailers, so let it see that.
		_, _ = s.body.Read(buf[:1])
	}
}

// write writes some of the body.
func (s *sender) write(p []byte) error {
	patience := s.x.t.options.BodyIdleTimeout
	if patience > 0 {
		s.c.setWriteDeadline(time.Now().Add(patience))
	}
	_, err := s.c.stream.Write(p)
	if err != nil && isDeadline(err) && !s.c.interrupted.Load() {
		return &TimeoutError{forIntake, patience}
	}
	return err
}

// fail notes that the body cannot be read.
func (s *sender) fail(err error) error {
	s.broken = true
	return err
}

// sendLength sends a body of known length. It reports whether the body's end
// was seen.
func (s *sender) sendLength(buf []byte) (sawEnd bool, err error) {
	for left := s.length; left > 0; {
		n, readErr := readBody(s.body, buf[:min(int64(len(buf)), left)])
		left -= int64(n)
		s.ending.Store(left == 0)
		if n > 0 {
			if err := s.write(buf[:n]); err != nil {
				return false, err
			}
		}
		switch {
		case readErr == io.EOF && left > 0:
			return true, s.fail(errShortBody)
		case readErr == io.EOF:
			return true, nil
		case readErr != nil && left > 0:
			return false, s.fail(readErr)
		}
	}
	return false, nil
}

// sendChunks sends a body in chunks, each as it comes and in one write, and
// the trailers (RFC 9112 section 7.1).
func (s *sender) sendChunks(buf []byte) error {
	const before, after = len("7fff\r\n"), len("\r\n0\r\n")
	for {
		n, readErr := readBody(s.body, buf[before:len(buf)-after])
		if readErr != nil && readErr != io.EOF {
			return s.fail(readErr)
		}
		chunk := buf[before:before]
		if n > 0 {
			start := before - 2
			buf[start], buf[start+1] = '\r', '\n'
			for size := n; size > 0; size >>= 4 {
				start--
				buf[start] = "0123456789abcdef"[size&15]
			}
			chunk = append(buf[start:before+n], '\r', '\n')
		}
		if readErr == io.EOF {
			s.ending.Store(true)
			last, err := appendTrailers(append(chunk, "0\r\n"...), s.x.req.Trailer)
			if err != nil {
				return s.fail(err)
			}
			chunk = append(last, '\r', '\n')
		}
		if err := s.write(chunk); err != nil || readErr == io.EOF {
			return err
		}
	}
}

// readBody reads something or fails.
func readBody(r io.Reader, p []byte) (int, error) {
	for range 100 {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// appendTrailers writes the trailers that may be sent. The body has set them.
func appendTrailers(b []byte, trailer http.Header) ([]byte, error) {
	for name, values := range trailer {
		if !wire.IsToken(name) {
			return nil, &RequestError{"a trailer's name is not a token"}
		}
		if wire.ForbiddenTrailer(http.CanonicalHeaderKey(name)) {
			continue
		}
		for _, value := range values {
			value = wire.TrimSpace(value)
			if !wire.IsFieldValue(value) {
				return nil, &RequestError{"a control character in the value of trailer " + name}
			}
			b = append(b, name...)
			b = append(b, ':', ' ')
			b = append(b, value...)
			b = append(b, '\r', '\n')
		}
	}
	return b, nil
}

// finished reports whether all was sent. A server can have read and answered
// everything before the goroutine that wrote it runs again.
func (s *sender) finished() bool {
	select {
	case <-s.done:
		return s.err == nil
	default:
	}
	if !s.ending.Load() {
		return false
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.err == nil
	case <-timer.C:
		return false
	}
}

// failure returns why sending ended before its time, or nil.
func (s *sender) failure() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// bodyFailed reports whether the body could not be read.
func (s *sender) bodyFailed() bool {
	return s.failure() != nil && s.broken
}
