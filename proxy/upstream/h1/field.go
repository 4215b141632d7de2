package h1

import "strings"

// Sets of ASCII characters, as one bit each: those below '@' and the rest.
const (
	digits  = (1<<10 - 1) << '0'
	letters = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)

	tokenLow  = digits | 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
	tokenHigh = letters | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)

	hostLow = digits | 1<<'-' | 1<<'.' | 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' |
		1<<';' | 1<<'=' | 1<<':' | 1<<'%'
	hostHigh = letters | 1<<('_'-64) | 1<<('~'-64) | 1<<('['-64) | 1<<(']'-64)
)

func in(c byte, low, high uint64) bool {
	if c < 64 {
		return low>>c&1 != 0
	}
	return c < 128 && high>>(c-64)&1 != 0
}

// isTokenByte: RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool { return in(c, tokenLow, tokenHigh) }

// isHostByte: RFC 3986 section 3.2.2, with port.
func isHostByte(c byte) bool { return in(c, hostLow, hostHigh) }

// isValueByte: RFC 9110 section 5.5: visible, space, tab, or not ASCII.
func isValueByte(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isFieldValue(s string) bool {
	for i := range len(s) {
		if !isValueByte(s[i]) {
			return false
		}
	}
	return true
}

// trimSpace removes optional whitespace (RFC 9110 section 5.6.3).
func trimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// hasOption reports whether comma-separated lists have an element, compared
// without case (RFC 9110 section 7.6.1).
func hasOption(lists []string, option string) bool {
	for _, list := range lists {
		for more := true; more; {
			var element string
			element, list, more = strings.Cut(list, ",")
			if strings.EqualFold(trimSpace(element), option) {
				return true
			}
		}
	}
	return false
}

// forbiddenTrailer reports whether a field has no business behind a body: one
// that frames or routes the message, changes or authenticates the request,
// or controls what is done with the response (RFC 9110 section 6.5.1). The
// name is canonical.
func forbiddenTrailer(name string) bool {
	if strings.HasPrefix(name, "If-") || strings.HasPrefix(name, "Content-") {
		return true
	}
	switch name {
	case "Age", "Authentication-Info", "Authorization", "Cache-Control", "Connection", "Cookie", "Date", "Expect", "Expires",
		"Forwarded", "Host", "Keep-Alive", "Location", "Max-Forwards", "Pragma", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"Proxy-Authorization", "Proxy-Connection", "Range", "Retry-After", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Vary", "Via", "Warning", "Www-Authenticate":
		return true
	}
	return false
}
