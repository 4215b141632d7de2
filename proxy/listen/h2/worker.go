package h2

import "slices"

// mostResting is how many goroutines a connection keeps between requests. More
// end when their request is answered.
const mostResting = 16

// worker is a goroutine that answers requests of one connection, one after the
// other. A new goroutine for each would have to grow its stack each time; these
// have theirs. They end when they have had nothing to do for a while, or with the
// connection.
type worker struct {
	conn *conn
	next chan *stream // holds one; made when the worker first rests
}

// employ has a stream answered: by a worker that rests, or by a new one. With
// the lock held.
func (c *conn) employ(s *stream) {
	if n := len(c.resting); n > 0 {
		w := c.resting[n-1]
		c.resting = c.resting[:n-1]
		c.spare = min(c.spare, n-1)
		w.next <- s
		return
	}
	c.work.Add(1)
	go (&worker{conn: c}).run(s)
}

func (w *worker) run(s *stream) {
	defer w.conn.work.Done()
	for s != nil {
		if !s.run(w) {
			return
		}
		s = <-w.next
	}
}

// rest reports whether a worker, nil is none, is to wait for another stream. With
// the lock held.
func (c *conn) rest(w *worker) bool {
	if w == nil || c.dead || c.ending || len(c.resting) >= mostResting {
		return false
	}
	if w.next == nil {
		w.next = make(chan *stream, 1)
	}
	c.resting = append(c.resting, w)
	return true
}

// dismiss ends the n workers that have rested longest. With the lock held.
func (c *conn) dismiss(n int) {
	for _, w := range c.resting[:n] {
		close(w.next)
	}
	c.resting = slices.Delete(c.resting, 0, n)
	if len(c.resting) == 0 {
		c.resting = nil
	}
	c.spare = len(c.resting)
}
