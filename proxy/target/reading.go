package target

import (
	"iter"
	"strings"
)

// Parameters is what the application makes of a semicolon in a path.
type Parameters uint8

// The ways to read a semicolon.
const (
	Unknown Parameters = iota // either
	Strip                     // it and what follows, up to the next slash, is no part of the segment
	Keep                      // it is a character like others
)

// Readings returns what applications could take a normal path for, in canonical
// form, beginning with the most literal one. Two may be the same.
func Readings(path string, parameters Parameters) iter.Seq[string] {
	return func(yield func(string) bool) {
		split := strings.Contains(path, `\`) || separates(path)
		semicolon := strings.Contains(path, ";")
		for _, strip := range [...]bool{false, true} {
			if strip && !semicolon || strip && parameters == Keep || !strip && semicolon && parameters == Strip {
				continue
			}
			for _, all := range [...]bool{false, true} {
				if all && !split {
					continue
				}
				one := string(appendReading(make([]byte, 0, len(path)), path, strip, all))
				if !yield(one) {
					return
				}
				if merged := mergeSlashes(one); merged != one && !yield(merged) {
					return
				}
			}
		}
	}
}

// separates reports whether a path has an encoded slash or backslash.
func separates(path string) bool {
	for i := 0; i < len(path); {
		c, width := next(path, i)
		if width == 3 && (c == '/' || c == '\\') {
			return true
		}
		i += width
	}
	return false
}

// CutPrefix takes a prefix, in canonical form and without a slash at its end,
// off a normal path, at the end of a segment. What is left begins with a slash.
func CutPrefix(path, prefix string) (rest string, ok bool) {
	i := 0
	for prefix != "" {
		if i >= len(path) {
			return path, false
		}
		c, width := next(path, i)
		unit := path[i : i+1]
		if width == 3 {
			switch c {
			case '/':
				unit = "%2F"
			case '%':
				unit = "%25"
			default:
				unit = string([]byte{c})
			}
		}
		if !strings.HasPrefix(prefix, unit) {
			return path, false
		}
		prefix = prefix[len(unit):]
		i += width
	}
	switch {
	case i == len(path):
		return "/", true
	case path[i] != '/':
		return path, false
	}
	return path[i:], true
}
