package h2

import (
	"bytes"
	"runtime"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// outLimit is how much waits to be written before writers of content have
	// to wait. Answers to SETTINGS and PING may exceed it by mostPendingFrames.
	outLimit = 64 << 10

	// flushAt is how much a writer lets gather before it writes itself.
	flushAt = 48 << 10

	// earnsAt is the least content of a frame that counts as progress, so that
	// a client cannot earn by opening its window bytewise (CVE-2019-9511).
	earnsAt = 1 << 10
)

// writer gathers frames and writes many at once. Frames are appended to out
// under the connection's lock, in the order in which they will leave. Whoever
// appends to an out that nobody is about to write has to flush: it lets every
// goroutine that is ready to run do so first, so that the responses of streams
// that were answered together leave together, in one record and one system
// call. When nothing else is ready it writes at once.
//
// No goroutine waits for something to write, and the buffers are held only
// while there is something.
type writer struct {
	out      []byte
	box      *[]byte // of the pool, where out came from
	flushing bool
	flushed  chan struct{} // closed when flushing ends; made by who waits
	writeErr error
	window   int64 // of the connection, for DATA
	waiting  []*stream
	encoder  *hpack.Encoder // made when needed, dropped at rest
	table    uint32         // what the client lets the encoder's table grow to
	resized  bool           // the encoder has to tell the client so
	encoded  bytes.Buffer

	initialWindow int64
	writing       time.Time // since when one write lasts
}

func (w *writer) init() {
	w.window = defaultWindow
	w.initialWindow = defaultWindow
	w.table = headerTable
}

// take makes sure that out has a buffer of the pool, when there is a stream to
// write for. With the lock held.
func (c *conn) take() {
	if c.out == nil {
		c.box = c.server.pools.outs.Get().(*[]byte)
		c.out = (*c.box)[:0]
	}
}

// giveUp returns a buffer to the pool.
func (p *pools) giveUp(out []byte, box *[]byte) {
	if out == nil || cap(out) > largestKept {
		return
	}
	if box == nil {
		box = new([]byte)
	}
	*box = out[:0]
	p.outs.Put(box)
}

const largestKept = 2 * outLimit

// kick reports whether the caller has to call flush, or have it called, after
// it has released the lock. With the lock held.
func (c *conn) kick() bool {
	if c.flushing || len(c.out) == 0 || c.writeErr != nil {
		return false
	}
	c.flushing = true
	return true
}

// flush writes out until it is empty, but not for ever on behalf of others.
func (c *conn) flush() {
	for range 4 {
		runtime.Gosched()
		if !c.writeOut() {
			return
		}
	}
	c.flushLater()
}

// flushAll does the same for a goroutine that has nothing else to do.
func (c *conn) flushAll() {
	for {
		runtime.Gosched()
		if !c.writeOut() {
			return
		}
	}
}

// flushLater flushes on another goroutine: for those who must not wait.
func (c *conn) flushLater() {
	c.work.Go(c.flushAll)
}

// flushNow makes sure that what is in out is being written.
func (c *conn) flushNow() {
	c.mu.Lock()
	flush := c.kick()
	c.mu.Unlock()
	if flush {
		c.flush()
	}
}

// writeOut writes what is in out, and reports whether flushing goes on.
func (c *conn) writeOut() bool {
	c.mu.Lock()
	if len(c.out) == 0 || c.writeErr != nil {
		if c.running == 0 || c.writeErr != nil {
			c.server.pools.giveUp(c.out, c.box) // an idle connection holds no buffer
			c.out, c.box = nil, nil
		}
		c.flushing = false
		if c.flushed != nil {
			close(c.flushed)
			c.flushed = nil
		}
		leave := c.finished()
		c.mu.Unlock()
		if leave {
			c.stopReading()
		}
		return false
	}
	out, box := c.out, c.box
	c.out = nil
	c.take()
	c.writing = time.Now()
	c.wakeAll()
	c.mu.Unlock()
	_, err := c.nc.Write(out)
	c.server.pools.giveUp(out, box)
	c.mu.Lock()
	c.writing = time.Time{}
	if err != nil {
		c.writeErr = err
	}
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
	return true
}

// fail ends a connection that cannot be written to or read from any more.
func (c *conn) fail(error) {
	c.mu.Lock()
	if c.writeErr == nil {
		c.writeErr = errGone
	}
	c.out = nil
	c.wakeAll()
	c.mu.Unlock()
	c.cut()
}

// wakeAll wakes those who wait for the connection. With the lock held.
func (c *conn) wakeAll() {
	for _, s := range c.waiting {
		s.waits = false
		s.wakeUp()
	}
	c.waiting = c.waiting[:0]
}

// writable returns why nothing more can be written on the stream. With the lock
// held.
func (s *stream) writable() error {
	switch {
	case s.reset || s.localClosed:
		return errReset
	case s.conn.dead || s.conn.writeErr != nil:
		return errGone
	}
	return nil
}

// alive is writable for those who do not hold the lock.
func (s *stream) alive() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.writable()
}

// send writes content, in two pieces so that they need not be one, and the end
// of the stream.
func (s *stream) send(p, q []byte, end bool) error {
	c := s.conn
	c.mu.Lock()
	for {
		if len(p) == 0 {
			p, q = q, nil
		}
		if len(p) == 0 && !end {
			break
		}
		if err := s.writable(); err != nil {
			c.mu.Unlock()
			return err
		}
		if err := s.response.late(); err != nil {
			c.mu.Unlock()
			return err
		}
		n := int(min(int64(len(p)), frameSize, s.window, c.window))
		if len(p) > 0 && n <= 0 || len(c.out) >= outLimit {
			s.await()
			continue
		}
		last := end && n == len(p) && len(q) == 0
		c.append(s, p[:n], last)
		p = p[n:]
		if last {
			break
		}
	}
	flush := !end && len(c.out) > 0 && c.kick()
	full := len(c.out) >= flushAt
	c.mu.Unlock()
	switch {
	case !flush:
	case full:
		c.flush()
	default:
		c.flushLater()
	}
	return nil
}

// room waits for room in out, for a head or trailers: they have no window that
// would bound what a client that does not read makes us hold. With the lock
// held, which it releases meanwhile.
func (s *stream) room() error {
	for {
		if err := s.writable(); err != nil {
			return err
		}
		if err := s.response.late(); err != nil {
			return err
		}
		if len(s.conn.out) < outLimit {
			return nil
		}
		s.await()
	}
}

// append puts a DATA frame into out. With the lock held.
func (c *conn) append(s *stream, p []byte, last bool) {
	flags := byte(0)
	if last {
		flags = flagEndStream
		s.localClosed = true
	}
	c.take()
	c.out = append(appendHead(c.out, len(p), frameData, flags, s.id), p...)
	s.window -= int64(len(p))
	c.window -= int64(len(p))
	if last || len(p) >= earnsAt {
		c.calm.earn(idleEarned)
		c.owed += len(p) / updateWorth
	}
}

// await waits for the client's window, or for room in out, until the write
// deadline. With the lock held, which it releases meanwhile.
func (s *stream) await() {
	c := s.conn
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	s.response.bound()
	if !s.waits {
		s.waits = true
		c.waiting = append(c.waiting, s)
	}
	deadline := s.response.deadline
	flush := c.kick()
	c.mu.Unlock()
	if flush {
		c.flush()
	}
	if deadline.IsZero() {
		<-s.wake
	} else {
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	c.mu.Lock()
}
