package h1

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// A response's buffer holds the head as far as it is known, then some room,
// then the beginning of the body. What is in between, how the body is framed,
// is known only when either is sent, at the latest when the handler returns. Then
// it is written in front of the body, and the head is moved up to it: a short
// way for a few hundred bytes, after which all leaves in one write.
const (
	// outSize is how much is sent at once: what one TLS record holds.
	outSize = 16 << 10

	// framingRoom is the room. It holds a Content-Length or a
	// Transfer-Encoding, a Connection, the empty line and a chunk's size.
	framingRoom = 128

	bufferSize = outSize + framingRoom

	// chunkClosing is the room behind the body for the last chunk.
	chunkClosing = len("\r\n0\r\n\r\n")
)

// space returns the buffer.
func (w *response) space() []byte {
	if w.large != nil {
		return w.large
	}
	if w.out == nil {
		w.out = w.exchange.conn.server.outs.Get().(*[bufferSize]byte)
	}
	return w.out[:]
}

// drop gives the buffer back.
func (w *response) drop() {
	w.head, w.data, w.large = 0, 0, nil
	if w.out != nil {
		w.exchange.conn.server.outs.Put(w.out)
		w.out = nil
	}
}

// settle keeps a head that was written with append to the buffer, or to a
// larger one that append has made.
func (w *response) settle(b []byte) {
	w.head = len(b)
	const body = 4 << 10 // at least
	if len(b) <= outSize-framingRoom-body {
		return
	}
	w.large = make([]byte, len(b)+framingRoom+outSize)
	copy(w.large, b)
}

// base returns where the body begins in the buffer.
func (w *response) base() int {
	if w.sentHead && w.mode != chunked {
		return w.head
	}
	return w.head + framingRoom
}

// append adds to the body, and sends when there is no room. The lock is held.
func (w *response) append(p []byte) {
	if w.mode == bodiless {
		return
	}
	at := w.base() + w.data
	if w.err != nil {
		return
	}
	if room := w.limit() - chunkClosing - at; len(p) > room {
		w.send(p, false)
		return
	}
	copy(w.space()[at:], p)
	w.data += len(p)
}

// limit returns how much of the buffer can be used, so that even after the head
// was moved as little as possible, one record holds it.
func (w *response) limit() int {
	if w.large != nil {
		return len(w.large) - framingRoom
	}
	return outSize
}

// send sends the head if it was not yet, what is in the buffer, p, and, if
// final, the end of the body: then p is empty. The lock is held.
func (w *response) send(p []byte, final bool) {
	if w.mode == undecided {
		w.decide(final)
	}
	var framing [framingRoom]byte
	f := w.appendFraming(framing[:0], w.data+len(p), final)
	start := w.base() - w.head - len(f)
	end := w.base() + w.data
	w.sentHead = true
	chunk := w.mode == chunked && w.data+len(p) > 0
	closing := w.mode == chunked && final
	if w.head+w.data+len(f) == 0 && !closing {
		w.pass(p)
		return
	}
	buf := w.space()
	copy(buf[start:], buf[:w.head])
	copy(buf[start+w.head:], f)
	fits := copy(buf[end:start+w.limit()], p)
	piece := buf[start : end+fits]
	p = p[fits:]
	w.head, w.data = 0, 0
	if len(p) > 0 {
		w.emit(piece)
		w.pass(p)
		w.owed = chunk
		return
	}
	if chunk {
		piece = append(piece, "\r\n"...)
	}
	if closing {
		piece = append(piece, "0\r\n"...)
		piece = w.appendTrailers(piece)
		piece = append(piece, "\r\n"...)
	}
	w.emit(piece)
	w.drop()
}

// pass sends what does not fit into the buffer. What would not fill a record is
// kept, to go with what comes next; a chunk is sent to its end.
func (w *response) pass(p []byte) {
	if w.mode == chunked {
		w.emit(p)
		w.drop()
		return
	}
	whole := len(p) / outSize * outSize
	if whole > 0 {
		w.emit(p[:whole])
	}
	if rest := p[whole:]; len(rest) > 0 {
		w.large = nil
		w.data = copy(w.space(), rest)
		return
	}
	w.drop()
}

// decide chooses how the body is framed when nothing said how long it is.
func (w *response) decide(final bool) {
	switch {
	case final && !w.hasTrailers():
		w.mode, w.declared = counted, int64(w.data)
	case w.exchange.request.ProtoMinor > 0:
		w.mode = chunked
	default:
		w.mode = untilClose
	}
}

func (w *response) hasTrailers() bool {
	if w.exchange.request.ProtoMinor == 0 {
		return false
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// appendFraming writes what comes between the head's fields and n bytes of the
// body.
func (w *response) appendFraming(b []byte, n int, final bool) []byte {
	if w.owed {
		b = append(b, "\r\n"...)
		w.owed = false
	}
	if !w.sentHead {
		b = w.appendLength(b, final)
		b = w.appendConnection(b)
		b = append(b, "\r\n"...)
	}
	if w.mode == chunked && n > 0 {
		b = strconv.AppendInt(b, int64(n), 16)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendLength writes how the body's end is told (RFC 9112 section 6).
func (w *response) appendLength(b []byte, final bool) []byte {
	length := int64(-1)
	switch {
	case w.mode == chunked:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	case w.mode == untilClose:
		w.closing = true
	case w.mode == counted || w.status == http.StatusNotModified:
		length = w.declared
	case w.status < 200 || w.status == http.StatusNoContent: // RFC 9110 section 8.6
	case w.declared >= 0: // HEAD
		length = w.declared
	case final && w.written > 0 && !w.announces(w.status):
		length = w.written
	}
	if length >= 0 {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendConnection says whether the connection ends (RFC 9112 section 9.6).
func (w *response) appendConnection(b []byte) []byte {
	c := w.exchange.conn
	switch {
	case w.status == http.StatusSwitchingProtocols:
		w.closing = true // what is spoken from here on is not HTTP
	case w.closing || w.exchange.request.Close || c.server.draining.Load() || c.ended.Load():
		w.closing = true
		return append(b, "Connection: close\r\n"...)
	case w.exchange.request.ProtoMinor == 0:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}

// appendTrailers writes the trailers that the handler has set (RFC 9110 section
// 6.5): those announced, and those whose names have [http.TrailerPrefix].
func (w *response) appendTrailers(b []byte) []byte {
	for _, name := range w.announced {
		b = appendTrailer(b, name, w.header[name])
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok && wire.IsToken(name) && !wire.ForbiddenTrailer(http.CanonicalHeaderKey(name)) {
			b = appendTrailer(b, name, values)
		}
	}
	return b
}

func appendTrailer(b []byte, name string, values []string) []byte {
	for _, value := range values {
		b = append(b, name...)
		b = append(b, ": "...)
		b = appendValue(b, value)
		b = append(b, "\r\n"...)
	}
	return b
}
