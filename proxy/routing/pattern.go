package routing

import "strings"

// Pattern is the path of a condition.
type Pattern struct {
	text     string // without the slash at its end
	deep     bool   // everything below too
	segments []string
}

// NewPattern reads a path that the configuration found to be good: "/a" is that
// path alone, "/a/" it and everything below, and a segment "*" is any one
// segment that is not empty. It is compared byte by byte with paths in
// canonical form.
func NewPattern(text string) Pattern {
	p := Pattern{text: text}
	if rest, ok := strings.CutSuffix(text, "/"); ok {
		p.text, p.deep = rest, true
	}
	for segment := range strings.SplitSeq(p.text, "/") {
		if segment == "*" {
			p.segments = strings.Split(p.text[1:], "/")
		}
	}
	return p
}

// String returns the text that the pattern was made of.
func (p *Pattern) String() string {
	if p.deep {
		return p.text + "/"
	}
	return p.text
}

// match reports whether a path in canonical form is meant.
func (p *Pattern) match(path string) bool {
	switch {
	case p.segments != nil:
		return p.matchSegments(path)
	case !p.deep:
		return path == p.text
	case p.text == "":
		return true // "*" included, which has no path
	}
	return strings.HasPrefix(path, p.text) && (len(path) == len(p.text) || path[len(p.text)] == '/')
}

// matchSegments is match for patterns with a *.
func (p *Pattern) matchSegments(path string) bool {
	for _, wanted := range p.segments {
		if path == "" || path[0] != '/' {
			return false
		}
		segment := firstSegment(path)
		if segment != wanted && (wanted != "*" || segment == "") {
			return false
		}
		path = path[1+len(segment):]
	}
	return path == "" || p.deep
}

// first returns the segment with which every path of the pattern begins.
func (p *Pattern) first() (string, bool) {
	word := firstSegment(p.text)
	return word, p.text != "" && word != "*"
}

// firstSegment returns what is between the first slash and the second.
func firstSegment(path string) string {
	if path == "" {
		return ""
	}
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}
