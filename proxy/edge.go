package proxy

import (
	"math/rand/v2"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/internal/wire"
	"github.com/sallyport/sallyport/proxy/target"
	"github.com/sallyport/sallyport/proxy/tunnel"
)

// requestID is the field under which a request's id travels: through the
// middleware, to the server behind, and onto the page of a failure. The value
// is always ours.
const requestID = "X-Request-Id"

// Refusals of the edge.
var (
	errMethod     = &exchange.Refusal{Status: http.StatusNotImplemented, Label: "method_refused", Reason: "CONNECT and TRACE are not for a gateway"}
	errLookalike  = &exchange.Refusal{Status: http.StatusBadRequest, Label: "field_lookalike", Reason: "a field differs from one that only a proxy or the protocol may set by an underscore"}
	errFields     = &exchange.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Label: "too_many_fields", Reason: "the request has more fields than limits.request_header_count"}
	errLong       = &exchange.Refusal{Status: http.StatusRequestURITooLong, Label: "target_too_long", Reason: "the request target is longer than limits.uri_length"}
	errConnection = &exchange.Refusal{Status: http.StatusBadRequest, Label: "connection_invalid", Reason: "the Connection field names an end-to-end field"}
)

// admit makes a request safe to work with, before anything looks at it: it
// refuses what is ambiguous and removes, in place, what only a proxy may say.
// Doing this first means that no middleware can have a header that it set
// stripped by a client's Connection field, nor read a forged one.
//
// The request is given its id here.
//
// Afterwards Connection, Upgrade and the other hop-by-hop fields are still
// there for the action to see; it must not pass them on.
func (w *recorder) admit(r *http.Request, logger *zap.Logger) error {
	named := r.Header["Connection"]
	tunnel.FromConnect(r)
	deceiving := false
	for name := range r.Header {
		if forged(name) {
			delete(r.Header, name)
		} else if strings.IndexByte(name, '_') >= 0 {
			deceiving = deceiving || wire.Lookalike(name)
			delete(r.Header, name)
			logger.Debug("request field with an underscore dropped", zap.String("field", name))
		}
	}
	w.Exchange.ID = newID()
	w.id[0] = w.Exchange.ID
	r.Header[requestID] = w.id[:]
	if deceiving {
		return errLookalike
	}
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	if err := target.Check(r.RequestURI); err != nil {
		return err
	}
	return removeNominated(r.Header, named)
}

// newID returns 32 random hexadecimal digits, the form of nginx's $request_id.
// It has to be unlikely to repeat, not secret.
func newID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		for i, bits := 0, rand.Uint64(); i < 16; i, bits = i+1, bits>>4 {
			id[16*half+i] = digits[bits&15]
		}
	}
	return string(id[:])
}

// checkMethod refuses the methods that a gateway must not pass on: CONNECT
// would make it a tunnel into its network, TRACE shows a script the cookies
// that it may not read (nginx refuses both too). 501 rather than 405: no
// resource here supports them, so there is no Allow to send.
func checkMethod(method string) error {
	if method == http.MethodConnect || method == http.MethodTrace {
		return errMethod
	}
	return nil
}

// forged reports whether a field is a claim that only we may make. Names are
// in canonical form.
func forged(name string) bool {
	switch name {
	case "Forwarded", "X-Real-Ip", cloudflareClient, "Cf-Connecting-Ipv6", "True-Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Client-Ip", requestID:
		return true // who asks
	case "X-Original-Url", "X-Rewrite-Url", "X-Original-Host":
		return true // what for: some frameworks serve this path instead of the one that was matched
	case "Front-End-Https", "X-Scheme", "X-Url-Scheme":
		return true // by which scheme
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// endToEnd reports whether a field must not be named in Connection. RFC 9110
// section 7.6.1 forbids naming one that is meant for all recipients; taking it
// out as asked would let a client remove what the application decides by.
func endToEnd(name string) bool {
	switch name {
	case "Host", "Authorization", "Cookie", "Cache-Control", "Origin", "Expect", "Date":
		return true
	}
	return forged(name) || strings.HasPrefix(name, "Content-")
}

// removeNominated removes the fields that Connection names (RFC 9110 section
// 7.6.1), except those that the action handles itself.
func removeNominated(h http.Header, connection []string) error {
	for _, list := range connection {
		for option := range strings.SplitSeq(list, ",") {
			name := strings.TrimSpace(option)
			switch {
			case strings.EqualFold(name, "keep-alive"), strings.EqualFold(name, "close"),
				strings.EqualFold(name, "upgrade"), strings.EqualFold(name, "te"), name == "":
				continue
			}
			name = http.CanonicalHeaderKey(name)
			if endToEnd(name) {
				return errConnection
			}
			delete(h, name)
		}
	}
	return nil
}

// bounds are what the head of a request may have. The engines bound its bytes,
// and how long it may take; these hold for all of them alike.
type bounds struct {
	fields int // field lines, those that we removed not counted; 0 is no limit
	target int // bytes of the request target; 0 is no limit
}

// check refuses a head that is more than the bounds allow.
func (b bounds) check(r *http.Request) error {
	if b.target > 0 && len(r.RequestURI) > b.target {
		return errLong
	}
	if b.fields <= 0 {
		return nil
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > b.fields {
		return errFields
	}
	return nil
}
