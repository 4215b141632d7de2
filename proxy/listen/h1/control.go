package h1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// What [http.ResponseController] finds, beside FlushError.

//
// Deadlines take no lock of the response: a Write that waits holds that one.

// SetReadDeadline bounds reading the request's body, from any goroutine, and
// wakes up a Read that waits. It holds until it is set again or the body has
// been read to its end. Zero is no limit.
func (w *response) SetReadDeadline(t time.Time) error {
	x := w.exchange
	x.control.Lock()
	defer x.control.Unlock()
	switch {
	case x.over:
		return errEnded
	case x.body.whole():
		return nil // there is nothing to bound
	}
	return x.conn.limitReadNow(t)
}

// SetWriteDeadline bounds writing the response, instead of the limit that
// every write has otherwise. One that is over is final. Zero is no limit.
func (w *response) SetWriteDeadline(t time.Time) error {
	x := w.exchange
	x.control.Lock()
	defer x.control.Unlock()
	if x.over {
		return errEnded
	}
	return x.conn.setWriteDeadline(t)
}

// leave takes the connection away from the two.
func (x *exchange) leave() {
	x.control.Lock()
	defer x.control.Unlock()
	x.over = true
}

// EnableFullDuplex does nothing: reading the body and writing the response
// never wait for one another.
func (w *response) EnableFullDuplex() error { return nil }

// Hijack implements [http.Hijacker]. The connection has no deadline, and what
// the client has sent ahead is in the reader's buffer. What the handler wrote
// before is sent first.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return nil, nil, errEnded
	case w.hijacked:
		return nil, nil, http.ErrHijacked
	case w.err != nil:
		return nil, nil, w.err
	}
	if w.status != 0 {
		w.send(nil, false)
	}
	w.drop()
	w.hijacked = true
	x, c := w.exchange, w.exchange.conn
	x.leave()
	x.body.end()
	c.endWatch()
	var ahead []byte
	if c.ahead || c.scratch != nil {
		c.open()
		ahead = slices.Clone(c.buffered())
		c.r, c.w = 0, 0
		c.release()
	}
	c.dropDeadlines()
	c.observe(http.StateHijacked)
	var from io.Reader = c.nc
	if len(ahead) > 0 {
		from = io.MultiReader(bytes.NewReader(ahead), c.nc)
	}
	reader := bufio.NewReaderSize(from, max(readSize, len(ahead)))
	_, _ = reader.Peek(len(ahead))
	return c.nc, bufio.NewReadWriter(reader, bufio.NewWriterSize(c.nc, readSize)), nil
}

var (
	_ http.Flusher    = (*response)(nil)
	_ http.Hijacker   = (*response)(nil)
	_ io.ReaderFrom   = (*response)(nil)
	_ io.StringWriter = (*response)(nil)
)
