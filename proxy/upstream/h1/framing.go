package h1

import (
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// bodyKind is how the end of a response's body is known.
type bodyKind uint8

const (
	noBody bodyKind = iota
	byLength
	byChunks
	byClose
)

// frame decides how long a response's body is (RFC 9112 section 6.3), and
// whether the connection can be used again (section 9.3), as far as the head
// tells. It fills in the fields of the response that depend on it.
func (x *exchange) frame() (bodyKind, string) {
	res := &x.res
	bodiless := res.StatusCode < 200 || res.StatusCode == http.StatusNoContent
	length, bad := wire.ContentLength(res.Header["Content-Length"])
	if bad != "" {
		return noBody, bad
	}
	chunked := false
	if codings, ok := res.Header["Transfer-Encoding"]; ok {
		switch {
		case bodiless || res.ProtoMinor == 0:
			return noBody, codingNotAllowed // RFC 9112 section 6.1
		case len(codings) != 1 || !strings.EqualFold(codings[0], "chunked"):
			return noBody, badTransferEncoding
		case length >= 0:
			return noBody, bothFramings
		}
		chunked = true
		delete(res.Header, "Transfer-Encoding")
		x.codings[0] = "chunked"
		res.TransferEncoding = x.codings[:1:1]
		if res.Trailer, bad = announcedTrailers(res.Header); bad != "" {
			return noBody, bad
		}
	}
	res.Close = closes(res)
	switch {
	case bodiless:
		if length > 0 {
			res.Close = true // it may well send them
		}
		delete(res.Header, "Content-Length") // RFC 9110 section 8.6
		return noBody, ""
	case x.req.Method == http.MethodHead:
		res.ContentLength = length
		return noBody, ""
	case res.StatusCode == http.StatusNotModified || length == 0:
		return noBody, ""
	case chunked:
		res.ContentLength = -1
		return byChunks, ""
	case length > 0:
		res.ContentLength = length
		return byLength, ""
	}
	res.ContentLength = -1
	res.Close = true
	return byClose, ""
}

// closes reports whether a server says that the connection ends with this
// response (RFC 9112 section 9.3).
func closes(res *http.Response) bool {
	connection := res.Header["Connection"]
	if wire.HasOption(connection, "close") {
		return true
	}
	return res.ProtoMinor == 0 && !wire.HasOption(connection, "keep-alive")
}

// announcedTrailers returns a map with the names in a chunked response's
// Trailer field (RFC 9110 section 6.6.2) and removes the field. Names that may
// not be there are left out; those that frame messages are refused.
func announcedTrailers(h http.Header) (http.Header, string) {
	lists := h["Trailer"]
	if lists == nil {
		return nil, ""
	}
	delete(h, "Trailer")
	var trailer http.Header
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(wire.TrimSpace(name))
			switch {
			case name == "Transfer-Encoding" || name == "Content-Length" || name == "Trailer":
				return nil, badTrailerName
			case !wire.IsToken(name) || wire.ForbiddenTrailer(name):
				continue
			case trailer == nil:
				trailer = make(http.Header)
			}
			trailer[name] = nil
		}
	}
	return trailer, ""
}
