package compress

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// choose returns the encoding for a client: of those that it accepts equally
// well the one that we prefer, nil for none (RFC 9110 section 12.5.3).
func (c *Compressor) choose(accept []string) *encoding {
	if len(accept) == 0 {
		return nil
	}
	var best *encoding
	var most float64
	for _, e := range c.encodings {
		if q := quality(accept, e.name); q > most {
			best, most = e, q
		}
	}
	return best
}

// quality returns how much a client wants a coding; 0 is not at all.
func quality(accept []string, coding string) float64 {
	any := 0.0
	for _, list := range accept {
		for member := range strings.SplitSeq(list, ",") {
			name, parameters, _ := strings.Cut(member, ";")
			name = strings.TrimSpace(name)
			named := strings.EqualFold(name, coding) || coding == "gzip" && strings.EqualFold(name, "x-gzip")
			if !named && name != "*" {
				continue
			}
			q := weight(parameters)
			if named {
				return q
			}
			any = q
		}
	}
	return any
}

// weight reads a q parameter. What cannot be read is taken for a refusal.
func weight(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// types is a list of media types.
type types struct {
	exact    map[string]bool
	major    []string // "text/" of text/*
	suffixes []string // "+json" of *+json
}

func parseTypes(list string) (types, error) {
	t := types{exact: make(map[string]bool)}
	for pattern := range strings.FieldsSeq(strings.ToLower(list)) {
		major, minor, ok := strings.Cut(pattern, "/")
		switch {
		case strings.HasPrefix(pattern, "*+") && !strings.Contains(pattern[1:], "*") && len(pattern) > 2 && !ok:
			t.suffixes = append(t.suffixes, pattern[1:])
		case ok && minor == "*" && major != "" && major != "*":
			t.major = append(t.major, major+"/")
		case ok && major != "" && minor != "" && !strings.ContainsAny(pattern, "*;,"):
			t.exact[pattern] = true
		default:
			return t, fmt.Errorf("%q is not a media type", pattern)
		}
	}
	return t, nil
}

// has reports whether a Content-Type is in the list.
func (t *types) has(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case kind == "text/event-stream", strings.HasPrefix(kind, "application/grpc"):
		return false // whoever watches wants each piece at once, and small ones grow
	case t.exact[kind]:
		return true
	}
	return slices.ContainsFunc(t.major, func(major string) bool { return strings.HasPrefix(kind, major) }) ||
		slices.ContainsFunc(t.suffixes, func(suffix string) bool { return strings.HasSuffix(kind, suffix) })
}

// eligible reports whether a response may be compressed, for whoever asks.
func (c *Compressor) eligible(r *http.Request, status int, h http.Header) bool {
	if status < 200 || status == http.StatusNoContent || status == http.StatusResetContent ||
		status == http.StatusPartialContent || status == http.StatusNotModified {
		return false
	}
	for _, coding := range h["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return false
		}
	}
	for _, unfit := range [...]string{"Content-Range", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest"} {
		if len(h[unfit]) > 0 {
			return false
		}
	}
	if kind := h["Content-Type"]; len(kind) != 1 || !c.types.has(kind[0]) {
		return false
	}
	if length := h["Content-Length"]; len(length) > 0 {
		if n, err := strconv.ParseInt(length[0], 10, 64); err != nil || n < c.minSize || n == 0 {
			return false
		}
	}
	return !directive(h["Cache-Control"], "no-transform") && !directive(r.Header["Cache-Control"], "no-transform")
}

// directive reports whether a list has a member of this name.
func directive(lists []string, name string) bool {
	for _, list := range lists {
		for member := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(member), name) {
				return true
			}
		}
	}
	return false
}
