package listen

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// settleBody finds out whether a request has a body, where HTTP/3 leaves that
// open: its end comes after the head, often in the same packet but not
// necessarily. Taking every GET for one with a body would make it a chunked
// one for the server behind, and not repeatable.
//
// Only methods that commonly have none are asked, since a client that streams
// both ways (gRPC, POST always) may wait for a response before it sends
// anything; and only until limit, after which a body is assumed.
func settleBody(w http.ResponseWriter, r *http.Request, limit time.Duration) {
	if r.ContentLength == 0 {
		r.Body = http.NoBody
	}
	if r.ContentLength >= 0 {
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete, http.MethodTrace:
	default:
		return
	}
	control := http.NewResponseController(w)
	if limit > 0 {
		_ = control.SetReadDeadline(time.Now().Add(limit))
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	var first [1]byte
	n, err := io.ReadFull(r.Body, first[:])
	switch {
	case n > 0:
		r.Body = &begunBody{ReadCloser: r.Body, first: first[:]}
	case errors.Is(err, io.EOF):
		r.ContentLength, r.Body = 0, http.NoBody
	}
}

// begunBody is a body of which some was read already.
type begunBody struct {
	io.ReadCloser
	first []byte
}

func (b *begunBody) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.ReadCloser.Read(p)
}
