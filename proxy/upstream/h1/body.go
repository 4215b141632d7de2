package h1

import (
	"bytes"
	"io"
)

// States of a body, to keep its connection from being given back under a Read
// that another goroutine has under way.
const (
	inUse  = 1 << iota // Read or WriteTo runs
	closed             // Close was called
)

// Read reads from the response's body. A body that ends early is
// [io.ErrUnexpectedEOF], a malformed one a [*ProtocolError].
func (x *exchange) Read(p []byte) (int, error) {
	if err := x.enter(); err != nil {
		return 0, err
	}
	defer x.exit()
	return x.readBody(p)
}

// WriteTo copies the rest of the body to w: what is in the read buffer directly
// from there, the rest with a pooled buffer. The kernel's splice is left aside:
// a proxy's other side is TLS.
func (x *exchange) WriteTo(w io.Writer) (int64, error) {
	if err := x.enter(); err != nil {
		return 0, err
	}
	defer x.exit()
	var total int64
	for x.ended == nil {
		piece := x.ready()
		if len(piece) == 0 {
			n, err := x.copyOut(w)
			return total + n, err
		}
		n, err := w.Write(piece)
		x.use(len(piece))
		if total += int64(n); err != nil {
			return total, err
		}
	}
	return total, x.failure()
}

// AtHand reports, without waiting, whether more of the body has arrived and
// whether nothing more will come. A caller that passes the body on may hold
// back what it has while more is there. Only whoever reads the body may call
// it, or the writer that WriteTo writes to.
func (x *exchange) AtHand() (more, ended bool) {
	if x.ended != nil {
		return false, true
	}
	ahead := x.c.buffered()
	if x.kind != byChunks || x.chunks.Data() > 0 {
		return len(ahead) > 0, false
	}
	size := bytes.IndexByte(ahead, '\n')
	return size >= 0 && size+1 < len(ahead), false
}

// copyOut copies what is not ready in the read buffer.
func (x *exchange) copyOut(w io.Writer) (total int64, err error) {
	buf := x.t.copies.Get().(*[copySize]byte)
	defer x.t.copies.Put(buf)
	for x.ended == nil {
		n, _ := x.readBody(buf[:]) // its error ends the loop
		if n == 0 {
			continue
		}
		m, err := w.Write(buf[:n])
		if total += int64(m); err != nil {
			return total, err
		}
	}
	return total, x.failure()
}

// failure returns why the body ended, unless it simply did.
func (x *exchange) failure() error {
	if x.ended == io.EOF {
		return nil
	}
	return x.ended
}

// Close ends the use of the body. The connection is closed if there is more to
// come: reading on just to keep it may take for ever.
func (x *exchange) Close() error {
	switch x.using.Or(closed) {
	case 0:
		x.finish(false)
	case inUse:
		x.interrupt() // whoever reads cleans up
	}
	return nil
}

// Recycle implements [Recycler].
func (x *exchange) Recycle() bool {
	if x.ended != io.EOF || x.using.Load() != closed || x.sender != nil || x.trace != nil || !x.reused || x.shared {
		return false
	}
	t := x.t
	*x = exchange{}
	t.exchanges.Put(x)
	return true
}

func (x *exchange) enter() error {
	for {
		switch old := x.using.Load(); {
		case old&closed != 0:
			return errBodyClosed
		case old&inUse != 0:
			return errConcurrentRead
		case x.using.CompareAndSwap(old, old|inUse):
			return nil
		}
	}
}

func (x *exchange) exit() {
	if x.using.And(^uint32(inUse))&closed != 0 {
		x.finish(false)
	}
}

// readBody reads and ends the exchange at the end of the body.
func (x *exchange) readBody(p []byte) (int, error) {
	if x.ended != nil {
		return 0, x.ended
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	switch x.kind {
	case byChunks:
		n, err = x.readChunks(p)
	case byLength:
		n, err = x.c.read(p[:min(int64(len(p)), x.left)])
		err = unexpected(err)
		if x.left -= int64(n); x.left == 0 {
			err = io.EOF
		}
	default:
		n, err = x.c.read(p)
	}
	if err != nil {
		x.end(err)
	}
	return n, x.ended
}

// end ends the exchange with what Read is to say from now on.
func (x *exchange) end(err error) {
	if err != io.EOF {
		err = x.explainBody(err)
	}
	x.ended = err
	x.finish(err == io.EOF)
}

// ready returns what is in the read buffer and is body as it stands.
func (x *exchange) ready() []byte {
	if x.kind == byChunks {
		return nil
	}
	piece := x.c.buffered()
	if x.kind == byLength {
		piece = piece[:min(int64(len(piece)), x.left)]
	}
	return piece
}

// use takes n bytes that were ready.
func (x *exchange) use(n int) {
	x.c.r += n
	if x.kind != byLength {
		return
	}
	if x.left -= int64(n); x.left == 0 {
		x.end(io.EOF)
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
