package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/tlsfiles"
)

// fail classifies, logs and answers a failure before any of the response was
// sent. When no answer is possible it aborts the connection by panicking with
// [http.ErrAbortHandler].
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	v := failure.Classify(r, err)
	p.report(r, v, err)
	if v.Status == 0 {
		panic(http.ErrAbortHandler) // an empty 200 would be a lie to a client that only half closed
	}
	leaveBody(w, r)
	if r.ProtoMajor == 1 && (v.Status == http.StatusBadRequest || v.Label == errMethod.Label || v.Label == failure.PanicLabel) {
		w.Header().Set("Connection", "close") // what follows on it is anybody's guess
	}
	if x := exchange.Of(r); x.Pages != nil && x.Pages.Page(w, r, v.Status) {
		return
	}
	failure.WritePage(w, r, v.Status)
}

// cut logs a failure after the response began and aborts the connection, so
// that the client sees that something is missing (HTTP/1.1: no last chunk or
// too few bytes; HTTP/2: RST_STREAM).
func (p *Proxy) cut(r *http.Request, err error) {
	p.report(r, failure.Classify(r, err), err)
	panic(http.ErrAbortHandler)
}

// rescue is deferred around everything that handles a request. A panic becomes
// a logged failure; [http.ErrAbortHandler] is not one but a way to end.
func (p *Proxy) rescue(w *recorder, r *http.Request) {
	value := recover()
	if value == nil {
		return
	}
	if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	err := &failure.Panic{Value: value, Stack: debug.Stack()}
	if w.begun {
		p.cut(r, err)
	}
	clear(w.Header())
	p.fail(w, r, err)
}

// report writes down what a failure is, and its log line unless the like of it
// was written just now.
func (p *Proxy) report(r *http.Request, v failure.Verdict, err error) {
	x := exchange.Of(r)
	x.Failure = v.Label
	if !p.logger.Core().Enabled(v.Level) {
		return
	}
	at := failure.OriginOf(x)
	suppressed, ok := p.failures.Admit(at, v.Label)
	if !ok {
		return
	}
	stack := zap.Skip()
	if thrown, ok := errors.AsType[*failure.Panic](err); ok {
		stack = zap.ByteString("stack", thrown.Stack)
	}
	p.logger.Log(v.Level, "request failed",
		zap.String("cause", v.Label), zap.Int("status", v.Status),
		zap.String("method", r.Method), zap.String("host", r.Host), zap.String("path", r.URL.Path),
		zap.String("client", clientText(x, r)), zap.String("request_id", x.ID),
		zap.Error(err),
		known("site", at.Site), known("route", x.Route), known("upstream", at.Upstream), known("server", cmp.Or(at.Server, failure.ServerOf(err))),
		known("hint", v.Hint), stack, suppressed)
}

// known is a field of a log line, or none if there is nothing to tell.
func known(key, value string) zap.Field {
	if value == "" {
		return zap.Skip()
	}
	return zap.String(key, value)
}

// serverChanged tells that a server goes down or comes back.
func (p *Proxy) serverChanged(e upstream.Event) {
	log := p.logger.With(zap.String("server", e.Server), known("upstream", e.Upstream))
	switch {
	case e.Up:
		log.Info("server is back")
	case e.Kept:
		hint := ""
		if file, ok := errors.AsType[*tlsfiles.Error](e.Err); ok {
			hint = file.Hint()
		}
		log.Warn("changed TLS files of an upstream cannot be used: what they held before is kept", zap.Error(e.Err), zap.String("hint", hint))
	default:
		v := failure.OfServer(e.Err)
		log.Warn("server is down", zap.String("cause", v.Label), zap.Error(e.Err), known("hint", v.Hint))
	}
}

// scriptSaid logs what a script wrote to standard error, at most one in a
// second for each server: what a script says may be a client's doing.
func (p *Proxy) scriptSaid(r *http.Request, at failure.Origin, script, text string) {
	if suppressed, ok := p.failures.Admit(at, "script_complained"); ok {
		p.logger.Warn("a script complained",
			zap.String("site", at.Site), zap.String("server", at.Server), zap.String("script", script),
			zap.String("request_id", exchange.Of(r).ID), zap.String("text", text), suppressed)
	}
}
