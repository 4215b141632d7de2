package routing

import (
	"net/netip"
	"strings"
)

// longestName is the longest DNS name (RFC 1035 section 2.3.4), and longer
// than any IP literal.
const longestName = 253

// longestLabel is the longest label of one (RFC 1035 section 2.3.4).
const longestLabel = 63

// HostBuffer is room for what [Host] returns, on the caller's stack.
type HostBuffer [longestName]byte

// Host writes the canonical form of a Host field, a :authority or an SNI into
// buf and returns it: lower case, without port, without the trailing dot of a
// fully qualified name, an IPv6 literal without brackets and in the form of RFC
// 5952. It reports false for what is no host: empty, too long, a character or a
// label that DNS does not have, a port that is none. It allocates nothing.
//
// Underscores pass: names with them exist. Percent-encoding and raw Unicode do
// not: no client sends them, and two readers could disagree on them.
func Host(buf *HostBuffer, host string) ([]byte, bool) {
	if strings.HasPrefix(host, "[") {
		return literal(buf, host[1:])
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		if !validPort(host[i+1:]) {
			return nil, false
		}
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > longestName {
		return nil, false
	}
	label := 0
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return nil, false
		}
		if label > longestLabel {
			return nil, false
		}
		buf[i] = c
	}
	return buf[:len(host)], label > 0
}

// literal is Host for what follows "[".
func literal(buf *HostBuffer, rest string) ([]byte, bool) {
	text, port, ok := strings.Cut(rest, "]")
	if !ok || port != "" && (port[0] != ':' || !validPort(port[1:])) {
		return nil, false
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return nil, false
	}
	return addr.AppendTo(buf[:0]), true
}

// validPort accepts what RFC 3986 section 3.2.3 does, empty included, up to
// 65535.
func validPort(port string) bool {
	n := 0
	for i := range len(port) {
		c := port[i]
		if c < '0' || c > '9' {
			return false
		}
		if n = 10*n + int(c-'0'); n > 65535 {
			return false
		}
	}
	return true
}
