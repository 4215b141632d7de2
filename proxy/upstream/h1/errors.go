package h1

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// ProtocolError is an answer that is not HTTP/1.1, or breaks its rules. The
// connection has been closed. A proxy answers 502 (RFC 9110 section 15.6.3).
type ProtocolError struct {
	// Reason is one of a closed set of constants. It never quotes the server.
	Reason string
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "malformed response: " + e.Reason }

// Reasons of a [ProtocolError], beside those of the grammar, in package wire.
const (
	notHTTP             = "it does not begin with HTTP/1.0 or HTTP/1.1"
	badStatusCode       = "the status code is not three digits from 100 to 999"
	badReasonPhrase     = "a control character in the reason phrase"
	badLineEnd          = string(wire.FaultLineEnd)
	headTooLong         = "the head is longer than allowed"
	tooManyFields       = "more fields than allowed"
	badTransferEncoding = "Transfer-Encoding is not exactly chunked"
	bothFramings        = "Transfer-Encoding together with Content-Length"
	codingNotAllowed    = "Transfer-Encoding where none is allowed"
	badChunkEnd         = string(wire.FaultChunkEnd)
	chunkLineTooLong    = string(wire.FaultChunkLine)
	chunkOverhead       = string(wire.FaultChunkOverhead)
	trailersTooLong     = "the trailers are longer than allowed"
	badTrailerName      = "Trailer announces a field that frames messages"
	manyInformational   = "too many informational responses"
	switchNotAsked      = "it switches protocols without being asked"
	switchUnnamed       = "it switches to a protocol without saying which"
	switchTooEarly      = "it switches protocols before it has the whole request"
)

// RequestError is a request that cannot be sent as HTTP/1.1. Nothing of it was.
// The exception is a body that turns out shorter than its announced length:
// then the connection was closed in the middle.
type RequestError struct {
	Reason string // names fields, never their values
}

// Error returns the reason.
func (e *RequestError) Error() string { return "request cannot be sent: " + e.Reason }

// UnsentError is a connection that broke before any byte of the request went
// into it: whatever the method, the server cannot have seen it. Of the body
// nothing was read either, unless it was at hand.
type UnsentError struct{ Err error }

// Error names the cause.
func (e *UnsentError) Error() string { return "nothing was sent: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UnsentError) Unwrap() error { return e.Err }

// TimeoutError is a server that was silent, or took nothing, for longer than
// [Options.ResponseHeaderTimeout] or [Options.BodyIdleTimeout] allow.
type TimeoutError struct {
	Waiting string // for what
	After   time.Duration
}

// Error says what was waited for, and for how long.
func (e *TimeoutError) Error() string {
	return "waited " + e.After.String() + " for " + e.Waiting
}

// What a [TimeoutError] waited for.
const (
	forHead   = "the response to begin"
	forBody   = "more of the response"
	forIntake = "the server to take more of the request"
)

// Timeout reports true, as [net.Error] wants.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary reports true, as [net.Error] wants.
func (e *TimeoutError) Temporary() bool { return true }

var _ net.Error = (*TimeoutError)(nil)

// ErrServerClosed is returned when the server closed the connection instead of
// answering.
var ErrServerClosed = errors.New("the server closed the connection instead of answering")

var (
	errBodyClosed     = errors.New("read on a closed response body")
	errStale          = errors.New("the kept connection was closed or not silent")
	errConcurrentRead = errors.New("concurrent reads on a response body")
)

// isDeadline reports whether a deadline of ours ended a read. A peer that
// vanished is a timeout as well, but not this one.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
