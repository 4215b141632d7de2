package target

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// ErrTarget refuses a target that is none, or that cannot be passed on as it is.
var ErrTarget = &exchange.Refusal{Status: http.StatusBadRequest, Label: "target_invalid", Reason: "the request target has a character that does not belong there"}

// Check refuses a target that cannot be passed on byte for byte: what we read
// and what the server behind reads must be the same. HTTP/2 can carry a blank in
// :path, which in HTTP/1.1 would end the target; a fragment is never sent by a
// client (RFC 9112 section 3.2). Whether it is a target at all is for [Settle].
func Check(uri string) error {
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c == 0x7f || c == '#' {
			return ErrTarget
		}
	}
	return nil
}

// Settle brings the target of a request that has passed [Check] into the form
// that is matched and forwarded: a path in its normal form and the query as it
// came, or "*". It changes r, which must not be the server's own and after an
// error is good for nothing but a refusal. With merge, several slashes in a row
// become one.
func Settle(r *http.Request, merge bool) error {
	uri := r.RequestURI
	switch {
	case uri == "*":
		if r.Method != http.MethodOptions { // RFC 9112 section 3.2.4
			return ErrTarget
		}
		return nil
	case !strings.HasPrefix(uri, "/"):
		if r.URL.Scheme != "https" && r.URL.Scheme != "http" || r.URL.User != nil {
			return ErrTarget
		}
		uri = originForm(uri)
	}
	path, query, has := strings.Cut(uri, "?")
	if Plain(path) && uri == r.RequestURI {
		return nil
	}
	normal, err := Normalize(path, merge)
	if err != nil {
		return err
	}
	if normal != path || uri != r.RequestURI {
		plain, err := url.PathUnescape(normal)
		if err != nil {
			return ErrTarget
		}
		r.RequestURI = normal
		if has {
			r.RequestURI += "?" + query
		}
		r.URL = &url.URL{Path: plain, RawPath: normal, RawQuery: query, ForceQuery: has && query == ""}
	}
	if strings.HasPrefix(normal, "//") && r.URL.EscapedPath() != normal {
		return ErrTarget // url.URL cannot hold it verbatim
	}
	return nil
}

// originForm returns the path and query of a target in absolute form (RFC 9112
// section 3.2.2).
func originForm(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}
