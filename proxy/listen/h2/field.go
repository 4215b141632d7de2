package h2

import (
	"net/http"
	"strings"
)

// names are those that are common, in both spellings; others are converted each
// time. They never change once made.
type names struct {
	canonical map[string]string // by the lower-case form
	lower     map[string]string // by the canonical form
}

const commonNames = `
	Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Credentials
	Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Expose-Headers
	Access-Control-Max-Age Access-Control-Request-Headers Access-Control-Request-Method Age Allow Alt-Svc Authorization
	Cache-Control Connection Content-Disposition Content-Encoding Content-Language Content-Length Content-Location
	Content-Range Content-Security-Policy Content-Type Cookie Date Dnt Early-Data Etag Expect Expires Forwarded From
	Grpc-Accept-Encoding Grpc-Encoding Grpc-Message Grpc-Status Grpc-Timeout Host If-Match If-Modified-Since If-None-Match
	If-Range If-Unmodified-Since Keep-Alive Last-Modified Link Location Max-Forwards Origin Permissions-Policy Pragma
	Priority Proxy-Authenticate Proxy-Authorization Range Referer Referrer-Policy Refresh Retry-After Sec-Ch-Ua
	Sec-Ch-Ua-Mobile Sec-Ch-Ua-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-Gpc
	Sec-Websocket-Extensions Sec-Websocket-Key Sec-Websocket-Protocol Sec-Websocket-Version Server Set-Cookie
	Strict-Transport-Security Te Trailer Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Vary Via
	Www-Authenticate X-Content-Type-Options X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options
	X-Powered-By X-Real-Ip X-Request-Id X-Requested-With X-Xss-Protection`

func newNames() *names {
	n := &names{canonical: make(map[string]string), lower: make(map[string]string)}
	for name := range strings.FieldsSeq(commonNames) {
		lower := strings.ToLower(name)
		n.canonical[lower] = name
		n.lower[name] = lower
	}
	return n
}

// header returns the form in which [http.Header] has a valid lower-case name.
func (n *names) header(lower string) string {
	if name, ok := n.canonical[lower]; ok {
		return name
	}
	return http.CanonicalHeaderKey(lower)
}

// wire returns the form in which HTTP/2 has a name, and whether it has one.
func (n *names) wire(name string) (string, bool) {
	if lower, ok := n.lower[name]; ok {
		return lower, true
	}
	lower := strings.ToLower(name)
	return lower, isName(lower)
}

// isNameByte reports whether a byte may stand in a field name: that of a token
// (RFC 9110 section 5.6.2), and lower case (RFC 9113 section 8.2.1).
func isNameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		return true
	}
	return c != 0 && strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// isName: RFC 9113 section 8.2.1.
func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isToken: RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isNameByte(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

// isValue: RFC 9113 section 8.2.1 forbids NUL, CR, LF and blanks around a
// value; RFC 9110 section 5.5 also the other control characters, which nobody
// needs and which some servers take for the end of a line.
func isValue(s string) bool {
	if s == "" {
		return true
	}
	if isBlank(s[0]) || isBlank(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// forbidden reports whether a field must not be in a message of HTTP/2 (RFC
// 9113 section 8.2.2): those that are about one connection of HTTP/1.1.
func forbidden(lower string) bool {
	switch lower {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

// disguised reports whether a field differs only by "_" from one that frames or
// routes a message or says who the client is. Servers that make variables of
// fields (CGI and what came of it) cannot tell the two apart.
func disguised(lower string) bool {
	if strings.IndexByte(lower, '_') < 0 {
		return false
	}
	name := strings.ReplaceAll(lower, "_", "-")
	switch name {
	case "content-length", "transfer-encoding", "host", "connection", "te", "trailer", "upgrade", "expect", "authorization",
		"cookie", "forwarded", "x-real-ip", "x-request-id", "proxy-connection", "proxy-authorization", "keep-alive":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-")
}

// trailing reports whether a field may follow a request's body: not one that
// frames, routes or authenticates the message or says who the client is (RFC
// 9110 section 6.5.1).
func trailing(lower string) bool {
	switch lower {
	case "host", "authorization", "cookie", "te", "trailer", "expect", "forwarded", "x-real-ip", "range",
		"cache-control", "proxy-authorization", "max-forwards":
		return false
	}
	return !strings.HasPrefix(lower, "content-") && !strings.HasPrefix(lower, "x-forwarded-") && strings.IndexByte(lower, '_') < 0
}

// contentLength reads the value of Content-Length: digits only (RFC 9110
// section 8.6).
func contentLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

// isAuthority: RFC 3986 section 3.2 without user information (RFC 9113 section
// 8.3.1). What names a host is for the router to say; here it only must not
// break out of the line that it will be written to.
func isAuthority(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isNameByte(c) && (c < 'A' || c > 'Z') && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

// isPath: what can stand in a request line between two blanks and is no
// fragment.
func isPath(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return s != "" && s[0] == '/'
}
