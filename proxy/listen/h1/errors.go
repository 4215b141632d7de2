package h1

import (
	"errors"
	"net/http"
	"os"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// ProtocolError is a request that breaks a rule of HTTP/1.1 or passes a limit.
// In a head it is answered with Status, in a body it is what reading the body
// returns. Either way the connection is closed, and nothing that follows on it
// is read as a request (RFC 9112 section 11.2).
type ProtocolError struct {
	// Status is what the request is answered with.
	Status int

	// Reason is one of a closed set of constants. It never quotes the client.
	Reason string
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "malformed request: " + e.Reason }

func malformed(reason string) *ProtocolError {
	return &ProtocolError{http.StatusBadRequest, reason}
}

// Refusals. They are values so that a flood of them costs nothing.
var (
	errRequestLine   = &ProtocolError{http.StatusBadRequest, "the request line is not a method, a target and a version with one space between"}
	errMethod        = &ProtocolError{http.StatusBadRequest, "the method is not a token"}
	errTarget        = &ProtocolError{http.StatusBadRequest, "an invalid character in the request target"}
	errTargetForm    = &ProtocolError{http.StatusBadRequest, "the request target is of no form that the method has"}
	errTargetLong    = &ProtocolError{http.StatusRequestURITooLong, "the request target is longer than allowed"}
	errVersion       = &ProtocolError{http.StatusHTTPVersionNotSupported, "the version is neither HTTP/1.1 nor HTTP/1.0"}
	errLineEnd       = &ProtocolError{http.StatusBadRequest, string(wire.FaultLineEnd)}
	errHeadLong      = &ProtocolError{http.StatusRequestHeaderFieldsTooLarge, "the head is longer than allowed"}
	errFields        = &ProtocolError{http.StatusRequestHeaderFieldsTooLarge, "more fields than allowed"}
	errLookalike     = &ProtocolError{http.StatusBadRequest, "a field that differs from a framing or identity field only by an underscore"}
	errHostMissing   = &ProtocolError{http.StatusBadRequest, "no Host"}
	errHosts         = &ProtocolError{http.StatusBadRequest, "Host more than once"}
	errHost          = &ProtocolError{http.StatusBadRequest, "an invalid character in the Host"}
	errHostDisagrees = &ProtocolError{http.StatusBadRequest, "Host and request target disagree"}
	errBothFramings  = &ProtocolError{http.StatusBadRequest, "Transfer-Encoding together with Content-Length"}
	errCoding        = &ProtocolError{http.StatusBadRequest, "Transfer-Encoding is not exactly chunked"}
	errCodingUnknown = &ProtocolError{http.StatusNotImplemented, "a transfer coding other than chunked"}
	errCodingOld     = &ProtocolError{http.StatusBadRequest, "Transfer-Encoding in HTTP/1.0"}
	errTrailerName   = &ProtocolError{http.StatusBadRequest, "a trailer field that frames messages"}
	errExpectation   = &ProtocolError{http.StatusExpectationFailed, "an expectation other than 100-continue"}
	errTimeout       = &ProtocolError{http.StatusRequestTimeout, "the head took too long"}

	errTrailersLong = &ProtocolError{http.StatusRequestHeaderFieldsTooLarge, "the trailers are longer than allowed"}
)

var (
	errEnded = errors.New("the response was used after its handler had returned")
	errGone  = errors.New("the client has gone")
)

// isDeadline reports whether a deadline ended a read or a write. A peer that
// vanished is a timeout as well, but not this one.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// framesMessages reports whether a field decides where a message ends or whom
// it is for, so that finding it among the trailers, or announced for them, is an
// attempt on somebody's parser. The name is canonical.
func framesMessages(name string) bool {
	return name == "Transfer-Encoding" || name == "Content-Length" || name == "Trailer" || name == "Host"
}

// unsafeTrailer reports whether a trailer is left out: what has no business
// behind a body, and what only a proxy may say. An application may merge
// trailers into the header (RFC 9110 section 6.5.1).
func unsafeTrailer(name string) bool {
	return wire.ForbiddenTrailer(name) || wire.Singular(name) || wire.Lookalike(name)
}
