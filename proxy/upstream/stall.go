package upstream

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// Our own engine knows by itself when a server stands still. For the library's,
// which has no limit for that, bodies are wrapped: each piece has its time.

// mayRest reports whether a message is a stream in which nothing may happen for
// as long as it likes.
func mayRest(h http.Header) bool {
	kind := h.Get("Content-Type")
	return strings.HasPrefix(kind, "text/event-stream") || strings.HasPrefix(kind, "application/grpc")
}

// piecewise carries out a request by do, and gives up when the server has stood
// still for limit in the middle of either body.
func piecewise(req *http.Request, limit time.Duration, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	if limit <= 0 || mayRest(req.Header) {
		return do(req)
	}
	var up *intake
	if req.Body != nil && req.Body != http.NoBody {
		ctx, cancel := context.WithCancelCause(req.Context())
		up = &intake{ReadCloser: req.Body, limit: limit}
		up.timer = time.AfterFunc(limit, func() {
			cancel(&h1.TimeoutError{Waiting: "the server to take more of the request", After: limit})
		})
		up.timer.Stop()
		req = req.WithContext(ctx)
		req.Body = up
	}
	res, err := do(req)
	if err != nil {
		if up != nil && req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	if !mayRest(res.Header) && res.Body != nil && res.Body != http.NoBody {
		res.Body = newOuttake(res.Body, limit)
	}
	return res, nil
}

// intake is a request's body, of which the server has to take each piece in
// time: between two reads it is the server who is waited for.
type intake struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	over  atomic.Bool // closed
}

func (b *intake) Read(p []byte) (int, error) {
	b.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		b.timer.Reset(b.limit)
		if b.over.Load() {
			b.timer.Stop()
		}
	}
	return n, err
}

func (b *intake) Close() error {
	b.over.Store(true)
	b.timer.Stop()
	return b.ReadCloser.Close()
}

// outtake is a response's body, of which each piece has to come in time.
type outtake struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	late  atomic.Bool
}

func newOuttake(body io.ReadCloser, limit time.Duration) *outtake {
	b := &outtake{ReadCloser: body, limit: limit}
	b.timer = time.AfterFunc(limit, func() {
		b.late.Store(true)
		_ = body.Close() // wakes up the read; the engine resets the stream
	})
	b.timer.Stop()
	return b
}

func (b *outtake) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && b.late.Load() {
		err = &h1.TimeoutError{Waiting: "more of the response", After: b.limit}
	}
	return n, err
}
