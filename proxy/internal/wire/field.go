package wire

// Reasons for which a message is refused. They never quote it.
const (
	EmptyFieldName     = "a field without a name"
	BadFieldName       = "an invalid character in a field name"
	BadFieldValue      = "a control character in a field value"
	LineFolding        = "a field line begins with whitespace"
	BadContentLength   = "Content-Length is not a number"
	ManyContentLengths = "Content-Length more than once"
	BadChunkSize       = "a chunk's size is malformed"
	BadChunkExtension  = "a control character in a chunk extension"
)

// Span says where a field line's name and value are, counted from the
// beginning of the line.
type Span struct{ Name, NameEnd, Value, ValueEnd int }

// Moved returns the span counted from by bytes earlier.
func (s Span) Moved(by int) Span {
	return Span{s.Name + by, s.NameEnd + by, s.Value + by, s.ValueEnd + by}
}

// ParseField checks a field line without its CRLF (RFC 9112 section 5) and
// makes its name canonical in place. It returns the reason if it is refused.
func ParseField(line []byte) (at Span, bad string) {
	upper := true
	for i, b := range line {
		if IsTokenByte(b) {
			switch {
			case upper && 'a' <= b && b <= 'z':
				line[i] = b - ('a' - 'A')
			case !upper && 'A' <= b && b <= 'Z':
				line[i] = b + ('a' - 'A')
			}
			upper = b == '-'
			continue
		}
		switch {
		case i == 0 && (b == ' ' || b == '\t'):
			return at, LineFolding // or whitespace before the first field
		case i == 0 && b == ':':
			return at, EmptyFieldName
		case b != ':':
			return at, BadFieldName
		}
		at = Span{0, i, i + 1, len(line)}
		for at.Value < at.ValueEnd && (line[at.Value] == ' ' || line[at.Value] == '\t') {
			at.Value++
		}
		for at.ValueEnd > at.Value && (line[at.ValueEnd-1] == ' ' || line[at.ValueEnd-1] == '\t') {
			at.ValueEnd--
		}
		for _, b := range line[at.Value:at.ValueEnd] {
			if !IsValueByte(b) {
				return at, BadFieldValue
			}
		}
		return at, ""
	}
	return at, BadFieldName // no colon
}

// ContentLength returns the value of Content-Length, or -1 if there is none
// (RFC 9110 section 8.6), and the reason if it is refused. Even the same value
// twice is: whoever sent that does not know how its messages are framed.
func ContentLength(values []string) (int64, string) {
	switch {
	case len(values) == 0:
		return -1, ""
	case len(values) > 1:
		return -1, ManyContentLengths
	}
	n, ok := ParseLength(values[0])
	if !ok {
		return -1, BadContentLength
	}
	return n, ""
}

// ParseLength reads a length of up to 18 digits, which cannot overflow.
func ParseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// ChunkSize reads the line before a chunk's data, without its CRLF: a size of
// one to sixteen hexadecimal digits and, behind a semicolon, extensions, which
// mean nothing to anybody (RFC 9112 section 7.1). It returns the reason if the
// line is refused.
func ChunkSize(line []byte) (size int64, bad string) {
	n := 0
	for n < len(line) && line[n] != ';' {
		digit, ok := HexValue(line[n])
		if !ok || n == 16 || size >= 1<<58 {
			return 0, BadChunkSize
		}
		size = size<<4 | digit
		n++
	}
	if n == 0 {
		return 0, BadChunkSize
	}
	for _, b := range line[n:] {
		if !IsValueByte(b) {
			return 0, BadChunkExtension
		}
	}
	return size, ""
}
