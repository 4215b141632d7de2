package h1

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// bodyMode is how the end of a response's body is told (RFC 9112 section 6.3).
type bodyMode uint8

const (
	undecided bodyMode = iota
	bodiless           // HEAD, 1xx, 204, 304
	counted            // Content-Length
	chunked
	untilClose // to HTTP/1.0
)

// response is the [http.ResponseWriter] of an exchange. It may be used by
// several goroutines, also after the handler has returned: then it does nothing.
type response struct {
	exchange *exchange
	mu       sync.Mutex
	header   http.Header
	status   int  // 0: not yet
	awaited  bool // the client waits for 100 Continue

	out        *[bufferSize]byte // from the pool, while there is something in it
	large      []byte            // instead of out, for a head that does not fit
	head, data int               // see output.go

	mode      bodyMode
	declared  int64    // Content-Length; -1: none
	written   int64    // of the body
	announced []string // names of trailers
	closing   bool     // Connection: close was asked for, or said
	sentHead  bool
	owed      bool // the CRLF of the last chunk
	ended     bool // the handler has returned
	hijacked  bool
	err       error
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header, 8)
	}
	return w.header
}

// Adopt makes a map the response's header, unless somebody has asked for that
// already. A handler that has a whole header at hand spares copying it.
func (w *response) Adopt(h http.Header) bool {
	if w.header != nil {
		return false
	}
	w.header = h
	return true
}

// WriteHeader implements [http.ResponseWriter]. A 1xx is sent at once, except
// for 101, which ends the exchange, and 100, which is sent when the body is
// read; HTTP/1.0 does not know them. What no status code can be is a panic, as
// in net/http.
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("h1: impossible status code")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.hijacked || w.status != 0 {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.begin(status)
}

// inform sends an informational response (RFC 9110 section 15.2). The lock is
// held.
func (w *response) inform(status int) {
	if w.exchange.request.ProtoMinor == 0 {
		return
	}
	if status == http.StatusContinue {
		w.welcomeLocked()
		return
	}
	w.renderHead(status)
	w.emit(append(w.space()[:w.head], "\r\n"...))
	w.head = 0
	w.drop()
	w.declared, w.announced, w.closing = -1, nil, false // it is not these that it said
}

// welcome asks for a body that waits to be asked for (RFC 9110 section
// 10.1.1), unless the final response has begun.
func (w *response) welcome() error {
	if !w.awaited { // set before the handler was called
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.welcomeLocked()
}

func (w *response) welcomeLocked() error {
	if !w.awaited || w.sentHead || w.ended {
		return nil
	}
	w.awaited = false
	w.emit([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return w.err
}

// begin fixes status and header. The lock is held.
func (w *response) begin(status int) {
	w.status = status
	w.renderHead(status)
	switch {
	case w.exchange.request.Method == http.MethodHead, status < 200, status == http.StatusNoContent, status == http.StatusNotModified:
		w.mode = bodiless
	case w.declared >= 0:
		w.mode = counted
	case w.announces(status):
		w.mode = chunked
	}
}

// announces reports whether the response is chunked because of its trailers.
func (w *response) announces(status int) bool {
	return len(w.announced) > 0 && w.declared < 0 && w.exchange.request.ProtoMinor > 0 && status >= 200
}

// Write implements [http.ResponseWriter]. Nothing is left of p when it returns.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(len(p)); err != nil {
		return 0, err
	}
	w.append(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// WriteString implements [io.StringWriter].
func (w *response) WriteString(s string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(len(s)); err != nil {
		return 0, err
	}
	for rest := s; rest != "" && w.err == nil; {
		n := min(len(rest), outSize/2)
		w.append([]byte(rest[:n]))
		rest = rest[n:]
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(s), nil
}

// admit checks whether n more bytes of body can be written. The lock is held.
func (w *response) admit(n int) error {
	switch {
	case w.ended:
		return errEnded
	case w.hijacked:
		return http.ErrHijacked
	case w.status == 0:
		w.begin(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case w.mode == bodiless && w.exchange.request.Method != http.MethodHead:
		return http.ErrBodyNotAllowed
	}
	if w.declared >= 0 && w.mode == counted && w.written+int64(n) > w.declared {
		return http.ErrContentLength
	}
	w.written += int64(n)
	return nil
}

// ReadFrom implements [io.ReaderFrom], with a buffer from the pool.
func (w *response) ReadFrom(from io.Reader) (total int64, err error) {
	s := w.exchange.conn.server
	buffer := s.outs.Get().(*[bufferSize]byte)
	defer s.outs.Put(buffer)
	for {
		n, readErr := from.Read(buffer[:outSize])
		if n > 0 {
			m, err := w.Write(buffer[:n])
			if total += int64(m); err != nil {
				return total, err
			}
		}
		if readErr == io.EOF {
			return total, nil
		}
		if readErr != nil {
			return total, readErr
		}
	}
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() }

// FlushError sends what was written, and the head if nothing was. It is for
// [http.ResponseController].
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(0); err != nil && err != http.ErrBodyNotAllowed {
		return err
	}
	w.send(nil, false)
	return w.err
}

// finish ends the response after the handler has, and says what becomes of the
// connection.
func (w *response) finish(completed bool) fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.drop()
	w.ended = true
	if !completed || w.err != nil {
		return abort
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	whole := w.exchange.body.whole()
	if !whole {
		// Where the next request begins could only be known by reading on.
		w.closing = true
	}
	if w.mode == counted && w.written < w.declared {
		w.send(nil, false)
		return abort // the client sees that something is missing
	}
	w.send(nil, true)
	switch {
	case w.err != nil:
		return abort
	case !whole, w.closing && w.exchange.conn.unread():
		return linger
	case w.closing:
		return end
	}
	return keep
}

// unread reports whether the client has sent more than was asked for.
func (c *conn) unread() bool { return c.ahead || c.scratch != nil && c.r < c.w }

// emit writes to the connection. The lock is held. A failure ends the
// request's context: nobody will take the answer.
func (w *response) emit(p []byte) {
	if w.err != nil {
		return
	}
	if w.err = w.exchange.conn.write(p); w.err != nil {
		w.exchange.context.cancel(context.Canceled)
	}
}

// renderHead writes the status line and the fields, but not those that frame
// the body, into the buffer. The lock is held.
func (w *response) renderHead(status int) {
	r := &w.exchange.request
	w.declared = -1
	b := w.space()[:0]
	if r.ProtoMinor == 0 {
		b = append(b, "HTTP/1.0 "...)
	} else {
		b = append(b, "HTTP/1.1 "...)
	}
	b = append(b, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\n"...)
	_, dated := w.header["Date"]
	for name, values := range w.header {
		if len(values) == 0 || w.framing(name, values) || !wire.IsToken(name) {
			continue
		}
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = appendValue(b, value)
			b = append(b, "\r\n"...)
		}
	}
	if w.announces(status) {
		b = append(b, "Trailer: "...)
		b = append(b, strings.Join(w.announced, ", ")...)
		b = append(b, "\r\n"...)
	}
	if !dated && status >= 200 {
		b = append(b, w.exchange.conn.server.dateLine(time.Now())...)
	}
	w.settle(b)
}

// framing takes note of the fields that decide how the response is framed, and
// reports whether it is left to output.go to write them.
func (w *response) framing(name string, values []string) bool {
	switch name {
	case "Content-Length":
		if n, ok := wire.ParseLength(values[0]); ok && len(values) == 1 {
			w.declared = n
		}
		return true
	case "Transfer-Encoding":
		return true
	case "Connection":
		if wire.HasOption(values, "close") {
			w.closing = true
			return true
		}
	case "Trailer":
		for _, list := range values {
			for name := range strings.SplitSeq(list, ",") {
				name = http.CanonicalHeaderKey(wire.TrimSpace(name))
				if wire.IsToken(name) && !wire.ForbiddenTrailer(name) {
					w.announced = append(w.announced, name)
				}
			}
		}
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// appendValue writes a field's value. What could end the line is made a space,
// as in net/http.
func appendValue(b []byte, value string) []byte {
	value = wire.TrimSpace(value)
	start := len(b)
	b = append(b, value...)
	for i, c := range b[start:] {
		if !wire.IsValueByte(c) {
			b[start+i] = ' '
		}
	}
	return b
}
