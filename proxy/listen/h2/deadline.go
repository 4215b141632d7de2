package h2

import (
	"os"
	"time"
)

// SetReadDeadline makes reading the request's body fail from t on; the zero
// time is never. It may be moved at any time, also after it has passed.
func (w *response) SetReadDeadline(t time.Time) error {
	w.stream.body.setDeadline(t)
	return nil
}

// SetWriteDeadline makes writing fail from t on, also a Write that waits; the
// zero time is never. A response that could not be written is reset when its
// handler returns.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.stream.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	w.deadline = t
	w.stream.wakeUp()
	return nil
}

// bound sees to it that a client without a window cannot keep what is left of
// an answer, and its stream, for ever once the handler has returned. Called when
// it is waited for. With the lock held.
func (w *response) bound() {
	if limit := w.stream.conn.server.options.LastWriteTimeout; w.ending && limit > 0 && w.deadline.IsZero() {
		w.deadline = time.Now().Add(limit)
	}
}

// late reports whether the write deadline has passed. With the lock held.
func (w *response) late() error {
	if !w.deadline.IsZero() && !time.Now().Before(w.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}
