package failure

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// Causes that need no more than a name.
var (
	ErrStarting   = &exchange.Refusal{Status: http.StatusServiceUnavailable, Label: "starting", Reason: "no configuration has been loaded yet"}
	ErrOverloaded = &exchange.Refusal{
		Status: http.StatusServiceUnavailable, Label: "overloaded", Reason: "memory is short",
		Hint: "the line \"memory is short\" says how much is in use: raise runtime.memory_limit, or lower limits.connections",
	}
	ErrTruncated            = errors.New("the server's response ended early")
	ErrNotUpgraded          = fmt.Errorf("%w: it answered a WebSocket handshake with success, but without switching", upstream.ErrMalformed)
	ErrBadUpgrade           = fmt.Errorf("%w: it switched to a protocol that was not asked for", upstream.ErrMalformed)
	ErrBadStatus            = fmt.Errorf("%w: impossible status code", upstream.ErrMalformed)
	ErrTooManyInformational = fmt.Errorf("%w: too many informational responses", upstream.ErrMalformed)
)

// Body is a request body that could not be read to its end.
type Body struct{ Err error }

func (e *Body) Error() string { return "reading the request body: " + e.Err.Error() }
func (e *Body) Unwrap() error { return e.Err }

// Delivery is a response that could not be written to the client.
type Delivery struct{ Err error }

func (e *Delivery) Error() string { return "writing the response: " + e.Err.Error() }
func (e *Delivery) Unwrap() error { return e.Err }

// Answer is a fault of a response that had begun, with whose it was: an
// upstream may have several servers.
type Answer struct {
	Server string // as the configuration has it: scheme and host
	Err    error
}

func (e *Answer) Error() string { return e.Err.Error() }
func (e *Answer) Unwrap() error { return e.Err }

// AnsweredBy adds to an error the server that a response came from, as far as
// the response tells.
func AnsweredBy(res *http.Response, err error) error {
	if res.Request == nil || res.Request.URL == nil {
		return err
	}
	return &Answer{res.Request.URL.Scheme + "://" + res.Request.URL.Host, err}
}

// PanicLabel is the label of a [Panic].
const PanicLabel = "panic"

// Panic is what a handler threw.
type Panic struct {
	Value any
	Stack []byte
}

func (e *Panic) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ServerOf returns the address of the server that an error is about, or "".
func ServerOf(err error) string {
	if failed, ok := errors.AsType[*upstream.Error](err); ok {
		return failed.Server
	}
	if none, ok := errors.AsType[*upstream.Unavailable](err); ok {
		return none.Server
	}
	if answer, ok := errors.AsType[*Answer](err); ok {
		return answer.Server
	}
	return ""
}
