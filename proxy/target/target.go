package target

import (
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// The errors of Normalize.
var (
	ErrEscape = &exchange.Refusal{Status: http.StatusBadRequest, Label: "path_invalid", Reason: "the path has a % that begins no escape, or an encoded NUL"}
	ErrRoot   = &exchange.Refusal{Status: http.StatusBadRequest, Label: "path_above_root", Reason: "the path leads above the root"}
	ErrDots   = &exchange.Refusal{Status: http.StatusBadRequest, Label: "path_ambiguous", Reason: "the path has a dot segment that not everybody would see"}
)

// Plain reports whether a path is normal and canonical as it is: nothing in it
// is encoded, and nothing could be read in two ways.
func Plain(path string) bool {
	before := byte(0)
	for i := range len(path) {
		c := path[i]
		switch c {
		case '%', ';', '\\':
			return false
		case '/', '.':
			if before == '/' { // "//", or a segment that begins with a dot
				return false
			}
		}
		before = c
	}
	return true
}

// Normalize returns the normal form of a path as it came over the wire,
// beginning with a slash. With merge, several slashes in a row become one. What
// is in order is returned as it is, without allocating.
func Normalize(path string, merge bool) (string, error) {
	if err := checkEscapes(path); err != nil {
		return "", err
	}
	if merge {
		path = mergeSlashes(path)
	}
	dots := false
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch classify(segment) {
		case dot, dotDot:
			dots = true
		case hiddenDots:
			return "", ErrDots
		}
	}
	if !dots {
		return path, nil
	}
	return resolve(path, merge)
}

// checkEscapes makes sure that every percent sign begins an escape, and that
// none is a NUL, at which some applications end the path.
func checkEscapes(path string) error {
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		c, ok := unescape(path, i)
		if !ok || c == 0 {
			return ErrEscape
		}
		i += 2
	}
	return nil
}

// unescape returns the byte that the escape at i stands for.
func unescape(path string, i int) (c byte, ok bool) {
	if i+2 >= len(path) {
		return 0, false
	}
	high, ok1 := digit(path[i+1])
	low, ok2 := digit(path[i+2])
	return high<<4 | low, ok1 && ok2
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// next decodes what stands at i, which is width bytes long.
func next(path string, i int) (c byte, width int) {
	if path[i] == '%' {
		if c, ok := unescape(path, i); ok {
			return c, 3
		}
	}
	return path[i], 1
}

// The kinds of segments.
const (
	ordinary = iota
	dot
	dotDot
	hiddenDots
)

// classify says whether a segment is a dot segment, or would be one to somebody
// who decodes slashes, takes backslashes for slashes, or drops parameters.
func classify(segment string) int {
	if !strings.ContainsAny(segment, ".%") {
		return ordinary
	}
	whole, piece := true, 0 // piece counts the dots since the last separator, -1: something else
	parameter := false
	hidden := false
	end := func() { hidden = hidden || piece == 1 || piece == 2 }
	for i := 0; i < len(segment); {
		c, width := next(segment, i)
		switch {
		case c == '/' || c == '\\':
			end()
			whole, piece, parameter = false, 0, false
		case c == ';':
			// An encoded one counts too: there are applications that decode first.
			end()
			whole, parameter = false, true
			piece = -1
		case parameter:
		case c == '.' && piece >= 0:
			piece++
		default:
			piece = -1
		}
		i += width
	}
	switch {
	case whole && piece == 1:
		return dot
	case whole && piece == 2:
		return dotDot
	}
	end()
	if hidden {
		return hiddenDots
	}
	return ordinary
}

// resolve removes dot segments (RFC 3986 section 5.2.4).
func resolve(path string, merge bool) (string, error) {
	out := make([]byte, 0, len(path))
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch classify(segment) {
		case dot:
			if !more {
				out = append(out, '/')
			}
		case dotDot:
			if len(out) == 0 {
				return "", ErrRoot
			}
			out = out[:strings.LastIndexByte(string(out), '/')]
			if !more {
				out = append(out, '/')
			}
		default:
			out = append(out, '/')
			out = append(out, segment...)
		}
	}
	if len(out) == 0 {
		return "/", nil
	}
	if merge {
		return mergeSlashes(string(out)), nil
	}
	return string(out), nil
}

// mergeSlashes makes one slash of several in a row.
func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}

// Canonical returns the canonical form of a normal path.
func Canonical(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	return string(appendReading(make([]byte, 0, len(path)), path, reading{}))
}

// reading is one way to decode a path: leave parameters out, take encoded
// slashes for slashes, take backslashes for slashes.
type reading struct{ strip, split, back bool }

// appendReading decodes a normal path.
func appendReading(out []byte, path string, as reading) []byte {
	skip := false
	for i := 0; i < len(path); {
		c, width := next(path, i)
		switch {
		case path[i] == '/':
			skip = false
			out = append(out, '/')
		case skip:
		case path[i] == ';' && as.strip:
			skip = true
		case as.split && c == '/', as.back && c == '\\':
			out = append(out, '/')
		case c == '/' && width == 3:
			out = append(out, "%2F"...)
		case c == '%':
			out = append(out, "%25"...)
		default:
			out = append(out, c)
		}
		i += width
	}
	return out
}

// Encode writes a canonical path, or a part of one, in the form that goes over
// the wire. It undoes Canonical but for the spelling of escapes.
func Encode(canonical string) string {
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := range len(canonical) {
		c := canonical[i]
		if plain(c) || c == '%' { // what is left of escapes in canonical form
			if out != nil {
				out = append(out, c)
			}
			continue
		}
		if out == nil {
			out = append(make([]byte, 0, len(canonical)+8), canonical[:i]...)
		}
		out = append(out, '%', hex[c>>4], hex[c&15])
	}
	if out == nil {
		return canonical
	}
	return string(out)
}

// plain reports whether a byte may stand in a path as it is (RFC 3986 section
// 3.3), a semicolon excepted, which would begin a parameter.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@/", c) >= 0
}
