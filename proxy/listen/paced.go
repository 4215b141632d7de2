package listen

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// paced holds clients to the least rate, whatever the protocol: with the body
// of a request, and on HTTP/2 and HTTP/3, where one stream can stand still while
// its connection moves, with that of the answer. For HTTP/1.1 the guard watches
// the socket instead.
//
// A GET over HTTP/1.1 passes through untouched.
type paced struct {
	next  http.Handler
	flows *flows
}

func (h *paced) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect || isGRPC(r.Header) {
		h.next.ServeHTTP(w, r) // a WebSocket, or a stream that may rest
		return
	}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		body := &pacedBody{ReadCloser: r.Body, flows: h.flows, of: w}
		body.flow.stop = body
		h.flows.begin(&body.flow)
		defer body.end()
		r.Body = body
	}
	if r.ProtoMajor < 2 {
		h.next.ServeHTTP(w, r)
		return
	}
	a := &answer{ResponseWriter: w}
	a.flow.stop = a
	h.flows.begin(&a.flow)
	defer h.flows.end(&a.flow)
	h.next.ServeHTTP(a, r)
}

// pacedBody is a request's body.
type pacedBody struct {
	io.ReadCloser
	flows *flows
	flow  flow
	of    http.ResponseWriter
	once  sync.Once
}

func (b *pacedBody) stop() { _ = http.NewResponseController(b.of).SetReadDeadline(time.Unix(1, 0)) }

// Read fails with [os.ErrDeadlineExceeded] when the client was too slow.
func (b *pacedBody) Read(p []byte) (int, error) {
	b.flow.waiting.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.flow.waiting.Store(false)
	b.flow.moved.Add(int64(n))
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.flow.slow.Load() {
		err = os.ErrDeadlineExceeded // whatever the engine calls it
	}
	b.end()
	return n, err
}

// Buffered tells what can be read without waiting, where the engine knows.
func (b *pacedBody) Buffered() int {
	if inner, ok := b.ReadCloser.(interface{ Buffered() int }); ok {
		return inner.Buffered()
	}
	return 0
}

func (b *pacedBody) end() { b.once.Do(func() { b.flows.end(&b.flow) }) }

// answer is a response on a stream.
type answer struct {
	http.ResponseWriter
	flow flow
}

func (a *answer) stop() {
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader looks at what is to come: of events and of gRPC's messages the
// client may take its time.
func (a *answer) WriteHeader(status int) {
	if h := a.Header(); isGRPC(h) || contentType(h, "text/event-stream") {
		a.flow.exempt.Store(true)
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.flow.waiting.Store(true)
	n, err := a.ResponseWriter.Write(p)
	a.flow.waiting.Store(false)
	a.flow.moved.Add(int64(n))
	return n, err
}

// FlushError implements what [http.ResponseController] looks for.
func (a *answer) FlushError() error {
	a.flow.waiting.Store(true)
	defer a.flow.waiting.Store(false)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

func isGRPC(h http.Header) bool { return contentType(h, "application/grpc") }

// contentType reports whether a message is of a kind, or of a variety of it.
func contentType(h http.Header, kind string) bool {
	values := h["Content-Type"]
	return len(values) > 0 && len(values[0]) >= len(kind) && strings.EqualFold(values[0][:len(kind)], kind)
}
