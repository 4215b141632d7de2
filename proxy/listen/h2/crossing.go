package h2

import (
	"net/http"
	"strings"
)

// Check tells whether a request that came by another engine, HTTP/3's, obeys
// the rules that this one has for what may become a request of HTTP/1.1. It
// returns what is wrong, or "". The request's fields are in canonical form.
func Check(r *http.Request) string {
	if !isToken(r.Method) {
		return "method that is not a token"
	}
	if r.Host == "" || !isAuthority(r.Host) {
		return "authority with a character that does not belong there"
	}
	plainConnect := r.Method == http.MethodConnect && r.Header[":protocol"] == nil
	if !plainConnect && !isPath(r.RequestURI) && (r.RequestURI != "*" || r.Method != http.MethodOptions) {
		return "path with a character that does not belong there"
	}
	for name, values := range r.Header {
		if name == ":protocol" {
			continue // the engine's own
		}
		lower := strings.ToLower(name)
		if why := checkField(lower, values); why != "" {
			return why
		}
		if lower == "content-length" {
			if _, ok := contentLength(values[0]); !ok || len(values) > 1 {
				return "Content-Length that is not one number"
			}
		}
	}
	return ""
}

func checkField(lower string, values []string) string {
	switch {
	case !isName(lower):
		return "field name that is not a token"
	case forbidden(lower):
		return "field of a connection of HTTP/1.1"
	case disguised(lower):
		return "field that looks like another"
	}
	for _, v := range values {
		if !isValue(v) {
			return "field value with a character that does not belong there"
		}
		if lower == "te" && !strings.EqualFold(v, "trailers") {
			return "TE other than trailers"
		}
	}
	return ""
}
