package wire

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

// IsTokenByte reports whether c may be in a token (RFC 9110 section 5.6.2).
func IsTokenByte(c byte) bool { return in(c, tokenLow, tokenHigh) }

// IsHostByte reports whether c may be in a host with its port (RFC 3986
// section 3.2.2).
func IsHostByte(c byte) bool { return in(c, hostLow, hostHigh) }

// IsValueByte reports whether c may be in a field's value (RFC 9110 section
// 5.5): visible, space, tab, or not ASCII.
func IsValueByte(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }

// IsToken reports whether s is a token (RFC 9110 section 5.6.2), which is
// never empty.
func IsToken(s string) bool {
	for i := range len(s) {
		if !IsTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsHost reports whether s has only characters of a host with its port. The
// empty host passes: what it means is not a matter of grammar.
func IsHost(s string) bool {
	for i := range len(s) {
		if !IsHostByte(s[i]) {
			return false
		}
	}
	return true
}

// IsFieldValue reports whether s can be sent as a field's value.
func IsFieldValue(s string) bool {
	for i := range len(s) {
		if !IsValueByte(s[i]) {
			return false
		}
	}
	return true
}

// TrimSpace removes optional whitespace around s (RFC 9110 section 5.6.3).
func TrimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// HasOption reports whether comma-separated lists have an element, compared
// without case (RFC 9110 section 7.6.1).
func HasOption(lists []string, option string) bool {
	for _, list := range lists {
		for more := true; more; {
			var element string
			element, list, more = strings.Cut(list, ",")
			if strings.EqualFold(TrimSpace(element), option) {
				return true
			}
		}
	}
	return false
}

// ForbiddenTrailer reports whether a field has no business behind a body: one
// that frames or routes the message, changes or authenticates the request,
// or controls what is done with the response (RFC 9110 section 6.5.1). The
// name is canonical.
func ForbiddenTrailer(name string) bool {
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

// HexValue returns the value of a hexadecimal digit.
func HexValue(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
