package proxy

import (
	"net/http"
	"strings"
	"time"
)

// patient lets the reader of a stream of events take its time: over HTTP/1.1
// the listener ends connections whose client does not take what is written, but
// leaves those alone whose handler has set a deadline. It returns what to do
// when the response is over. HTTP/2 and HTTP/3 know by the head of the response.
func patient(w http.ResponseWriter, r *http.Request, res *http.Response) func() {
	if r.ProtoMajor != 1 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return func() {}
	}
	const ages = 24 * time.Hour // for one piece
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(ages))
	return func() { _ = control.SetWriteDeadline(time.Time{}) }
}
