package acmetest

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds the body of a request, in bytes. The longest honest one is a certificate signing request of a few KiB.
const maxBody = 1 << 20

// Request is one HTTP request as it arrived. Header and Body are shared by all copies: do not change them.
type Request struct {
	Method string
	Path   string // path and query, undecoded: /client/v4/zones?name=example.com
	Host   string
	Proto  string // "HTTP/1.1" or "HTTP/2.0"
	Header http.Header
	Body   []byte
	Token  string // of an "Authorization: Bearer" header; empty without one
	Status int    // of the answer; 0 while there is none, and for ever when there never is one
}

// Failure makes requests fail. The zero value is one plain 500.
type Failure struct {
	Times      int           // how many requests fail; 0 is one, negative is every one until ClearFailures
	Status     int           // of the answer; 0 is 500
	RetryAfter time.Duration // sent in whole seconds, rounded up; 0 or less sends no such header
	HTML       bool          // the answer is a page as from a load balancer, not an API answer
	Code       int           // of the API's error; 0 is one that goes with Status. The ACME server has no codes
	Message    string        // of the error; empty is one that goes with Code or Status
	Hang       bool          // there is no answer: the request hangs until the client gives up or the World closes
	Drop       bool          // there is no answer: the connection is closed
	After      bool          // the request takes effect first; only its answer is lost
	// Match says which requests may fail; nil is all. It may read the URL and the header, not the body, and must not
	// call FailNext or ClearFailures.
	Match func(*http.Request) bool
}

// recorder is the way in to a server: it records every request and lets some of them fail.
type recorder struct {
	requests journal[Request]

	mu       sync.Mutex
	failures []*Failure

	refuse func(http.ResponseWriter, Failure)                        // answers with an injected failure
	next   func(w http.ResponseWriter, r *http.Request, body []byte) // answers what is not to fail
}

// Requests returns what has arrived so far, in the order of arrival.
func (rec *recorder) Requests() []Request { return rec.requests.all() }

// ResetRequests forgets what has arrived so far.
func (rec *recorder) ResetRequests() { rec.requests.reset() }

// WaitRequest waits until some recorded request, past or future, satisfies match. A request is recorded when it
// arrives and once more, with its status, when it has been answered.
func (rec *recorder) WaitRequest(ctx context.Context, match func(Request) bool) error {
	return rec.requests.wait(ctx, match)
}

// FailNext lets the next requests fail as f says. Failures queue up: a request takes the first that matches it.
func (rec *recorder) FailNext(f Failure) {
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Status == 0 {
		f.Status = http.StatusInternalServerError
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.failures = append(rec.failures, &f)
}

// ClearFailures forgets the failures that have not happened yet. Requests that hang go on hanging.
func (rec *recorder) ClearFailures() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.failures = nil
}

func (rec *recorder) takeFailure(r *http.Request) (Failure, bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i, f := range rec.failures {
		if f.Match != nil && !f.Match(r) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		if f.Times == 0 {
			rec.failures = slices.Delete(rec.failures, i, i+1)
		}
		return *f, true
	}
	return Failure{}, false
}

// ServeHTTP is for the World's own servers.
func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	token, _ := bearer(r.Header)
	entry := rec.requests.add(Request{
		Method: r.Method, Path: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Header: r.Header.Clone(), Body: body, Token: token,
	})
	answer := &statusWriter{ResponseWriter: w}
	if f, ok := rec.takeFailure(r); ok {
		rec.fail(answer, r, f)
	} else {
		rec.next(answer, r, body)
	}
	rec.requests.update(func() { entry.Status = answer.status })
}

func (rec *recorder) fail(w http.ResponseWriter, r *http.Request, f Failure) {
	if f.After {
		body, _ := io.ReadAll(r.Body) // from memory
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec.next(&lostAnswer{header: make(http.Header)}, r, body)
	}
	switch {
	case f.Hang:
		<-r.Context().Done() // also when the server closes
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if f.HTML {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(f.Status)
		title := strconv.Itoa(f.Status) + " " + http.StatusText(f.Status)
		_, _ = io.WriteString(w, "<html>\r\n<head><title>"+title+"</title></head>\r\n<body>\r\n<center><h1>"+title+
			"</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n")
		return
	}
	rec.refuse(w, f)
}

// bearer returns the token of an Authorization header, and whether there is such a header at all.
func bearer(h http.Header) (token string, ok bool) {
	value := h.Get("Authorization")
	if scheme, rest, found := strings.Cut(value, " "); found && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true
	}
	return "", value != ""
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lostAnswer is where an answer goes that nobody shall see.
type lostAnswer struct{ header http.Header }

// Header implements http.ResponseWriter.
func (w *lostAnswer) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (w *lostAnswer) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (w *lostAnswer) WriteHeader(int) {}
