package failure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/upstream"
)

// classifyUnavailable is for requests that no server got to see. All are 503
// rather than 504: it is safe to send them again.
func classifyUnavailable(err *upstream.Unavailable) Verdict {
	v := Verdict{Status: http.StatusServiceUnavailable, Level: zap.ErrorLevel}
	switch err.Reason {
	case upstream.QueueFull:
		v.Label, v.Hint = "queue_full", "max_connections requests are under way and queue.size waiting: add servers, or raise the limits if the server can take more"
	case upstream.QueueTimeout:
		v.Label, v.Hint = "queue_timeout", "no request finished within queue.timeout: add servers, or raise max_connections if the server can take more"
	default:
		v.Label, v.Hint = "no_server", "every server of the upstream fails its health check: the lines \"server is down\" say why"
	}
	return v
}

// OfServer says what an error of a health check, or of a request that has made
// a server be avoided, is. It has no status: nobody is answered with it.
func OfServer(err error) Verdict {
	v := Verdict{Label: "health_check", Level: zap.WarnLevel, Hint: "what the health check asks for is set by health of the upstream: try it by hand"}
	if failed, ok := errors.AsType[*upstream.Error](err); ok {
		of := classifyUpstream(failed)
		v.Label, v.Hint = of.Label, of.Hint
	}
	return v
}

// classifyUpstream is for exchanges with a server that failed before its
// response began.
func classifyUpstream(err *upstream.Error) Verdict {
	switch err.Stage {
	case upstream.Connect:
		return classifyConnect(err)
	case upstream.Handshake:
		return classifyHandshake(err)
	}
	switch {
	case err.Timeout():
		return Verdict{http.StatusGatewayTimeout, "upstream_timeout", zap.ErrorLevel,
			"the server took the request and was silent: limits.response_header_timeout is how long it may think"}
	case wantsCertificate(err):
		return Verdict{http.StatusBadGateway, "upstream_certificate", zap.ErrorLevel, certificateWanted}
	case errors.Is(err, upstream.ErrMalformed):
		return Verdict{http.StatusBadGateway, "upstream_malformed", zap.ErrorLevel,
			"the answer is not HTTP/1.1: does the server want https:// or h2c:// in its address?"}
	}
	return Verdict{http.StatusBadGateway, "upstream_closed", zap.ErrorLevel,
		"the server closed the connection instead of answering: its own log should say why"}
}

func classifyConnect(err *upstream.Error) Verdict {
	bad := Verdict{Status: http.StatusBadGateway, Level: zap.ErrorLevel}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		bad.Label = "upstream_dns"
		bad.Hint = fmt.Sprintf("the name %q does not resolve here: is the service up and on the same network?", lookup.Name)
		if lookup.IsTimeout {
			bad.Status = http.StatusGatewayTimeout
			bad.Hint = "the DNS server does not answer"
		}
		return bad
	}
	switch {
	case err.Timeout():
		return Verdict{http.StatusGatewayTimeout, "upstream_connect_timeout", zap.ErrorLevel,
			"nothing answers at " + err.Server + ": is a firewall dropping the packets?"}
	case errors.Is(err, syscall.ECONNREFUSED):
		bad.Label, bad.Hint = "upstream_refused", "is the server at "+err.Server+" running, and listening on that port and address (not only on its own localhost)?"
	case errors.Is(err, syscall.ENOENT):
		bad.Label, bad.Hint = "upstream_refused", "the socket does not exist: is the server running, and is its directory mounted here?"
	case errors.Is(err, syscall.EACCES):
		bad.Label, bad.Hint = "upstream_refused", "sallyport's user may not open the socket"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		bad.Status, bad.Label = http.StatusServiceUnavailable, "descriptors"
		bad.Hint = "raise the limit on open files: LimitNOFILE= in systemd, ulimits in compose"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		bad.Label, bad.Hint = "upstream_unreachable", "there is no route to "+err.Server
	default:
		bad.Label = "upstream_connect"
	}
	return bad
}

func classifyHandshake(err *upstream.Error) Verdict {
	bad := Verdict{http.StatusBadGateway, "upstream_tls", zap.ErrorLevel, ""}
	if err.Timeout() {
		return Verdict{http.StatusGatewayTimeout, "upstream_connect_timeout", zap.ErrorLevel, ""}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		bad.Label = "upstream_certificate"
		bad.Hint = "the server's certificate is not valid for the name in its address: name the one it is for in tls.server_name of the upstream"
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
			bad.Hint = "the server's certificate is not signed by an authority that is trusted: name the file of the one that signed it, or of the certificate itself, in tls.ca of the upstream"
		}
		return bad
	}
	if wantsCertificate(err) {
		bad.Label, bad.Hint = "upstream_certificate", certificateWanted
		return bad
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		bad.Hint = "the server does not speak TLS on that port: should its address begin with http://?"
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
