package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"syscall"

	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// Stage says how far an exchange with a server had come when it failed.
type Stage uint8

// The stages, in order.
const (
	Connect   Stage = iota + 1 // looking the name up and connecting
	Handshake                  // agreeing on TLS and checking the certificate
	Exchange                   // sending the request and waiting for the head of the response
)

// String returns the stage as a verb: "connect", "handshake", "exchange".
func (s Stage) String() string {
	switch s {
	case Connect:
		return "connect"
	case Handshake:
		return "handshake"
	case Exchange:
		return "exchange"
	}
	return "unknown"
}

// Error is what RoundTrip returns when a server could not be used. The cause
// is reached through Unwrap.
type Error struct {
	Server string // address as configured
	Stage  Stage
	Err    error

	// Unsent says of stage Exchange that the connection broke before any of
	// the request was sent, so that another may have it whatever its method.
	Unsent bool
}

// Error names the server, the stage and the cause.
func (e *Error) Error() string { return fmt.Sprintf("server %s: %s: %v", e.Server, e.Stage, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the server was too slow.
func (e *Error) Timeout() bool {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return true
	}
	slow, ok := errors.AsType[net.Error](e.Err)
	return ok && slow.Timeout()
}

// ErrMalformed marks an answer that is not HTTP, or not the HTTP it claims to
// be (RFC 9112).
var ErrMalformed = errors.New("malformed response")

// wrap gives an engine's error a stage. Errors that the dialer made already
// have one; the engine may have wrapped them once more.
func (s *Server) wrap(err error) error {
	if staged, ok := errors.AsType[*Error](err); ok {
		return staged
	}
	if malformed(err) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	_, unsent := errors.AsType[*h1.UnsentError](err)
	return &Error{Server: s.options.Address, Stage: Exchange, Err: err, Unsent: unsent}
}

// malformed recognises what net/http's Transport says about an answer that it
// cannot read. Most of these errors have no exported type, hence the text.
func malformed(err error) bool {
	if _, ok := errors.AsType[*h1.ProtocolError](err); ok {
		return true
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true
	}
	text := err.Error()
	for _, sign := range []string{
		"malformed HTTP", "bad Content-Length", "invalid Content-Length", "unsupported transfer encoding", "too many transfer encodings",
		"server response headers exceeded", "malformed MIME header", "line too long", "message cannot contain multiple Content-Length",
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// Refused reports whether the server is not there at all: nothing listens, or
// its name is unknown, as while a container is made anew. Nothing was sent.
func (e *Error) Refused() bool {
	if e.Stage != Connect {
		return false
	}
	if lookup, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return lookup.IsNotFound
	}
	for _, cause := range []error{syscall.ECONNREFUSED, syscall.ENOENT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(e.Err, cause) {
			return true
		}
	}
	return false
}

// Reason says why an upstream did not even try a server.
type Reason uint8

// The reasons.
const (
	NoServer     Reason = iota + 1 // every server is unhealthy
	QueueFull                      // as many requests are under way and waiting as may be
	QueueTimeout                   // waited too long
)

// Unavailable is what [Pool.RoundTrip] returns when no server could be asked.
type Unavailable struct {
	Upstream string // "" for one without a name
	Server   string // the one that was waited for; "" for NoServer
	Reason   Reason
	Err      error // what was last wrong with the servers, for NoServer
}

// Error says which upstream, or which server of it, and why.
func (e *Unavailable) Error() string {
	who := "upstream " + e.Upstream
	if e.Server != "" {
		who = "server " + e.Server
	}
	switch e.Reason {
	case QueueFull:
		return who + ": has as many requests under way and waiting as it may"
	case QueueTimeout:
		return who + ": has had no room for another request for too long"
	}
	if e.Err == nil {
		return who + ": no server is healthy"
	}
	return who + ": no server is healthy: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Unavailable) Unwrap() error { return e.Err }
