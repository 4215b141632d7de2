package compress

import (
	"io"
	"net/http"
	"strings"
)

// writer decides at the response's head whether to compress, and then does.
type writer struct {
	http.ResponseWriter
	compressor *Compressor
	request    *http.Request

	begun    bool
	encoding *encoding
	encoder  encoder // nil: the response goes out as it is
	pending  bool    // the encoder may hold something back
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *writer) WriteHeader(status int) {
	if !w.begun && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begun = true
		w.decide(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// decide changes the response's head if the response is to be compressed.
func (w *writer) decide(status int) {
	h := w.Header()
	accepted := w.compressor.choose(w.request.Header["Accept-Encoding"])
	if status == http.StatusNotModified {
		w.weakenKnown(h)
		return
	}
	if !w.compressor.eligible(w.request, status, h) {
		return
	}
	addVary(h)
	if accepted == nil || len(w.request.Header["Range"]) > 0 {
		return
	}
	if w.request.Method != http.MethodHead {
		if w.encoder = w.compressor.acquire(accepted, w.ResponseWriter); w.encoder == nil {
			return
		}
	}
	w.encoding = accepted
	h["Content-Encoding"] = accepted.value
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	weaken(h)
}

// weaken makes a strong ETag weak: it names other bytes than these.
func weaken(h http.Header) {
	if tag := h["Etag"]; len(tag) == 1 && strings.HasPrefix(tag[0], `"`) {
		h["Etag"] = []string{"W/" + tag[0]}
	}
}

// weakenKnown names a stored response by the weak tag that the client was given
// for it, so that it finds what the 304 is about (RFC 9111 section 4.3.4).
func (w *writer) weakenKnown(h http.Header) {
	tag := h["Etag"]
	if len(tag) != 1 || !strings.HasPrefix(tag[0], `"`) {
		return
	}
	for _, known := range w.request.Header["If-None-Match"] {
		if strings.Contains(known, "W/"+tag[0]) {
			addVary(h)
			weaken(h)
			return
		}
	}
}

// addVary says that the answer depends on Accept-Encoding.
func addVary(h http.Header) {
	have := h["Vary"]
	if directive(have, "Accept-Encoding") || directive(have, "*") {
		return
	}
	h["Vary"] = append(have[:len(have):len(have)], "Accept-Encoding")
}

// Write implements [io.Writer].
func (w *writer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.encoder == nil {
		return w.ResponseWriter.Write(p)
	}
	w.pending = true
	return w.encoder.Write(p)
}

// ReadFrom lets a response that is not compressed go the short way, if there is
// one.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if short, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.encoder == nil {
		return short.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// FlushError pushes out what was written, to its last byte.
func (w *writer) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.pending {
		w.pending = false
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// finish ends the compressed content. A failure is the connection's, which its
// own server notices as well.
func (w *writer) finish() {
	if w.encoder != nil {
		_ = w.encoder.Close()
	}
}

// release gives the encoder back.
func (w *writer) release() {
	if w.encoder != nil {
		w.compressor.release(w.encoding, w.encoder)
		w.encoder = nil
	}
}
