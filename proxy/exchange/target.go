package exchange

import (
	"errors"
	"net/http"
	"net/url"
)

// WithTarget returns a shallow copy of r that asks for another path and query.
// The path is in the form that goes over the wire, percent-encoded, beginning
// with "/"; query is without "?". RequestURI and URL agree afterwards, and what
// they say is forwarded byte for byte. A path that is not well-formed is an
// error: the caller has to refuse.
func WithTarget(r *http.Request, path, query string) (*http.Request, error) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	if path == "" || path[0] != '/' {
		return nil, errors.New("the path does not begin with a slash")
	}
	out := new(http.Request)
	*out = *r
	out.URL = &url.URL{Path: decoded, RawPath: path, RawQuery: query}
	out.RequestURI = path
	if query != "" {
		out.RequestURI += "?" + query
	}
	return out, nil
}
