package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/proxy/target"
)

// settle brings the target of an admitted request into the form that is
// matched and forwarded: a path in its normal form and the query as it came, or
// "*". It changes r, which must not be the server's own.
func settle(r *http.Request, merge bool) error {
	uri := r.RequestURI
	switch {
	case uri == "*":
		if r.Method != http.MethodOptions { // RFC 9112 section 3.2.4
			return errTarget
		}
		return nil
	case !strings.HasPrefix(uri, "/"):
		if r.URL.Scheme != "https" && r.URL.Scheme != "http" || r.URL.User != nil {
			return errTarget
		}
		uri = originForm(uri)
	}
	path, query, has := strings.Cut(uri, "?")
	if target.Plain(path) && uri == r.RequestURI {
		return nil
	}
	normal, err := target.Normalize(path, merge)
	if err != nil {
		return err
	}
	if normal != path || uri != r.RequestURI {
		plain, err := url.PathUnescape(normal)
		if err != nil {
			return errTarget
		}
		r.RequestURI = normal
		if has {
			r.RequestURI += "?" + query
		}
		r.URL = &url.URL{Path: plain, RawPath: normal, RawQuery: query, ForceQuery: has && query == ""}
	}
	if strings.HasPrefix(normal, "//") && r.URL.EscapedPath() != normal {
		return errTarget // url.URL cannot hold it verbatim
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
