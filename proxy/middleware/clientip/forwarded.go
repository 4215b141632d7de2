package clientip

import (
	"io"
	"net/netip"
	"strings"
)

// items yields the items of a list field from the right, line by line, without
// taking all of it apart first: the left end is what a stranger can make long.
type items struct {
	lines []string
	rest  string
	open  bool // rest holds (what is left of) a line
	steps int
}

// mostItems bounds the items that are cut off, empty ones included: finding a
// comma outside quotes means reading the line from the left each time.
const mostItems = 2 * mostHops

// next returns the last item that is left, without the blanks around it. Empty
// items are skipped (RFC 9110 section 5.6.1.2). Commas in quoted strings are the
// caller's to watch for: cut says where the item begins.
func (s *items) next(cut func(string) int) (string, bool) {
	for {
		if !s.open {
			if len(s.lines) == 0 {
				return "", false
			}
			s.rest, s.lines = s.lines[len(s.lines)-1], s.lines[:len(s.lines)-1]
			s.open = true
		}
		if s.steps++; s.steps > mostItems {
			return "", false
		}
		at := cut(s.rest)
		item := strings.Trim(s.rest[at+1:], " \t")
		if at < 0 {
			s.open = false
		} else {
			s.rest = s.rest[:at]
		}
		if item != "" {
			return item, true
		}
	}
}

// xff is X-Forwarded-For: addresses, separated by commas.
type xff struct{ items items }

func newXFF(lines []string) *xff { return &xff{items{lines: lines}} }

func (x *xff) next() (hop, error) {
	item, ok := x.items.next(func(s string) int { return strings.LastIndexByte(s, ',') })
	if !ok || item == hidden {
		return hop{}, io.EOF
	}
	address, ok := parseNode(item)
	if !ok {
		return hop{}, ErrMalformed
	}
	return hop{address: address}, nil
}

// hidden is what a proxy writes that does not know its client's address.
const hidden = "unknown"

// forwarded is Forwarded (RFC 7239): elements of pairs, whose values may be
// quoted strings with commas in them.
type forwarded struct{ items items }

func newForwarded(lines []string) *forwarded { return &forwarded{items{lines: lines}} }

func (f *forwarded) next() (hop, error) {
	item, ok := f.items.next(lastComma)
	if !ok {
		return hop{}, io.EOF
	}
	h, ok := parseElement(item)
	switch {
	case !ok:
		return hop{}, ErrMalformed
	case !h.address.IsValid():
		return hop{}, io.EOF
	}
	return h, nil
}

// lastComma returns where the last comma outside a quoted string is, or -1.
// Quotes only balance from the left, and the left is a stranger's, so a line is
// read as its writer must have: from the left, once. A line whose quotes do not
// balance is one single item, which then does not parse.
func lastComma(line string) int {
	at, quoted := -1, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			at = i
		}
	}
	if quoted {
		return -1
	}
	return at
}

// parseElement reads one element. It is refused as a whole, rather than read
// in part, if anything about it is not as RFC 7239 section 4 has it: a
// parameter twice, no "for", a value that is neither token nor quoted string.
func parseElement(element string) (hop, bool) {
	var (
		h                hop
		hasFor, hasProto bool
	)
	for rest := element; rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || !isToken(name) {
			return hop{}, false
		}
		value, left, ok := parseValue(after)
		if !ok {
			return hop{}, false
		}
		switch {
		case strings.EqualFold(name, "for"):
			if h.address, ok = parseNode(value); hasFor || !ok && !hides(value) {
				return hop{}, false
			}
			hasFor = true
		case strings.EqualFold(name, "proto"):
			if hasProto {
				return hop{}, false
			}
			h.proto, hasProto = value, true
		}
		rest = left
	}
	return h, hasFor
}

// hides reports whether a node is "unknown" or an obfuscated identifier (RFC
// 7239 section 6.3).
func hides(node string) bool {
	return strings.EqualFold(node, hidden) || len(node) > 1 && node[0] == '_' && isToken(node)
}

// parseValue reads a token or a quoted string and returns what comes after the
// semicolon behind it.
func parseValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, more := strings.Cut(s, ";")
		value, rest = strings.TrimRight(value, " \t"), strings.TrimLeft(rest, " \t")
		return value, rest, isToken(value) && (!more || rest != "")
	}
	var text strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			text.WriteByte(s[i])
		case '"':
			rest = strings.TrimLeft(s[i+1:], " \t")
			if rest == "" {
				return text.String(), "", true
			}
			if rest[0] != ';' {
				return "", "", false
			}
			rest = strings.TrimLeft(rest[1:], " \t")
			return text.String(), rest, rest != ""
		default:
			text.WriteByte(c)
		}
	}
	return "", "", false
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2). A colon and
// brackets are let through in addition: proxies write for=192.0.2.1:80 and
// for=[2001:db8::1] without the quotes that RFC 7239 wants.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~:[]", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// parseNode reads an address with or without port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. "unknown", obfuscated
// identifiers (RFC 7239 section 6.3) and addresses with a zone are none.
func parseNode(text string) (netip.Addr, bool) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		inside, port, ok := strings.Cut(rest, "]")
		if !ok || port != "" && (port[0] != ':' || !isPort(port[1:])) {
			return netip.Addr{}, false
		}
		address, err := netip.ParseAddr(inside)
		return address.Unmap(), err == nil && address.Is6() && address.Zone() == ""
	}
	if host, port, ok := strings.Cut(text, ":"); ok && strings.IndexByte(port, ':') < 0 {
		if !isPort(port) {
			return netip.Addr{}, false
		}
		text = host
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap(), err == nil && address.Zone() == ""
}

// isPort accepts a number of up to five digits, and the obfuscated ports of RFC
// 7239 section 6.3 ("_" and more).
func isPort(port string) bool {
	if len(port) > 1 && port[0] == '_' {
		return isToken(port)
	}
	if port == "" || len(port) > 5 {
		return false
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	return true
}
