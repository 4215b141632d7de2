package target

import (
	"iter"
	"strings"
)

// Habit is what the application makes of a character in a path.
type Habit uint8

// The habits.
const (
	Unknown Habit = iota // either
	Keep                 // it is a character like others
	Special              // it means something: see Habits
)

// Habits are how the application reads paths. The zero value says that nothing
// is known.
type Habits struct {
	// Parameters is about the semicolon. Special: it and what follows, up to
	// the next slash, is no part of the segment.
	Parameters Habit

	// Slashes is about %2F. Special: it separates segments.
	Slashes Habit
}

// Readings returns what applications of these habits could take a normal path
// for, in canonical form, beginning with the most literal one. Two may be the
// same. What a backslash is to them is never known.
func Readings(path string, habits Habits) iter.Seq[string] {
	return func(yield func(string) bool) {
		slash, backslash := separators(path)
		for strip := range habits.Parameters.both(strings.Contains(path, ";")) {
			for split := range habits.Slashes.both(slash) {
				for back := range Unknown.both(backslash) {
					one := string(appendReading(make([]byte, 0, len(path)), path, reading{strip, split, back}))
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
}

// Only returns the reading of a normal path of which there can be but one, as
// of nearly all that have something encoded; Readings would say the same with
// more ado.
func Only(path string) (canonical string, ok bool) {
	if strings.ContainsAny(path, `;\`) || strings.Contains(path, "//") {
		return "", false
	}
	if slash, backslash := separators(path); slash || backslash {
		return "", false
	}
	return Canonical(path), true
}

// both returns whether the character is special to the application: no, yes, or
// first the one and then the other.
func (h Habit) both(there bool) iter.Seq[bool] {
	return func(yield func(bool) bool) {
		switch {
		case !there || h == Keep:
			yield(false)
		case h == Special:
			yield(true)
		default:
			_ = yield(false) && yield(true)
		}
	}
}

// separators reports whether a path has what could be a slash to somebody: an
// encoded one, a backslash in either form.
func separators(path string) (slash, backslash bool) {
	for i := 0; i < len(path); {
		c, width := next(path, i)
		slash = slash || c == '/' && width == 3
		backslash = backslash || c == '\\'
		i += width
	}
	return slash, backslash
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
