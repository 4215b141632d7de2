package failure

import (
	"errors"
	"net"
	"net/http"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// Verdict is how a failure is answered and told.
type Verdict struct {
	// Status is what is answered; 0: nobody is there to be answered.
	Status int

	// Label names the cause for log and metrics: snake_case, from a closed set.
	Label string

	// Level is that of the line in the log.
	Level zapcore.Level

	// Hint is what the operator can do about it, or "".
	Hint string
}

// Classify is the one place that decides what becomes of a request that failed.
// Of several causes in one error the one nearest to the client counts: who has
// left, or sent a body that cannot be read, makes a server's exchange fail too.
func Classify(r *http.Request, err error) Verdict {
	if _, ok := errors.AsType[*Panic](err); ok {
		return Verdict{http.StatusInternalServerError, PanicLabel, zap.ErrorLevel, "this is a bug in sallyport: please report it with the stack"}
	}
	if own, ok := errors.AsType[*exchange.Refusal](err); ok {
		level := zap.DebugLevel
		if own.Status >= 500 && own.Status != http.StatusNotImplemented && !own.Quiet {
			level = zap.ErrorLevel
		}
		return Verdict{own.Status, own.Label, level, own.Hint}
	}
	if body, ok := errors.AsType[*Body](err); ok && errors.Is(body, os.ErrDeadlineExceeded) {
		return classifyBody(body) // the client is there, if slow, whatever the engine made of its context
	}
	if r.Context().Err() != nil {
		return Verdict{0, "client_gone", zap.DebugLevel, ""} // what nginx counts as 499
	}
	if _, ok := errors.AsType[*Delivery](err); ok {
		return Verdict{0, "client_gone", zap.DebugLevel, ""}
	}
	if body, ok := errors.AsType[*Body](err); ok {
		return classifyBody(body)
	}
	if errors.Is(err, ErrTruncated) {
		if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
			return Verdict{http.StatusGatewayTimeout, "upstream_stalled", zap.ErrorLevel,
				"the server stood still in the middle of its answer: limits.upstream_body_timeout is how long it may"}
		}
		return Verdict{http.StatusBadGateway, "upstream_truncated", zap.ErrorLevel, ""}
	}
	if none, ok := errors.AsType[*upstream.Unavailable](err); ok {
		return classifyUnavailable(none)
	}
	if failed, ok := errors.AsType[*upstream.Error](err); ok {
		return classifyUpstream(failed)
	}
	if errors.Is(err, upstream.ErrMalformed) {
		return Verdict{http.StatusBadGateway, "upstream_malformed", zap.ErrorLevel, ""}
	}
	return Verdict{http.StatusBadGateway, "upstream_failed", zap.ErrorLevel, ""}
}

func classifyBody(err *Body) Verdict {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Verdict{http.StatusRequestEntityTooLarge, "body_too_large", zap.DebugLevel, ""}
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		return Verdict{http.StatusRequestTimeout, "body_timeout", zap.DebugLevel, "limits.min_rate and limits.min_rate_grace are how slow a client may be"}
	}
	return Verdict{http.StatusBadRequest, "body_invalid", zap.DebugLevel, ""}
}
