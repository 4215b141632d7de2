package buffer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Defaults of [Options], in bytes.
const (
	DefaultMemory      = 64 << 10
	DefaultMax         = 64 << 20
	DefaultTotalMemory = 64 << 20
	DefaultTotalDisk   = 1 << 30
)

// Options shape a [Buffer], in bytes. They are comparable: equal options may
// share one.
type Options struct {
	// Dir is the directory for what does not fit into memory. It is made, with
	// mode 0700, when it is needed. Empty: nothing goes to disk.
	Dir string

	// Memory is how much of one body is kept in memory. Zero is
	// [DefaultMemory].
	Memory int64

	// Max is the largest body; a larger one is refused with 413. Zero is
	// [DefaultMax].
	Max int64

	// TotalMemory and TotalDisk bound all bodies that are held at a time. When
	// memory is used up bodies go to disk; when the disk's share is, requests
	// are refused with 503. Zero is [DefaultTotalMemory] and
	// [DefaultTotalDisk].
	TotalMemory, TotalDisk int64
}

// Buffer takes in the bodies of requests.
type Buffer struct {
	options Options
	memory  budget
	disk    budget
}

// budget is an amount of bytes that many share.
type budget struct {
	used atomic.Int64
	most int64
}

// take reports whether n more bytes are left, and takes them if so.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// Refusals.
var (
	errTooLarge = &exchange.Refusal{
		Status: http.StatusRequestEntityTooLarge, Label: "body_too_large",
		Reason: "the request's body is larger than is buffered", Hint: "buffer_request.max says how large it may be",
	}
	errFull = &exchange.Refusal{
		Status: http.StatusServiceUnavailable, Label: "buffer_full",
		Reason: "no room is left to buffer the request's body", Hint: "buffer_request.total_disk says how much there is for all requests together",
	}
	errLate = &exchange.Refusal{
		Status: http.StatusRequestTimeout, Label: "body_timeout", Reason: "the request's body did not arrive in time",
	}
	errBroken = &exchange.Refusal{
		Status: http.StatusBadRequest, Label: "body_invalid", Reason: "the request's body could not be read to its end",
	}
)

// New returns an empty buffer.
func New(o Options) (*Buffer, error) {
	for _, setting := range []struct {
		value *int64
		def   int64
	}{{&o.Memory, DefaultMemory}, {&o.Max, DefaultMax}, {&o.TotalMemory, DefaultTotalMemory}, {&o.TotalDisk, DefaultTotalDisk}} {
		if *setting.value < 0 {
			return nil, errors.New("the size of a buffer cannot be negative")
		}
		if *setting.value == 0 {
			*setting.value = setting.def
		}
	}
	b := &Buffer{options: o}
	b.memory.most, b.disk.most = o.TotalMemory, o.TotalDisk
	if o.Dir == "" {
		b.disk.most = 0
		b.options.Max = min(o.Max, o.Memory)
	}
	return b, nil
}

// Wrap takes in the body of each request before next sees it. Next's request
// has a Content-Length instead of chunks (unless trailers are announced), and a
// GetBody that gives the body again from its beginning for as long as next
// runs.
//
// Calls of gRPC pass as they are: they may want an answer before they have said
// everything.
func (b *Buffer) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			next.ServeHTTP(w, r)
			return
		}
		if r.ContentLength > b.options.Max {
			exchange.Refuse(w, r, errTooLarge)
			return
		}
		held := &body{buffer: b}
		defer held.release()
		if err := held.fill(r.Body, r.ContentLength); err != nil {
			exchange.Refuse(w, r, refusalFor(err))
			return
		}
		whole := new(http.Request)
		*whole = *r
		if len(r.Trailer) == 0 {
			whole.ContentLength = held.size
			whole.TransferEncoding = nil
		}
		whole.Body = io.NopCloser(held.reader())
		whole.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(held.reader()), nil }
		next.ServeHTTP(w, whole)
	})
}

// storeError is a failure of ours to keep a body.
type storeError struct{ err error }

func (e *storeError) Error() string { return "buffering a request's body: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// Hint says what the operator can do.
func (e *storeError) Hint() string {
	return "the buffer is in the storage directory: is there room on the disk, and may sallyport write there?"
}

// refusalFor says how a body that could not be taken in is answered.
func refusalFor(err error) error {
	if own, ok := errors.AsType[*exchange.Refusal](err); ok {
		return own
	}
	if store, ok := errors.AsType[*storeError](err); ok {
		return fmt.Errorf("%w: %w", &exchange.Refusal{
			Status: http.StatusServiceUnavailable, Label: "buffer_failed", Reason: "the request's body could not be stored", Hint: store.Hint(),
		}, store)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		return errLate
	}
	return errBroken
}
