package cache

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// tap stands between an action and the client: it lets head decide about the
// final head, and keeps a copy of the body if kept is set.
type tap struct {
	http.ResponseWriter

	// head is shown the final head before it is sent. False: neither it nor the
	// body are sent on.
	head func(status int, h http.Header) bool

	limit int64 // of the body that is kept, in bytes

	status   int
	kept     http.Header // set by head: keep the body
	body     bytes.Buffer
	swallow  bool // set by head: the body is not sent
	overflow bool
}

// Unwrap is for [http.ResponseController].
func (t *tap) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *tap) WriteHeader(status int) {
	switch {
	case t.status != 0:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		t.ResponseWriter.WriteHeader(status)
	default:
		t.status = status
		if t.head(status, t.Header()) {
			t.ResponseWriter.WriteHeader(status)
		} else {
			t.swallow = true
		}
	}
}

func (t *tap) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	if t.kept != nil && !t.overflow {
		if int64(t.body.Len()+len(p)) > t.limit {
			t.overflow = true
			t.body = bytes.Buffer{}
		} else {
			t.body.Write(p)
		}
	}
	if t.swallow {
		return len(p), nil
	}
	n, err := t.ResponseWriter.Write(p)
	if err != nil {
		t.overflow = true // the action will stop: what we have is not the whole
	}
	return n, err
}

// FlushError is for [http.ResponseController].
func (t *tap) FlushError() error {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	if t.swallow {
		return nil
	}
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// finish is called when the action has returned: one that wrote nothing meant
// an empty 200.
func (t *tap) finish() {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
}

// whole reports whether the body is all of it.
func (t *tap) whole() bool {
	length := t.kept.Get("Content-Length")
	return !t.overflow && (length == "" || length == strconv.Itoa(t.body.Len()))
}

// sink is the client of a request that nobody waits for.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) FlushError() error                { return nil }
func (s *sink) EnableFullDuplex() error          { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
