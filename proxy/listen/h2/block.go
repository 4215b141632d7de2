package h2

import (
	"net/http"
	"net/url"
	"strings"

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
