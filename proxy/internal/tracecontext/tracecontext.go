package tracecontext

import (
	"encoding/hex"
	"strings"
)

// sampled is the flag of who records the trace (section 3.2.2.5.1).
const sampled = 1

// Parent is what a traceparent says. Both ids are lower case hexadecimal and
// not all zeros.
type Parent struct {
	Trace string // 32 digits
	Span  string // 16 digits
	Flags byte
}

// Sampled reports whether who sent the request may have recorded it.
func (p Parent) Sampled() bool { return p.Flags&sampled != 0 }

// Parse reads the values of the field. What is not well-formed, or there more
// than once, is nobody's trace: ok is false. Of a version to come, the part that
// this one knows is read.
func Parse(values []string) (parent Parent, ok bool) {
	if len(values) != 1 {
		return Parent{}, false
	}
	v := values[0]
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' || v[:2] == "ff" || v[:2] == "00" && len(v) != 55 || len(v) > 55 && v[55] != '-' {
		return Parent{}, false
	}
	if !lowerHex(v[:2]) || !lowerHex(v[3:35]) || !lowerHex(v[36:52]) || !lowerHex(v[53:55]) || zeros(v[3:35]) || zeros(v[36:52]) {
		return Parent{}, false
	}
	var flags [1]byte
	_, _ = hex.Decode(flags[:], []byte(v[53:55])) // digits, as was seen
	return Parent{Trace: v[3:35], Span: v[36:52], Flags: flags[0]}, true
}

// Format writes the field of a request that is recorded, in version 00.
func Format(trace [16]byte, span [8]byte) string {
	text := make([]byte, 0, 55)
	text = append(text, "00-"...)
	text = hex.AppendEncode(text, trace[:])
	text = append(text, '-')
	text = hex.AppendEncode(text, span[:])
	return string(append(text, "-01"...))
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }
