package h2

import (
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// block is a field section (RFC 9113 section 4.3) while it is decoded.
type block struct {
	limits *Options
	names  *names

	fields []hpack.HeaderField // without pseudo-header fields
	size   int                 // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	count  int
	large  bool   // more than the limits allow; what comes is decoded, but not kept
	bad    string // why it is malformed
	masked bool   // a field looks like another: wrong, but well-formed

	method, scheme, path, authority, protocol, host string
	seen                                            seen
	length                                          int64 // Content-Length, -1 if there is none
	cookies                                         int
}

// seen are the pseudo-header fields that were there, empty ones too.
type seen uint8

const (
	sawMethod seen = 1 << iota
	sawScheme
	sawPath
	sawAuthority
	sawProtocol
	sawHost
)

const keptFields = 64 // capacity that a connection keeps between requests

func (b *block) begin() {
	fields := b.fields
	if cap(fields) > keptFields {
		fields = nil
	}
	clear(fields)
	*b = block{limits: b.limits, names: b.names, fields: fields[:0], length: -1}
}

// drop lets go of what begin keeps.
func (b *block) drop() { *b = block{limits: b.limits, names: b.names} }

// field takes one field from the decoder.
func (b *block) field(f hpack.HeaderField) {
	b.size += len(f.Name) + len(f.Value) + 32
	if f.Name != "cookie" || b.cookies == 0 {
		b.count++ // browsers send each cookie by itself
	}
	if b.size > b.limits.HeaderBytes || b.count > b.limits.HeaderCount {
		b.large = true
	}
	if b.large || b.bad != "" {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		b.count--
		b.bad = b.pseudo(f)
		return
	}
	b.bad = b.regular(&f)
	if b.bad == "" {
		b.fields = append(b.fields, f)
	}
}

// pseudo: RFC 9113 section 8.3.
func (b *block) pseudo(f hpack.HeaderField) string {
	if len(b.fields) > 0 || b.seen&sawHost != 0 {
		return "pseudo-header field after a regular one"
	}
	var into *string
	var bit seen
	switch f.Name {
	case ":method":
		into, bit = &b.method, sawMethod
	case ":scheme":
		into, bit = &b.scheme, sawScheme
	case ":path":
		into, bit = &b.path, sawPath
	case ":authority":
		into, bit = &b.authority, sawAuthority
	case ":protocol":
		into, bit = &b.protocol, sawProtocol
	default:
		return "pseudo-header field that does not exist"
	}
	if b.seen&bit != 0 {
		return "pseudo-header field twice"
	}
	b.seen |= bit
	*into = f.Value
	return ""
}

// regular checks a field and notes those that frame or route.
func (b *block) regular(f *hpack.HeaderField) string {
	if _, common := b.names.canonical[f.Name]; !common && !isName(f.Name) {
		return "field name that is not a token in lower case" // RFC 9113 section 8.2.1
	}
	switch {
	case !isValue(f.Value):
		return "field value with a character that does not belong there" // RFC 9113 section 8.2.1
	case forbidden(f.Name):
		return "field of a connection of HTTP/1.1" // RFC 9113 section 8.2.2
	case disguised(f.Name):
		b.masked = true
		return ""
	}
	switch f.Name {
	case "te":
		if !strings.EqualFold(f.Value, "trailers") {
			return "TE other than trailers" // RFC 9113 section 8.2.2
		}
	case "content-length":
		n, ok := contentLength(f.Value)
		if !ok || b.length >= 0 {
			return "Content-Length that is not one number" // RFC 9110 section 8.6
		}
		b.length = n
	case "host":
		if b.seen&sawHost != 0 {
			return "Host twice" // RFC 9110 section 7.2
		}
		b.seen |= sawHost
		b.host = f.Value
	case "cookie":
		b.cookies++
	}
	return ""
}

// request checks what only the whole head shows. It returns why it is
// malformed, or the status to refuse it with.
func (b *block) request(ended bool) (string, int) {
	switch {
	case b.seen&sawMethod == 0 || !isToken(b.method):
		return "no method", 0
	case ended && b.length > 0:
		return "Content-Length without content", 0
	case b.seen&sawHost != 0 && b.seen&sawAuthority != 0 && !strings.EqualFold(b.host, b.authority):
		return "Host and :authority disagree", 0 // RFC 9113 section 8.3.1
	case b.masked:
		// As over HTTP/1.1, and no PROTOCOL_ERROR: Go's client takes that for a
		// connection that has gone bad and asks again and again.
		return "", http.StatusBadRequest
	}
	if b.authority == "" {
		b.authority = b.host
	}
	if !isAuthority(b.authority) {
		return "authority with a character that does not belong there", 0 // RFC 9113 section 8.3.1
	}
	if b.method == http.MethodConnect && b.seen&sawProtocol == 0 {
		// RFC 9113 section 8.5.
		if b.seen&(sawScheme|sawPath) != 0 || b.authority == "" {
			return "CONNECT with a scheme or path, or without authority", 0
		}
		return "", 0
	}
	switch {
	case b.seen&sawProtocol != 0 && (b.method != http.MethodConnect || !isToken(b.protocol)):
		return ":protocol without CONNECT", 0 // RFC 8441 section 4
	case b.scheme != "https" && b.scheme != "http":
		return "no scheme, or one that is not served", 0
	case b.seen&sawPath == 0 || b.path == "":
		return "no path", 0
	case b.path == "*" && b.method == http.MethodOptions:
		return "", 0
	case len(b.path) > b.limits.URILength:
		return "", http.StatusRequestURITooLong
	case !isPath(b.path):
		return "", http.StatusBadRequest
	case b.authority == "":
		return "", http.StatusBadRequest // RFC 9110 section 7.2
	}
	return "", 0
}

// headers reads a field section and begins, or ends, a stream with it (RFC 9113
// section 6.2).
func (c *conn) headers(h frameHead, payload []byte) error {
	if h.stream%2 == 0 {
		return broken(codeProtocol, "HEADERS on no stream of a client")
	}
	fragment, err := unpad(h, payload)
	if err != nil {
		return err
	}
	itself := false
	if h.has(flagPriority) {
		if len(fragment) < 5 {
			return broken(codeFrameSize, "HEADERS too short for its priority")
		}
		itself = binary.BigEndian.Uint32(fragment)&mostWindow == h.stream
		fragment = fragment[5:]
	}
	c.block.begin()
	if err := c.decode(h, fragment); err != nil {
		return err
	}
	if itself {
		c.block.bad = "stream that depends on itself" // RFC 9113 section 5.3.1 of RFC 7540
	}
	c.mu.Lock()
	defer c.unlockAndFlush()
	c.calm.earn(idleEarned)
	s, open := c.streams[h.stream]
	switch {
	case open:
		return c.trailers(s, h)
	case h.stream > c.highest:
		c.highest = h.stream
		return c.open(h)
	case c.remembered(h.stream):
		return c.idle(1) // trailers on the way when we reset the stream
	}
	return broken(codeStreamClosed, "HEADERS on a closed stream")
}

// decode feeds the field section to the decoder, whatever becomes of the
// stream: its state is the connection's. CONTINUATION frames are read here, with
// a limit on their number, their sum and the time they take (CVE-2024-27316).
func (c *conn) decode(h frameHead, fragment []byte) error {
	if _, err := c.decoder.Write(fragment); err != nil {
		return broken(codeCompression, "field section that cannot be decompressed")
	}
	if !h.has(flagEndHeaders) {
		if err := c.continuations(h.stream, len(fragment)); err != nil {
			return err
		}
	}
	if err := c.decoder.Close(); err != nil {
		return broken(codeCompression, "field section that ends in the middle")
	}
	return nil
}

func (c *conn) continuations(stream uint32, sum int) error {
	o := &c.server.options
	c.limitRead(time.Now().Add(o.HeaderTimeout))
	for last := false; !last; {
		h, err := c.readHead(false)
		if err != nil {
			return err
		}
		if h.kind != frameContinuation || h.stream != stream {
			return broken(codeProtocol, "a frame that is not CONTINUATION in the middle of a field section")
		}
		if sum += h.length; sum > 2*o.HeaderBytes {
			return broken(codeCalm, "field section too large")
		}
		payload, big, err := c.payload(h.length)
		if err == nil {
			if _, wrong := c.decoder.Write(payload); wrong != nil {
				err = broken(codeCompression, "field section that cannot be decompressed")
			}
		}
		if big != nil {
			c.server.pools.frames.Put(big)
		}
		if err != nil {
			return err
		}
		last = h.has(flagEndHeaders)
		cost := 2
		if h.length < smallFrame && !last {
			cost = 20
		}
		c.mu.Lock()
		err = c.idle(cost)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	c.limitRead(time.Time{})
	return nil
}

// open begins a stream with the request in c.block. With the lock held.
func (c *conn) open(h frameHead) error {
	b := &c.block
	ended := h.has(flagEndStream)
	if c.ending || c.dead {
		c.remember(h.stream)
		return nil // GOAWAY told the client that it is not served
	}
	if b.bad == "" && !b.large {
		var status int
		if b.bad, status = b.request(ended); status != 0 {
			return c.refuse(h, status)
		}
	}
	switch {
	case b.bad != "":
		c.server.options.Logger.Debug("malformed HTTP/2 request", why(c, 0, b.bad)...)
		return c.resetFor(nil, h.stream, codeProtocol)
	case b.large:
		return c.refuse(h, http.StatusRequestHeaderFieldsTooLarge)
	case c.running >= c.server.options.Streams, c.running > 0 && c.heads+b.size > mostHeads:
		// Those count that the client has taken back and whose handlers have
		// not returned yet, so this may be the client's fault or not; it can
		// send the request again.
		c.server.options.Logger.Debug("HTTP/2 request refused", why(c, 0, "too many at once")...)
		c.server.options.Refused(TooManyStreams)
		c.out = appendReset(c.out, h.stream, codeRefused)
		c.remember(h.stream)
		return c.reset(1)
	}
	c.last = h.stream
	s := newStream(c, h.stream, b, ended)
	if c.streams == nil {
		c.streams = make(map[uint32]*stream)
	}
	s.head = b.size
	c.heads += b.size
	c.streams[h.stream] = s
	c.running++
	if c.running == 1 {
		c.take()
		c.server.options.State(c.nc, http.StateActive)
	}
	s.late = c.resets.spent() > suspicious
	c.employ(s)
	return nil
}

// refuse answers a request that no handler gets to see. With the lock held.
func (c *conn) refuse(h frameHead, status int) error {
	c.server.options.Logger.Debug("HTTP/2 request refused", why(c, status, http.StatusText(status))...)
	if status == http.StatusRequestURITooLong || status == http.StatusRequestHeaderFieldsTooLarge {
		c.server.options.Refused(TooLarge)
	} else {
		c.server.options.Refused(Malformed)
	}
	c.encode(":status", statusText(status))
	c.encode("content-length", "0")
	c.encode("date", c.server.now())
	c.endHeaders(h.stream, true)
	if !h.has(flagEndStream) {
		c.out = appendReset(c.out, h.stream, codeNone)
		c.remember(h.stream)
	}
	return c.idle(10)
}

// trailers ends a request's body (RFC 9113 section 8.1). With the lock held.
func (c *conn) trailers(s *stream, h frameHead) error {
	b := &c.block
	switch {
	case s.byClient:
		return broken(codeStreamClosed, "HEADERS on a closed stream")
	case s.reset:
		return nil // on the way when we reset it
	case s.remoteClosed:
		return c.streamError(s, h.stream, codeStreamClosed, "HEADERS after the end")
	case b.large:
		return c.streamError(s, h.stream, codeCalm, "trailers too large")
	case b.bad != "", b.seen&^sawHost != 0, !h.has(flagEndStream), s.declared >= 0 && s.declared != s.arrived:
		return c.streamError(s, h.stream, codeProtocol, "malformed trailers, or content of another length than it said")
	}
	s.remoteClosed = true
	for _, f := range b.fields {
		name := b.names.header(f.Name)
		if _, announced := s.trailer[name]; announced && trailing(f.Name) {
			if s.trailers == nil {
				s.trailers = make(http.Header, len(b.fields))
			}
			s.trailers[name] = append(s.trailers[name], f.Value)
		}
	}
	s.body.end(nil)
	return nil
}

// header makes the fields of a request. Values share one array.
func (b *block) header() http.Header {
	header := make(http.Header, len(b.fields)+1)
	values := make([]string, len(b.fields)+1)
	for i, f := range b.fields {
		if f.Name == "host" {
			continue // Request.Host
		}
		name := b.names.header(f.Name)
		if earlier, ok := header[name]; ok {
			if f.Name == "cookie" {
				continue
			}
			header[name] = append(earlier, f.Value)
			continue
		}
		values[i] = f.Value
		if f.Name == "cookie" && b.cookies > 1 {
			values[i] = b.cookie()
		}
		header[name] = values[i : i+1 : i+1]
	}
	if b.seen&sawProtocol != 0 {
		i := len(b.fields)
		values[i] = b.protocol
		header[":protocol"] = values[i:]
	}
	return header
}

// cookie joins what HTTP/2 allows to split (RFC 9113 section 8.2.3).
func (b *block) cookie() string {
	list := make([]string, 0, b.cookies)
	for _, f := range b.fields {
		if f.Name == "cookie" {
			list = append(list, f.Value)
		}
	}
	return strings.Join(list, "; ")
}

// target returns a request's URL and RequestURI, which is "" if there is none
// that can be parsed.
func (b *block) target(u *url.URL) (*url.URL, string) {
	if b.method == http.MethodConnect && b.seen&sawProtocol == 0 {
		*u = url.URL{Host: b.authority}
		return u, b.authority
	}
	if b.path == "*" {
		*u = url.URL{Path: "*"}
		return u, b.path
	}
	if plain(b.path) {
		*u = url.URL{Path: b.path}
		return u, b.path
	}
	parsed, err := url.ParseRequestURI(b.path)
	if err != nil {
		return nil, ""
	}
	return parsed, b.path
}

// plain reports whether a path means itself: parsing it would only copy it.
func plain(path string) bool {
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return !strings.HasPrefix(path, "//")
}
