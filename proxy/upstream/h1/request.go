package h1

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// outgoing is a request ready to be sent: its head, and its body if that is
// small, as one piece.
type outgoing struct {
	wire []byte
	body io.ReadCloser // nil: there is none, wire has it, or a sender does

	length  int64 // of the body; -1: chunked
	hasBody bool
	expect  bool // the body waits for 100 Continue
	close   bool
	upgrade bool
}

// prepare writes the head of a request (RFC 9112 section 3). It checks
// everything that goes on the wire, so that nothing in it can end a line.
func (o *outgoing) prepare(req *http.Request, closing bool) error {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	switch {
	case req.URL == nil:
		return &RequestError{"it has no URL"}
	case !wire.IsToken(method):
		return &RequestError{"the method is not a token"}
	case method == http.MethodConnect:
		return &RequestError{"CONNECT is not supported"}
	}
	o.length, o.hasBody = bodyLength(req)
	b := append(o.wire[:0], method...)
	b = append(b, ' ')
	b, err := appendTarget(b, req.URL)
	if err != nil {
		return err
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if b, err = appendHost(b, req); err != nil {
		return err
	}
	b = append(b, '\r', '\n')
	if b, err = o.appendFields(b, req.Header); err != nil {
		return err
	}
	b = o.appendFraming(b, req, method)
	if (req.Close || closing) && !o.close {
		o.close = true
		b = append(b, "Connection: close\r\n"...)
	}
	o.wire = append(b, '\r', '\n')
	return nil
}

// bodyLength returns a body's length, -1 if it is to be sent in chunks. As in
// net/http a ContentLength of 0 says nothing when there is a Body.
func bodyLength(req *http.Request) (n int64, has bool) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return 0, false
	case req.ContentLength <= 0, len(req.TransferEncoding) > 0 && req.TransferEncoding[0] == "chunked":
		return -1, true
	}
	return req.ContentLength, true
}

// appendTarget writes the request target in origin form, or "*" (RFC 9112
// section 3.2), or whatever URL.Opaque holds.
func appendTarget(b []byte, u *url.URL) ([]byte, error) {
	start := len(b)
	switch {
	case strings.HasPrefix(u.Opaque, "//"):
		b = append(b, u.Scheme...)
		b = append(b, ':')
		b = append(b, u.Opaque...)
	case u.Opaque != "":
		b = append(b, u.Opaque...)
	default:
		path := u.EscapedPath()
		if path == "" {
			path = "/"
		}
		b = append(b, path...)
	}
	if b[start] != '/' && b[start] != '*' && !strings.HasPrefix(u.Opaque, "//") {
		return nil, &RequestError{"the target does not begin with a slash"}
	}
	if u.ForceQuery || u.RawQuery != "" {
		b = append(b, '?')
		b = append(b, u.RawQuery...)
	}
	for _, c := range b[start:] {
		if c <= ' ' || c == 0x7f {
			return nil, &RequestError{"whitespace or a control character in the target"}
		}
	}
	return b, nil
}

// appendHost writes the host without an IPv6 zone, which means something only
// on this machine (RFC 6874 section 4).
func appendHost(b []byte, req *http.Request) ([]byte, error) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	for i := range len(host) {
		if !wire.IsHostByte(host[i]) {
			return nil, &RequestError{"an invalid character in the host"}
		}
	}
	if end := strings.LastIndexByte(host, ']'); end > 0 && host[0] == '[' {
		if zone := strings.IndexByte(host[:end], '%'); zone > 0 {
			b = append(b, host[:zone]...)
			return append(b, host[end:]...), nil
		}
	}
	return append(b, host...), nil
}

// appendFields writes the caller's fields, except those that frame the message
// or route it: these are the engine's alone, in whatever case they come.
func (o *outgoing) appendFields(b []byte, h http.Header) ([]byte, error) {
	asked := false
	for name, values := range h {
		switch len(name) {
		case 4, 7, 14, 17:
			if ownField(name) {
				continue
			}
		case 6:
			if strings.EqualFold(name, "Expect") && o.hasBody {
				o.expect = wire.HasOption(values, "100-continue")
			}
		case 10:
			if strings.EqualFold(name, "Connection") {
				o.close = o.close || wire.HasOption(values, "close")
				o.upgrade = o.upgrade || wire.HasOption(values, "upgrade")
			}
		}
		if name == "Upgrade" && len(values) > 0 {
			asked = true
		}
		if !wire.IsToken(name) {
			return nil, &RequestError{"a field name is not a token"}
		}
		for _, value := range values {
			value = wire.TrimSpace(value)
			if !wire.IsFieldValue(value) {
				return nil, &RequestError{"a control character in the value of " + name}
			}
			b = append(b, name...)
			b = append(b, ':', ' ')
			b = append(b, value...)
			b = append(b, '\r', '\n')
		}
	}
	o.upgrade = o.upgrade && asked
	return b, nil
}

func ownField(name string) bool {
	return strings.EqualFold(name, "Host") || strings.EqualFold(name, "Trailer") ||
		strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
}

// appendFraming writes what says how long the body is (RFC 9112 section 6),
// and which trailers follow it (RFC 9110 section 6.6.2). Methods that usually
// have a body say so even if it is empty (RFC 9110 section 8.6).
func (o *outgoing) appendFraming(b []byte, req *http.Request, method string) []byte {
	switch {
	case o.length > 0,
		!o.hasBody && (method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, o.length, 10)
		return append(b, '\r', '\n')
	case !o.hasBody:
		return b
	}
	b = append(b, "Transfer-Encoding: chunked\r\n"...)
	separator := "Trailer: "
	for name := range req.Trailer {
		if name = http.CanonicalHeaderKey(name); wire.IsToken(name) && !wire.ForbiddenTrailer(name) {
			b = append(b, separator...)
			b = append(b, name...)
			separator = ", "
		}
	}
	if separator == ", " {
		b = append(b, '\r', '\n')
	}
	return b
}

// maxAtHand bounds the bodies that are sent with the head if they are there.
const maxAtHand = 16 << 10

// atHand reports whether all of a body can be read without waiting. Bodies
// that net/http makes from something in memory come with a GetBody.
func (o *outgoing) atHand(req *http.Request) bool {
	if o.length > maxAtHand {
		return false
	}
	known, ok := o.body.(interface{ Buffered() int })
	return req.GetBody != nil || ok && int64(known.Buffered()) >= o.length
}

// buffer reads a body behind the head and closes it, if it is there or not
// longer than limit.
func (o *outgoing) buffer(req *http.Request, limit int) error {
	if o.body == nil || o.expect || o.length < 0 || o.length > int64(limit) && !o.atHand(req) {
		return nil
	}
	head := len(o.wire)
	total := head + int(o.length)
	if cap(o.wire) <= total {
		o.wire = append(make([]byte, 0, total+1), o.wire...)
	}
	// One byte more than announced shows that the end is where it should be.
	n, err := io.ReadFull(o.body, o.wire[head:total+1])
	switch {
	case err == io.ErrUnexpectedEOF && head+n == total:
		o.wire = o.wire[:total]
		err = o.body.Close()
		o.body = nil
		return err
	case err == nil:
		return &RequestError{"the body is longer than its announced length"}
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return errShortBody
	}
	return err
}

var errShortBody = &RequestError{"the body is shorter than its announced length"}

// repeatable reports whether a request may be sent a second time although the
// server may have seen the first (RFC 9110 section 9.2.2, but like net/http
// without PUT and DELETE: a DELETE repeated after success says 404).
func repeatable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return len(req.Header["Idempotency-Key"]) > 0 || len(req.Header["X-Idempotency-Key"]) > 0
}
