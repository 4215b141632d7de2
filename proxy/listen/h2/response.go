package h2

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tailSize is how much of a response's body waits for more, or for its end.
const tailSize = 4 << 10

// response is an [http.ResponseWriter]. Through [http.ResponseController] it
// can Flush, SetReadDeadline, SetWriteDeadline and EnableFullDuplex, which it
// always is.
//
// As with net/http, one goroutine writes at a time, and "Connection: close" lets
// the connection end when its requests are answered.
type response struct {
	stream   *stream
	header   http.Header
	status   int
	held     http.Header // the header as it was at WriteHeader, if its fields are not sent yet
	declared int64       // Content-Length, -1 if there is none
	written  int64
	trailers []string // announced
	tail     *[tailSize]byte
	used     int
	err      error // no more can be written
	deadline time.Time
	ending   bool // the handler has returned
	returned bool
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header, 8)
	}
	return w.header
}

// head reports whether the response is to a HEAD.
func (w *response) head() bool { return w.stream.request.Method == http.MethodHead }

// bodyless reports whether the response has no content whatever is written.
func (w *response) bodyless() bool {
	return w.head() || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// WriteHeader implements [http.ResponseWriter]. Informational responses leave
// at once.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || w.returned {
		return
	}
	if status < 100 || status > 999 {
		panic("h2: status " + strconv.Itoa(status) + " is none")
	}
	if status < 200 {
		if status != http.StatusSwitchingProtocols { // RFC 9113 section 8.6: it does not exist here
			w.inform(status)
		}
		return
	}
	w.status = status
	w.declared = -1
	if list := w.header["Content-Length"]; len(list) > 0 {
		n, ok := contentLength(list[0])
		if !ok || len(list) > 1 {
			delete(w.header, "Content-Length")
		} else {
			w.declared = n
		}
	}
	for _, list := range w.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				w.trailers = append(w.trailers, name)
			}
		}
	}
	_, typed := w.header["Content-Type"]
	if w.declared > 0 && typed || w.bodyless() && !w.head() {
		w.commit(w.header, nil, w.bodyless())
		return
	}
	// Its length or type may still be found out, and without content the head
	// ends the stream: clients of gRPC insist on that.
	w.held = maps.Clone(w.header)
	if w.held == nil {
		w.held = http.Header{}
	}
}

// inform sends a 1xx response.
func (w *response) inform(status int) {
	c := w.stream.conn
	c.mu.Lock()
	defer c.unlockAndFlush()
	if w.stream.room() != nil {
		return
	}
	c.encode(":status", statusText(status))
	c.encodeHeader(w.header, nil)
	c.endHeaders(w.stream.id, false)
}

// proceed sends 100 Continue, if nothing else was sent.
func (w *response) proceed() {
	c := w.stream.conn
	c.mu.Lock()
	defer c.unlockAndFlush()
	if w.stream.reset || c.dead || w.status != 0 {
		return
	}
	c.encode(":status", "100")
	c.endHeaders(w.stream.id, false)
}

// commit puts the head where it will be sent from, or sets err. body is the
// beginning of the content, if its type is to be guessed.
func (w *response) commit(h http.Header, body []byte, end bool) {
	w.held = nil
	c := w.stream.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.err = w.stream.room(); w.err != nil {
		return
	}
	c.encode(":status", statusText(w.status))
	if _, ok := h["Date"]; !ok {
		c.encode("date", c.server.now())
	}
	if _, ok := h["Content-Type"]; !ok && len(body) > 0 {
		if _, encoded := h["Content-Encoding"]; !encoded {
			c.encode("content-type", http.DetectContentType(body))
		}
	}
	c.encodeHeader(h, w.trailers)
	c.endHeaders(w.stream.id, end)
	if end {
		w.stream.localClosed = true
	}
	for _, option := range h["Connection"] {
		if strings.EqualFold(option, "close") {
			c.beginDrain() // what HTTP/2 has for it
		}
	}
}

// Write implements [http.ResponseWriter]. It returns when the data is on its
// way or, a little of it, waits for more; it waits for the client's flow
// control and for the connection to take it, up to the write deadline.
func (w *response) Write(p []byte) (int, error) { return w.write(p) }

func (w *response) write(p []byte) (int, error) {
	if w.returned {
		return 0, errReturned
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.bodyless() {
		if w.status != http.StatusNoContent && w.status != http.StatusNotModified {
			if w.written += int64(len(p)); w.used+len(p) <= tailSize {
				w.keep(p) // for its length and type
			} else {
				w.commitHeld(p)
			}
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	}
	if w.declared >= 0 && w.written+int64(len(p)) > w.declared {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.used+len(p) <= tailSize {
		w.keep(p)
		return len(p), nil
	}
	// The end of a body waits for the handler's return, which may be at once,
	// to leave with the end of the stream.
	rest := p
	if w.written == w.declared {
		rest = p[len(p)-min(len(p), tailSize/2):]
		p = p[:len(p)-len(rest)]
	} else {
		rest = nil
	}
	if err := w.emit(p, false); err != nil {
		return 0, err
	}
	w.keep(rest)
	return len(p) + len(rest), nil
}

func (w *response) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if w.tail == nil {
		w.tail = w.stream.conn.server.pools.tails.Get().(*[tailSize]byte)
	}
	w.used += copy(w.tail[w.used:], p)
}

// commitHeld sends the head of a response without content, if it was not sent.
// guess is what its type is guessed from if nothing was kept.
func (w *response) commitHeld(guess []byte) {
	if w.held != nil {
		if w.used > 0 {
			guess = w.tail[:w.used]
		}
		w.commit(w.held, guess, true)
	}
}

// emit sends what waited, and p.
func (w *response) emit(p []byte, end bool) error {
	var tail []byte
	if w.tail != nil {
		tail = w.tail[:w.used]
	}
	if w.held != nil {
		guess := tail
		if len(guess) == 0 {
			guess = p
		}
		if w.commit(w.held, guess, false); w.err != nil {
			return w.err
		}
	}
	w.used = 0
	if err := w.stream.send(tail, p, end); err != nil {
		w.err = err
		return err
	}
	return nil
}

// FlushError sends what was written so far.
func (w *response) FlushError() error {
	if w.returned {
		return errReturned
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return w.err
	}
	if w.bodyless() {
		w.commitHeld(nil)
		w.stream.conn.flushNow()
		return w.stream.alive()
	}
	if err := w.emit(nil, false); err != nil {
		return err
	}
	w.stream.conn.flushNow()
	return w.stream.alive()
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() }

// finish ends the response when the handler has returned.
func (w *response) finish() error {
	w.ending = true
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	plain := len(w.trailers) == 0 && !w.trailing()
	if w.held != nil {
		_, ok := w.held["Content-Length"]
		if !ok && int64(w.used) == w.written && (w.used > 0 || !w.head()) {
			w.held["Content-Length"] = []string{strconv.Itoa(w.used)}
		}
	}
	switch {
	case w.err != nil:
		return w.err
	case w.bodyless():
		w.commitHeld(nil)
		return w.err
	case w.declared >= 0 && w.written != w.declared:
		_ = w.emit(nil, false)
		return errShort
	case w.held != nil && plain && w.used == 0:
		w.commit(w.held, nil, true)
		return w.err
	case plain:
		return w.emit(nil, true)
	}
	if err := w.emit(nil, false); err != nil {
		return err
	}
	return w.endWithTrailers()
}

var errShort = errors.New("the handler wrote less than it declared")

// trailing reports whether there are trailers that were not announced.
func (w *response) trailing() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// endWithTrailers: RFC 9113 section 8.1.
func (w *response) endWithTrailers() error {
	c := w.stream.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.stream.room(); err != nil {
		return err
	}
	any := false
	add := func(name string, values []string) {
		l, ok := c.server.names.wire(name)
		if !ok || forbidden(l) || l == "content-length" || l == "trailer" {
			return
		}
		for _, v := range values {
			if isValue(v) {
				c.encode(l, v)
				any = true
			}
		}
	}
	for _, name := range w.trailers {
		add(name, w.header[name])
	}
	for name, values := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && !slices.Contains(w.trailers, bare) {
			add(bare, values)
		}
	}
	if any {
		c.endHeaders(w.stream.id, true)
	} else {
		c.out = appendHead(c.out, 0, frameData, flagEndStream, w.stream.id)
	}
	w.stream.localClosed = true
	return nil
}

// release lets go of what was taken from pools. Late writers get an error.
func (w *response) release() {
	w.returned = true
	if w.tail != nil {
		w.stream.conn.server.pools.tails.Put(w.tail)
		w.tail = nil
	}
}

// EnableFullDuplex implements what [http.ResponseController] asks for.
func (w *response) EnableFullDuplex() error { return nil }
