package h1

import (
	"bytes"
	"net/http"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// readSection reads and checks a head, or a trailer section when there is no
// status line, up to and with its empty line. It returns its length; it begins
// at c.r and is left in the buffer, its field names made canonical in place and
// c.fields telling where they are. After an error that is only a timeout it may
// be called again.
func (c *conn) readSection(statusLine bool, limit, maxFields int, long string) (int, error) {
	c.fields = c.fields[:0]
	line, seen := 0, 0
	for {
		i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n')
		if i < 0 {
			seen = c.w - c.r
			if statusLine && line == 0 && !beginsHTTP(c.buffered()) {
				return 0, &ProtocolError{notHTTP} // at once: a line end may never come
			}
			if seen >= limit || !c.grow(max(limit, readSize)) {
				return 0, &ProtocolError{long}
			}
			if err := c.fill(); err != nil {
				return 0, err
			}
			continue
		}
		end := seen + i
		if end+1 > limit {
			return 0, &ProtocolError{long}
		}
		text := c.buf[c.r+line : c.r+end]
		if len(text) == 0 || text[len(text)-1] != '\r' {
			return 0, &ProtocolError{badLineEnd}
		}
		text = text[:len(text)-1]
		var bad string
		switch {
		case statusLine && line == 0:
			bad = checkStatusLine(text)
		case len(text) == 0:
			return end + 1, nil
		case len(c.fields) == maxFields:
			bad = tooManyFields
		default:
			var at wire.Span
			if at, bad = wire.ParseField(text); bad == "" {
				c.fields = append(c.fields, at.Moved(line))
			}
		}
		if bad != "" {
			return 0, &ProtocolError{bad}
		}
		line, seen = end+1, end+1
	}
}

// beginsHTTP reports whether bytes can be the beginning of a status line.
func beginsHTTP(b []byte) bool {
	const version = "HTTP/1."
	return string(b[:min(len(b), len(version))]) == version[:min(len(b), len(version))]
}

// checkStatusLine checks a status line (RFC 9112 section 4): version, one
// space, three digits and, optionally, a space and a reason. The space may be
// missing if there is no reason.
func checkStatusLine(line []byte) string {
	if len(line) < len("HTTP/1.x ") || !beginsHTTP(line) || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return notHTTP
	}
	code := line[9:]
	if len(code) > 3 && code[3] != ' ' || len(code) < 3 ||
		code[0] < '1' || code[0] > '9' || code[1] < '0' || code[1] > '9' || code[2] < '0' || code[2] > '9' {
		return badStatusCode
	}
	for _, b := range code[3:] {
		if !wire.IsValueByte(b) {
			return badReasonPhrase
		}
	}
	return ""
}

// header makes a map of the section that was read last. All names and values
// are pieces of text. Names are therefore not interned: being pieces they cost
// nothing, and a table would have to be searched for each.
func (c *conn) header(text string) http.Header {
	h := make(http.Header, len(c.fields))
	values := make([]string, len(c.fields))
	for i, at := range c.fields {
		name, value := text[at.Name:at.NameEnd], text[at.Value:at.ValueEnd]
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		values[i] = value
		h[name] = values[i : i+1 : i+1] // no room: appending must not reach the next
	}
	return h
}
