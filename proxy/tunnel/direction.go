package tunnel

import (
	"io"
	"sync"
)

// direction is one of the two of a tunnel.
type direction struct {
	to     io.Writer
	masked bool // to the server

	mu      sync.Mutex // held while it is written to
	frames  frames
	leaving bool // our close frame comes at the next boundary
	done    bool // nothing may be written any more
}

// write passes p on. When we are leaving, our close frame takes the place of
// what comes after the first boundary.
func (d *direction) write(p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.leaving && !d.done {
		n := d.frames.next(p)
		if _, err := d.to.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		d.say()
		if len(p) == 0 {
			return nil
		}
	}
	if d.done {
		return nil // what a client says to our close frame, above all
	}
	d.frames.all(p)
	_, err := d.to.Write(p)
	return err
}

// finish ends the direction when there is no more to read, and reports whether
// the other one may go on.
func (d *direction) finish(readErr error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return true // the receiver has been told
	}
	d.done = true
	half, ok := d.to.(interface{ CloseWrite() error })
	return readErr == io.EOF && ok && half.CloseWrite() == nil
}

// part asks for our close frame.
func (d *direction) part() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = true
	d.say()
}

// say writes our close frame and ends the direction, if this is the place for
// it. With the lock held.
func (d *direction) say() {
	if d.done || !d.frames.between() {
		return
	}
	d.done = true
	if _, err := d.to.Write(closeFrame(d.masked)); err != nil {
		return // the reader of that side notices
	}
	if half, ok := d.to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
