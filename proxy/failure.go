package proxy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/tlsfiles"
)

// clientBodyError is a request body that could not be read to its end.
type clientBodyError struct{ err error }

func (e *clientBodyError) Error() string { return "reading the request body: " + e.err.Error() }
func (e *clientBodyError) Unwrap() error { return e.err }

// deliveryError is a response that could not be written to the client.
type deliveryError struct{ err error }

func (e *deliveryError) Error() string { return "writing the response: " + e.err.Error() }
func (e *deliveryError) Unwrap() error { return e.err }

// answerError is a fault of a response that had begun, with whose it was: an
// upstream may have several servers.
type answerError struct {
	server string
	err    error
}

func (e *answerError) Error() string { return e.err.Error() }
func (e *answerError) Unwrap() error { return e.err }

// answeredBy adds to an error the server that a response came from.
func answeredBy(res *http.Response, err error) error {
	if res.Request == nil || res.Request.URL == nil {
		return err
	}
	return &answerError{res.Request.URL.Scheme + "://" + res.Request.URL.Host, err}
}

const panicLabel = "panic"

// panicked is what a handler threw.
type panicked struct {
	value any
	stack []byte
}

func (e *panicked) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Causes that need no more than a name.
var (
	errStarting   = &exchange.Refusal{Status: http.StatusServiceUnavailable, Label: "starting", Reason: "no configuration has been loaded yet"}
	errOverloaded = &exchange.Refusal{
		Status: http.StatusServiceUnavailable, Label: "overloaded", Reason: "memory is short",
		Hint: "the line \"memory is short\" says how much is in use: raise runtime.memory_limit, or lower limits.connections",
	}
	errTruncated  = errors.New("the server's response ended early")
	errBadUpgrade = fmt.Errorf("%w: it switched to a protocol that was not asked for", upstream.ErrMalformed)
	errBadStatus  = fmt.Errorf("%w: impossible status code", upstream.ErrMalformed)
	errTooMany1xx = fmt.Errorf("%w: too many informational responses", upstream.ErrMalformed)
)

// verdict is how a failure is answered and told.
type verdict struct {
	status int // 0: nobody is there to be answered
	label  string
	level  zapcore.Level
	hint   string
}

// classify is the one place that decides what a failure is.
func classify(r *http.Request, err error) verdict {
	if _, ok := errors.AsType[*panicked](err); ok {
		return verdict{http.StatusInternalServerError, panicLabel, zap.ErrorLevel, "this is a bug in sallyport: please report it with the stack"}
	}
	if own, ok := errors.AsType[*exchange.Refusal](err); ok {
		level := zap.DebugLevel
		if own.Status >= 500 && own.Status != http.StatusNotImplemented && !own.Quiet {
			level = zap.ErrorLevel
		}
		return verdict{own.Status, own.Label, level, own.Hint}
	}
	if body, ok := errors.AsType[*clientBodyError](err); ok && errors.Is(body, os.ErrDeadlineExceeded) {
		return classifyBody(body) // the client is there, if slow, whatever the engine made of its context
	}
	if r.Context().Err() != nil {
		return verdict{0, "client_gone", zap.DebugLevel, ""} // what nginx counts as 499
	}
	if _, ok := errors.AsType[*deliveryError](err); ok {
		return verdict{0, "client_gone", zap.DebugLevel, ""}
	}
	if body, ok := errors.AsType[*clientBodyError](err); ok {
		return classifyBody(body)
	}
	if errors.Is(err, errTruncated) {
		if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
			return verdict{http.StatusGatewayTimeout, "upstream_stalled", zap.ErrorLevel,
				"the server stood still in the middle of its answer: limits.upstream_body_timeout is how long it may"}
		}
		return verdict{http.StatusBadGateway, "upstream_truncated", zap.ErrorLevel, ""}
	}
	if none, ok := errors.AsType[*upstream.Unavailable](err); ok {
		return classifyUnavailable(none)
	}
	if failed, ok := errors.AsType[*upstream.Error](err); ok {
		return classifyUpstream(failed)
	}
	if errors.Is(err, upstream.ErrMalformed) {
		return verdict{http.StatusBadGateway, "upstream_malformed", zap.ErrorLevel, ""}
	}
	return verdict{http.StatusBadGateway, "upstream_failed", zap.ErrorLevel, ""}
}

func classifyBody(err *clientBodyError) verdict {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return verdict{http.StatusRequestEntityTooLarge, "body_too_large", zap.DebugLevel, ""}
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		return verdict{http.StatusRequestTimeout, "body_timeout", zap.DebugLevel, "limits.min_rate and limits.min_rate_grace are how slow a client may be"}
	}
	return verdict{http.StatusBadRequest, "body_invalid", zap.DebugLevel, ""}
}

// classifyUnavailable is for requests that no server got to see. All are 503
// rather than 504: it is safe to send them again.
func classifyUnavailable(err *upstream.Unavailable) verdict {
	v := verdict{status: http.StatusServiceUnavailable, level: zap.ErrorLevel}
	switch err.Reason {
	case upstream.QueueFull:
		v.label, v.hint = "queue_full", "max_connections requests are under way and queue.size waiting: add servers, or raise the limits if the server can take more"
	case upstream.QueueTimeout:
		v.label, v.hint = "queue_timeout", "no request finished within queue.timeout: add servers, or raise max_connections if the server can take more"
	default:
		v.label, v.hint = "no_server", "every server of the upstream fails its health check: the lines \"server is down\" say why"
	}
	return v
}

// serverChanged tells that a server goes down or comes back.
func (p *Proxy) serverChanged(e upstream.Event) {
	fields := []zap.Field{zap.String("server", e.Server)}
	if e.Upstream != "" {
		fields = append(fields, zap.String("upstream", e.Upstream))
	}
	if e.Up {
		p.logger.Info("server is back", fields...)
		return
	}
	if e.Kept {
		hint := ""
		if file, ok := errors.AsType[*tlsfiles.Error](e.Err); ok {
			hint = file.Hint()
		}
		p.logger.Warn("changed TLS files of an upstream cannot be used: what they held before is kept", append(fields, zap.Error(e.Err), zap.String("hint", hint))...)
		return
	}
	label, hint := "health_check", "what the health check asks for is set by health of the upstream: try it by hand"
	if failed, ok := errors.AsType[*upstream.Error](e.Err); ok {
		v := classifyUpstream(failed)
		label, hint = v.label, v.hint
	}
	fields = append(fields, zap.String("cause", label), zap.Error(e.Err))
	if hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	p.logger.Warn("server is down", fields...)
}

func classifyUpstream(err *upstream.Error) verdict {
	switch err.Stage {
	case upstream.Connect:
		return classifyConnect(err)
	case upstream.Handshake:
		return classifyHandshake(err)
	}
	switch {
	case err.Timeout():
		return verdict{http.StatusGatewayTimeout, "upstream_timeout", zap.ErrorLevel,
			"the server took the request and was silent: limits.response_header_timeout is how long it may think"}
	case wantsCertificate(err):
		return verdict{http.StatusBadGateway, "upstream_certificate", zap.ErrorLevel, certificateWanted}
	case errors.Is(err, upstream.ErrMalformed):
		return verdict{http.StatusBadGateway, "upstream_malformed", zap.ErrorLevel,
			"the answer is not HTTP/1.1: does the server want https:// or h2c:// in its address?"}
	}
	return verdict{http.StatusBadGateway, "upstream_closed", zap.ErrorLevel,
		"the server closed the connection instead of answering: its own log should say why"}
}

func classifyConnect(err *upstream.Error) verdict {
	bad := verdict{status: http.StatusBadGateway, level: zap.ErrorLevel}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		bad.label = "upstream_dns"
		bad.hint = fmt.Sprintf("the name %q does not resolve here: is the service up and on the same network?", lookup.Name)
		if lookup.IsTimeout {
			bad.status = http.StatusGatewayTimeout
			bad.hint = "the DNS server does not answer"
		}
		return bad
	}
	switch {
	case err.Timeout():
		return verdict{http.StatusGatewayTimeout, "upstream_connect_timeout", zap.ErrorLevel,
			"nothing answers at " + err.Server + ": is a firewall dropping the packets?"}
	case errors.Is(err, syscall.ECONNREFUSED):
		bad.label, bad.hint = "upstream_refused", "is the server at "+err.Server+" running, and listening on that port and address (not only on its own localhost)?"
	case errors.Is(err, syscall.ENOENT):
		bad.label, bad.hint = "upstream_refused", "the socket does not exist: is the server running, and is its directory mounted here?"
	case errors.Is(err, syscall.EACCES):
		bad.label, bad.hint = "upstream_refused", "sallyport's user may not open the socket"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		bad.status, bad.label = http.StatusServiceUnavailable, "descriptors"
		bad.hint = "raise the limit on open files: LimitNOFILE= in systemd, ulimits in compose"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		bad.label, bad.hint = "upstream_unreachable", "there is no route to "+err.Server
	default:
		bad.label = "upstream_connect"
	}
	return bad
}

func classifyHandshake(err *upstream.Error) verdict {
	bad := verdict{http.StatusBadGateway, "upstream_tls", zap.ErrorLevel, ""}
	if err.Timeout() {
		return verdict{http.StatusGatewayTimeout, "upstream_connect_timeout", zap.ErrorLevel, ""}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		bad.label = "upstream_certificate"
		bad.hint = "the server's certificate is not valid for the name in its address: name the one it is for in tls.server_name of the upstream"
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
			bad.hint = "the server's certificate is not signed by an authority that is trusted: name the file of the one that signed it, or of the certificate itself, in tls.ca of the upstream"
		}
		return bad
	}
	if wantsCertificate(err) {
		bad.label, bad.hint = "upstream_certificate", certificateWanted
		return bad
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		bad.hint = "the server does not speak TLS on that port: should its address begin with http://?"
	}
	return bad
}

const certificateWanted = "the server does not accept the client certificate, or wants one: see tls.certificate and tls.key of the upstream"

// wantsCertificate recognises what a server says about our certificate (RFC 8446
// section 6.2). In TLS 1.3 it says so after the handshake, which is why it may
// come instead of an answer. The alerts have no exported type.
func wantsCertificate(err error) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" {
		return false
	}
	text := remote.Err.Error()
	return strings.Contains(text, "certificate") || strings.Contains(text, "access denied")
}

// origin says where in the configuration a failure happened. The zero origin
// is before a site was found. A site leads to an upstream with a name, or to a
// server.
type origin struct{ site, upstream, server string }

// originOf returns what the record of a request says about where it is.
func originOf(x *exchange.Exchange) origin {
	at := origin{site: x.Site, upstream: x.Upstream}
	if x.Upstream == "" {
		at.server = x.Server
	}
	return at
}

// fail classifies, logs and answers a failure before any of the response was
// sent. When no answer is possible it aborts the connection by panicking with
// [http.ErrAbortHandler].
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	v := classify(r, err)
	p.report(r, v, err)
	if v.status == 0 {
		panic(http.ErrAbortHandler) // an empty 200 would be a lie to a client that only half closed
	}
	leaveBody(w, r)
	if r.ProtoMajor == 1 && (v.status == http.StatusBadRequest || v.label == errMethod.Label || v.label == panicLabel) {
		w.Header().Set("Connection", "close") // what follows on it is anybody's guess
	}
	if x := exchange.Of(r); x.Pages != nil && x.Pages.Page(w, r, v.status) {
		return
	}
	writePage(w, r, v.status)
}

// cut logs a failure after the response began and aborts the connection, so
// that the client sees that something is missing (HTTP/1.1: no last chunk or
// too few bytes; HTTP/2: RST_STREAM).
func (p *Proxy) cut(r *http.Request, err error) {
	p.report(r, classify(r, err), err)
	panic(http.ErrAbortHandler)
}

// report writes down what a failure is, and its log line unless the like of it
// was written just now.
func (p *Proxy) report(r *http.Request, v verdict, err error) {
	x := exchange.Of(r)
	x.Failure = v.label
	if !p.logger.Core().Enabled(v.level) {
		return
	}
	at := originOf(x)
	held, ok := p.failures.admit(failureKey{at, v.label}, time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("cause", v.label), zap.Int("status", v.status),
		zap.String("method", r.Method), zap.String("host", r.Host), zap.String("path", r.URL.Path),
		zap.String("client", clientText(x, r)), zap.String("request_id", x.ID),
		zap.Error(err),
	}
	if at.site != "" {
		fields = append(fields, zap.String("site", at.site))
	}
	if x.Route != "" {
		fields = append(fields, zap.String("route", x.Route))
	}
	if at.upstream != "" {
		fields = append(fields, zap.String("upstream", at.upstream))
	}
	if server := cmp.Or(at.server, serverOf(err)); server != "" {
		fields = append(fields, zap.String("server", server))
	}
	if v.hint != "" {
		fields = append(fields, zap.String("hint", v.hint))
	}
	if thrown, ok := errors.AsType[*panicked](err); ok {
		fields = append(fields, zap.ByteString("stack", thrown.stack))
	}
	if held > 0 {
		fields = append(fields, zap.Int("suppressed", held))
	}
	p.logger.Log(v.level, "request failed", fields...)
}

// serverOf returns the address of the server that an error is about, or "".
func serverOf(err error) string {
	if failed, ok := errors.AsType[*upstream.Error](err); ok {
		return failed.Server
	}
	if none, ok := errors.AsType[*upstream.Unavailable](err); ok {
		return none.Server
	}
	if answer, ok := errors.AsType[*answerError](err); ok {
		return answer.server
	}
	return ""
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
	err := &panicked{value, debug.Stack()}
	if w.begun {
		p.cut(r, err)
	}
	clear(w.Header())
	p.fail(w, r, err)
}
