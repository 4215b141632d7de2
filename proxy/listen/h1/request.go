package h1

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// inlineValues is how many field values are kept in the exchange itself, which
// with as many takes up just a KiB of memory (a size class of the runtime's).
const inlineValues = 12

// exchange is one request and its response. It is made for each, in one piece,
// since handlers may keep what they got of it; so it is never used again.
type exchange struct {
	conn    *conn
	request http.Request
	context requestContext
	url     url.URL
	body    body
	response
	values [inlineValues]string

	control sync.Mutex
	over    bool // the connection is not the request's any more
}

// readRequest reads a head and makes a request of it. Errors are
// [*ProtocolError], or why the connection could not be read.
func (c *conn) readRequest() (*exchange, error) {
	c.fields = c.fields[:0]
	line, err := c.readRequestLine()
	if err != nil {
		return nil, err
	}
	n, err := c.readFields(line.end, c.server.options.HeaderBytes, errHeadLong)
	if err != nil {
		return nil, err
	}
	text := string(c.buf[c.r : c.r+n])
	c.r += n
	x := &exchange{conn: c}
	x.context.conn = c
	x.response.exchange = x
	x.body.x = x
	x.request = *new(http.Request).WithContext(&x.context) // the only way to give it a context
	if err := x.fillIn(text, line); err != nil {
		return nil, err
	}
	return x, nil
}

// requestLine says where the parts of a request line are.
type requestLine struct{ method, target, end int } // ends of the parts, and of the line with its CRLF

const versionLength = len("HTTP/1.1")

// readRequestLine reads and checks the request line (RFC 9112 section 3): a
// method, a target and a version with one space between, and nothing before it.
// Empty lines before it, which a server may forgive (section 2.2), are not: no
// client of this century sends them.
func (c *conn) readRequestLine() (at requestLine, err error) {
	o := &c.server.options
	seen := 0
	for {
		if c.w > c.r && !wire.IsTokenByte(c.buf[c.r]) {
			return at, errRequestLine // at once: a line end may never come
		}
		if i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n'); i >= 0 {
			at.end = seen + i + 1
			break
		}
		if seen = c.w - c.r; seen >= o.HeaderBytes {
			return at, errTargetLong
		}
		if seen > o.TargetBytes {
			if blank := bytes.IndexByte(c.buffered(), ' '); blank >= 0 && seen-blank > o.TargetBytes+len("  HTTP/1.1\r") {
				return at, errTargetLong
			}
		}
		if !c.grow(max(o.HeaderBytes, readSize)) {
			return at, errTargetLong
		}
		if err := c.fill(); err != nil {
			return at, err
		}
	}
	return at, at.check(c.buf[c.r:c.r+at.end], o)
}

// check finds the parts of a line that ends in LF.
func (at *requestLine) check(line []byte, o *Options) error {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return errLineEnd
	}
	line = line[:len(line)-2]
	at.method = bytes.IndexByte(line, ' ')
	at.target = bytes.LastIndexByte(line, ' ')
	if at.method <= 0 || at.target <= at.method+1 {
		return errRequestLine
	}
	for _, b := range line[:at.method] {
		if !wire.IsTokenByte(b) {
			return errMethod
		}
	}
	target, version := line[at.method+1:at.target], line[at.target+1:]
	if len(target) > o.TargetBytes {
		return errTargetLong
	}
	for _, b := range target {
		if b <= ' ' || b == 0x7f || b == '#' {
			return errTarget
		}
	}
	return checkVersion(version)
}

// checkVersion: RFC 9112 section 2.3. The name is case-sensitive.
func checkVersion(version []byte) error {
	const name = "HTTP/"
	if len(version) != versionLength || string(version[:len(name)]) != name ||
		version[5] < '0' || version[5] > '9' || version[6] != '.' || version[7] < '0' || version[7] > '9' {
		return errRequestLine
	}
	if version[5] != '1' || version[7] > '1' {
		return errVersion
	}
	return nil
}

// readFields reads and checks field lines that begin at c.r+from, up to and
// with the empty line behind them (RFC 9112 section 5), and returns where that
// ends, counted from c.r. The section is left in the buffer, its names made
// canonical in place and c.fields telling where they are. After an error that
// is only a deadline it may be called again.
func (c *conn) readFields(from, limit int, long error) (int, error) {
	c.fields = c.fields[:0]
	line, seen := from, from
	for {
		i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n')
		if i < 0 {
			seen = c.w - c.r
			if seen >= limit || !c.grow(max(limit, readSize)) {
				return 0, long
			}
			if err := c.fill(); err != nil {
				return 0, err
			}
			continue
		}
		end := seen + i
		if end+1 > limit {
			return 0, long
		}
		text := c.buf[c.r+line : c.r+end]
		if len(text) == 0 || text[len(text)-1] != '\r' {
			return 0, errLineEnd
		}
		text = text[:len(text)-1]
		if len(text) == 0 {
			return end + 1, nil
		}
		if len(c.fields) == c.server.options.HeaderCount {
			return 0, errFields
		}
		at, bad := wire.ParseField(text)
		if bad != "" {
			return 0, malformed(bad)
		}
		c.fields = append(c.fields, at.Moved(line))
		line, seen = end+1, end+1
	}
}

// fillIn makes the request from its head. All its strings are pieces of text:
// names are therefore not interned, since being pieces they cost nothing, and a
// table would have to be searched for each.
func (x *exchange) fillIn(text string, line requestLine) error {
	r, c := &x.request, x.conn
	r.Method, r.RequestURI, r.Proto = text[:line.method], text[line.method+1:line.target], text[line.target+1:line.end-2]
	r.ProtoMajor, r.ProtoMinor = 1, int(r.Proto[versionLength-1]-'0')
	r.RemoteAddr, r.TLS, r.URL, r.Body = c.remote, c.tls, &x.url, http.NoBody
	hosts, err := x.header(text)
	if err != nil {
		return err
	}
	if err := x.target(); err != nil {
		return err
	}
	if err := x.host(hosts); err != nil {
		return err
	}
	connection := r.Header["Connection"]
	if r.ProtoMinor == 0 {
		r.Close = !wire.HasOption(connection, "keep-alive") || wire.HasOption(connection, "close")
	} else {
		r.Close = len(connection) > 0 && wire.HasOption(connection, "close")
	}
	return x.frame()
}

// header makes the map of fields, without Host, and returns how many of these
// there are.
func (x *exchange) header(text string) (hosts int, err error) {
	fields := x.conn.fields
	h := make(http.Header, len(fields))
	values := x.values[:]
	if len(fields) > len(values) {
		values = make([]string, len(fields))
	}
	for i, at := range fields {
		name, value := text[at.Name:at.NameEnd], text[at.Value:at.ValueEnd]
		if name == "Host" {
			x.request.Host = value
			hosts++
			continue
		}
		if strings.IndexByte(name, '_') >= 0 && wire.Lookalike(name) {
			return 0, errLookalike
		}
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		values[i] = value
		h[name] = values[i : i+1 : i+1] // no room: appending must not reach the next
	}
	x.request.Header = h
	return hosts, nil
}

// host checks the Host field (RFC 9112 section 3.2): exactly one, in HTTP/1.0
// at most one, and the same as in the target if that has one.
func (x *exchange) host(fields int) error {
	r := &x.request
	switch {
	case fields > 1:
		return errHosts
	case fields == 0 && r.ProtoMinor > 0:
		return errHostMissing
	case !wire.IsHost(r.Host):
		return errHost
	case x.url.Host == "":
	case fields > 0 && !x.agrees(r.Host):
		return errHostDisagrees
	default:
		r.Host = x.url.Host
	}
	return nil
}

// agrees reports whether a Host is the target's, whose default port it may
// leave out.
func (x *exchange) agrees(host string) bool {
	port := ":80"
	switch {
	case x.request.Method == http.MethodConnect:
		port = x.url.Host[strings.LastIndexByte(x.url.Host, ':'):]
	case x.url.Scheme == "https":
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(x.url.Host, port))
}

// frame decides how long the body is (RFC 9112 section 6.3). What is not
// entirely clear is refused: see each case.
func (x *exchange) frame() error {
	r := &x.request
	length, bad := wire.ContentLength(r.Header["Content-Length"])
	if bad != "" {
		return malformed(bad)
	}
	codings, coded := r.Header["Transfer-Encoding"]
	switch {
	case coded && r.ProtoMinor == 0:
		return errCodingOld // RFC 9112 section 6.1
	case coded && length >= 0:
		return errBothFramings // a smuggler's, says section 6.1
	case coded && (len(codings) != 1 || !strings.EqualFold(codings[0], "chunked")):
		// The name has no case (section 7). What goes on from here is framed
		// anew, so nobody behind reads what was written.
		return codingError(codings)
	case coded:
		x.body.kind, r.ContentLength = byChunks, -1
		r.TransferEncoding = []string{"chunked"}
		delete(r.Header, "Transfer-Encoding")
		if err := x.announced(); err != nil {
			return err
		}
	case length > 0:
		x.body.kind, r.ContentLength, x.body.left = byLength, length, length
		delete(r.Header, "Trailer")
	default:
		delete(r.Header, "Trailer")
	}
	if x.body.kind != noBody {
		r.Body = &x.body
	}
	return x.expectation()
}

// codingError is 501 for a coding that exists (RFC 9112 section 6.1).
func codingError(codings []string) error {
	if len(codings) != 1 {
		return errCoding
	}
	before, ok := strings.CutSuffix(strings.ToLower(codings[0]), ", chunked")
	if !ok {
		return errCoding
	}
	switch before {
	case "gzip", "x-gzip", "deflate", "compress", "x-compress":
		return errCodingUnknown
	}
	return errCoding
}

// announced fills in the names of the Trailer field (RFC 9110 section 6.6.2),
// which goes from the header, as in net/http.
func (x *exchange) announced() error {
	lists, ok := x.request.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(x.request.Header, "Trailer")
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(wire.TrimSpace(name))
			switch {
			case framesMessages(name):
				return errTrailerName
			case !wire.IsToken(name) || unsafeTrailer(name):
				continue
			case x.request.Trailer == nil:
				x.request.Trailer = make(http.Header)
			}
			x.request.Trailer[name] = nil
		}
	}
	return nil
}

// expectation reads the Expect field (RFC 9110 section 10.1.1). HTTP/1.0 has no
// 100 Continue to wait for.
func (x *exchange) expectation() error {
	expect, ok := x.request.Header["Expect"]
	if !ok {
		return nil
	}
	if len(expect) != 1 || !strings.EqualFold(expect[0], "100-continue") {
		return errExpectation
	}
	x.response.awaited = x.body.kind != noBody && x.request.ProtoMinor > 0
	return nil
}
