package proxy

import (
	"net/http"
	"strings"
	"time"
)

// eventStream reports whether a response is a stream of events that somebody
// watches, in which nothing may happen for long.
func eventStream(h http.Header) bool {
	kind := h["Content-Type"]
	return len(kind) > 0 && strings.HasPrefix(kind[0], "text/event-stream")
}

// patient lets the reader of a stream of events take its time: over HTTP/1.1
// the listener ends connections whose client does not take what is written, but
// leaves those alone whose handler has set a deadline. It returns what to do
// when the response is over. HTTP/2 and HTTP/3 know by the head of the response.
func patient(w http.ResponseWriter, r *http.Request, res *http.Response) func() {
	if r.ProtoMajor != 1 || !eventStream(res.Header) {
		return func() {}
	}
	const ages = 24 * time.Hour // for one piece
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(ages))
	return func() { _ = control.SetWriteDeadline(time.Time{}) }
}
