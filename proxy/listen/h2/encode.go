package h2

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// tableSize sets what the client lets the encoder's table grow to (RFC 7541
// section 4.2). With the lock held.
func (c *conn) tableSize(n uint32) {
	c.table, c.resized = min(n, headerTable), true
	if c.encoder == nil {
		c.newEncoder()
	}
	c.encoder.SetMaxDynamicTableSize(c.table)
}

// newEncoder makes the first encoder, or one in the place of the one that went
// when the connection came to rest. What the client's table still has from that
// one does no harm: fields are counted from the newest, and the oldest make room.
func (c *conn) newEncoder() {
	c.encoder = hpack.NewEncoder(&c.encoded)
	if c.table != headerTable {
		c.encoder.SetMaxDynamicTableSize(c.table)
	}
}

// encode adds a field to the section that endHeaders sends. With the lock held.
func (c *conn) encode(name, value string) {
	if c.encoder == nil {
		c.newEncoder()
	}
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: unrepeated(name)})
}

// unrepeated reports whether a response's field hardly ever has the same value
// again: in the table of HPACK it would only push others out.
func unrepeated(name string) bool {
	switch name {
	case "date", "content-length", "etag", "last-modified", "set-cookie", "location", "x-request-id", "age", "expires", "content-range":
		return true
	}
	return false
}

// encodeHeader adds a response's fields, those that HTTP/2 allows. With the lock held.
func (c *conn) encodeHeader(h http.Header, trailers []string) {
	for name, values := range h {
		if len(trailers) > 0 && slices.Contains(trailers, name) {
			continue // its value comes after the body
		}
		l, ok := c.server.names.wire(name)
		if !ok || forbidden(l) {
			continue // http.TrailerPrefix is no name either
		}
		for _, v := range values {
			if isValue(v) {
				c.encode(l, v)
			}
		}
	}
}

// endHeaders puts what was encoded into out. With the lock held.
func (c *conn) endHeaders(id uint32, end bool) {
	section := c.encoded.Bytes()
	c.resized = false
	c.take()
	kind, flags := byte(frameHeaders), byte(0)
	if end {
		flags = flagEndStream
	}
	for first := true; first || len(section) > 0; first = false {
		part := section[:min(len(section), frameSize)]
		section = section[len(part):]
		if len(section) == 0 {
			flags |= flagEndHeaders
		}
		c.out = append(appendHead(c.out, len(part), kind, flags, id), part...)
		kind, flags = frameContinuation, 0
	}
	c.encoded.Reset()
	if c.encoded.Cap() > 16<<10 {
		c.encoded = bytes.Buffer{}
	}
}

// statusText returns the value of :status.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 206:
		return "206"
	case 302:
		return "302"
	case 304:
		return "304"
	case 404:
		return "404"
	}
	return strconv.Itoa(status)
}
