package placeholder

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"html"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// kind is what a part of a template is.
type kind uint8

const (
	kindLiteral kind = iota
	kindHost
	kindURI
	kindPath
	kindRawQuery
	kindMethod
	kindScheme
	kindClientIP
	kindPeerIP
	kindRequestID
	kindSite
	kindUser
	kindStatus
	kindHeader
	kindCookie
	kindQuery
	kindCapture
	kindTLSVersion
	kindTLSSubject
	kindTLSFingerprint
	kinds
)

// kindInfo is how a placeholder is written.
type kindInfo struct {
	word  string
	named bool // a dot and a name follow
}

func (i kindInfo) shown() string {
	switch {
	case i.word == "capture":
		return "{capture.N}"
	case i.named:
		return "{" + i.word + ".NAME}"
	}
	return "{" + i.word + "}"
}

func (k kind) info() kindInfo {
	return [...]kindInfo{
		kindHost: {word: "host"}, kindURI: {word: "uri"}, kindPath: {word: "path"}, kindRawQuery: {word: "query"},
		kindMethod: {word: "method"}, kindScheme: {word: "scheme"}, kindClientIP: {word: "client_ip"}, kindPeerIP: {word: "peer_ip"},
		kindRequestID: {word: "request_id"}, kindSite: {word: "site"}, kindUser: {word: "user"}, kindStatus: {word: "status"},
		kindHeader: {"header", true}, kindCookie: {"cookie", true}, kindQuery: {"query", true}, kindCapture: {"capture", true},
		kindTLSVersion: {word: "tls.version"}, kindTLSSubject: {word: "tls.subject"}, kindTLSFingerprint: {word: "tls.fingerprint"},
	}[k]
}

// Expand returns the text for a request. What the request says is put in as it
// is, without control characters. A constant costs nothing.
func (t *Template) Expand(r *http.Request) string { return t.expand(r, asText) }

// ExpandTarget is Expand for a text that is a path or an address: what is not
// in its encoded form already gets encoded, the slashes of a capture excepted.
func (t *Template) ExpandTarget(r *http.Request) string { return t.expand(r, asTarget) }

// ExpandHTML is Expand for a page: what the request says is escaped.
func (t *Template) ExpandHTML(r *http.Request) string { return t.expand(r, asHTML) }

// encoding is what is done to values before they are put in.
type encoding uint8

const (
	asText encoding = iota
	asTarget
	asHTML
)

func (t *Template) expand(r *http.Request, as encoding) string {
	if t.parts == nil {
		return t.text
	}
	x := exchange.Of(r)
	if len(t.parts) == 1 {
		return t.parts[0].value(r, x, as)
	}
	var room [128]byte
	out := room[:0]
	for i := range t.parts {
		if t.parts[i].kind == kindLiteral {
			out = append(out, t.parts[i].literal...)
		} else {
			out = append(out, t.parts[i].value(r, x, as)...)
		}
	}
	return string(out)
}

// value returns what a placeholder stands for.
func (p *part) value(r *http.Request, x *exchange.Exchange, as encoding) string {
	text := p.raw(r, x)
	if !clean(text) {
		text = string(slices.DeleteFunc([]byte(text), func(c byte) bool { return c < ' ' || c == 0x7f }))
	}
	switch as {
	case asText:
		return text
	case asHTML:
		return html.EscapeString(text)
	}
	switch p.kind {
	case kindURI, kindPath, kindRawQuery, kindHost, kindScheme:
		return text // encoded already
	case kindCapture:
		return target.Encode(text)
	}
	return url.PathEscape(text)
}

func clean(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return false
		}
	}
	return true
}

func (p *part) raw(r *http.Request, x *exchange.Exchange) string {
	switch p.kind {
	case kindHost:
		return host(r)
	case kindURI:
		return uri(r)
	case kindPath:
		path, _, _ := strings.Cut(uri(r), "?")
		return path
	case kindRawQuery:
		_, query, _ := strings.Cut(uri(r), "?")
		return query
	case kindMethod:
		return r.Method
	case kindScheme:
		return x.Scheme()
	case kindClientIP:
		return address(x.Client.IsValid(), x.Client.String)
	case kindPeerIP:
		peer := x.Peer.Addr().Unmap().WithZone("")
		return address(peer.IsValid(), peer.String)
	case kindRequestID:
		return x.ID
	case kindSite:
		return x.Site
	case kindUser:
		return x.User
	case kindStatus:
		return strconv.Itoa(x.Status)
	case kindHeader:
		return header(r, p.name)
	case kindCookie:
		return cookie(r.Header, p.name)
	case kindQuery:
		return parameter(uri(r), p.name)
	case kindCapture:
		if p.number < len(x.Captures) {
			return x.Captures[p.number]
		}
		return ""
	}
	return p.ofTLS(r.TLS)
}

// ofTLS returns what is known of the connection. Only a certificate that was
// verified says who the client is.
func (p *part) ofTLS(state *tls.ConnectionState) string {
	switch {
	case state == nil:
		return ""
	case p.kind == kindTLSVersion:
		return tls.VersionName(state.Version)
	case len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0:
		return ""
	case p.kind == kindTLSSubject:
		return state.PeerCertificates[0].Subject.String()
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

func address(valid bool, text func() string) string {
	if !valid {
		return ""
	}
	return text()
}

// host returns the request's host without port, in lower case.
func host(r *http.Request) string {
	name := r.Host
	if bare, _, err := net.SplitHostPort(name); err == nil {
		name = bare
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// uri returns the target of a request. That of OPTIONS * has no path.
func uri(r *http.Request) string {
	if r.RequestURI == "" || r.RequestURI == "*" {
		return "/"
	}
	return r.RequestURI
}

func header(r *http.Request, name string) string {
	if name == "Host" {
		return r.Host
	}
	if values := r.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// cookie returns the value of the first cookie of a name.
func cookie(h http.Header, name string) string {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(strings.TrimLeft(pair, " \t"), "="); ok && key == name {
				return strings.Trim(value, `" `)
			}
		}
	}
	return ""
}

// parameter returns the first value of a parameter of a request's target.
func parameter(uri, name string) string {
	_, query, _ := strings.Cut(uri, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(key, "%+") {
			key, _ = url.QueryUnescape(key)
		}
		if key != name {
			continue
		}
		if strings.ContainsAny(value, "%+") {
			value, _ = url.QueryUnescape(value)
		}
		return value
	}
	return ""
}
