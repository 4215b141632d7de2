package proxy

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// This file says in words why a route is not for a request. The functions that
// decide are those of route.go; a test holds the two together.

// unmet is the first condition that a request does not meet: the key of the
// configuration and the words. The zero value is none.
type unmet struct{ key, why string }

// unmet returns the first condition, in the order of hold, that does not hold.
func (c *conditions) unmet(x *exchange.Exchange, r *http.Request, path string) unmet {
	if len(c.paths) > 0 && !slices.ContainsFunc(c.paths, func(p pattern) bool { return p.match(path) }) {
		return unmet{"path", whyNotPath(c.paths, path)}
	}
	if len(c.methods) > 0 && !c.method(r.Method) {
		return unmet{"methods", "method " + r.Method + " is not " + strings.Join(c.methods, ", ")}
	}
	if c.networks != nil && !slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(x.Client) }) {
		texts := make([]string, 0, len(c.networks))
		for _, network := range c.networks {
			texts = append(texts, network.String())
		}
		return unmet{"client_ip", "client " + x.Client.String() + " is not in " + strings.Join(texts, ", ")}
	}
	for i := range c.headers {
		if !c.headers[i].inHeader(r) {
			return unmet{"headers[" + c.headers[i].name + "]", c.headers[i].whyNot("header", c.headers[i].values(r))}
		}
	}
	for i := range c.query {
		if !c.query[i].inQuery(r.RequestURI) {
			return unmet{"query[" + c.query[i].name + "]", c.query[i].whyNot("query parameter", parameters(r.RequestURI, c.query[i].name))}
		}
	}
	if c.regexp != nil && !c.regexp.MatchString(path) {
		return unmet{"path_regexp", "path " + path + " does not match " + strings.TrimPrefix(c.regexp.String(), "(?s)")}
	}
	return unmet{}
}

// whyNotPath names the wanted paths, and the slash that is so easily forgotten.
func whyNotPath(wanted []pattern, path string) string {
	var texts []string
	hint := ""
	for i := range wanted {
		p := &wanted[i]
		text := p.text
		if p.deep {
			text += "/"
		}
		texts = append(texts, text)
		switch {
		case !p.deep && p.segments == nil && strings.HasPrefix(path, p.text+"/"):
			hint = " (without a slash at its end " + text + " is that path alone; " + text + "/ is everything below it too)"
		case strings.EqualFold(strings.TrimSuffix(path, "/"), p.text):
			hint = " (paths are compared with their case, and with the slash at the end)"
		}
	}
	return "path " + path + " is not " + strings.Join(texts, " or ") + hint
}

// whyNot does not say what is wanted: values of fields may be secrets. The
// place of the condition is named instead.
func (m *valueMatch) whyNot(what string, values []string) string {
	switch {
	case len(values) == 0:
		return what + " " + m.name + " is missing"
	case m.regexp != nil:
		return what + " " + m.name + " does not match"
	case slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, m.text) }):
		return what + " " + m.name + " differs in case from what is wanted"
	}
	return what + " " + m.name + " has another value than is wanted"
}

func (m *valueMatch) values(r *http.Request) []string {
	if m.name == "Host" {
		return []string{r.Host}
	}
	return r.Header[m.name]
}

// parameters returns the values that a query has for a name.
func parameters(uri, wanted string) []string {
	var values []string
	_, query, _ := strings.Cut(uri, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); decoded(name) == wanted {
			values = append(values, decoded(value))
		}
	}
	return values
}

// paths returns the readings of a settled request's path: one, unless
// applications could differ.
func (s *site) paths(r *http.Request) []string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !s.byPath || target.Plain(path) || path == "*" {
		return []string{path}
	}
	if only, ok := target.Only(path); ok {
		return []string{only}
	}
	return slices.Collect(target.Readings(path, s.habits))
}

// nowhere is a writer for answers that nobody gets.
type nowhere struct {
	header http.Header
	status int
}

func newNowhere() *nowhere { return &nowhere{header: make(http.Header)} }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// refused takes what a handler refuses a request with.
type refused struct{ err error }

// Refuse implements [exchange.Refuser].
func (f *refused) Refuse(_ http.ResponseWriter, _ *http.Request, err error) { f.err = err }

// serverName is what a handshake tells of the name that the client asked for.
// Addresses are not sent (RFC 6066 section 3).
func serverName(host string) *tls.ConnectionState {
	state := &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13}
	if _, err := netip.ParseAddr(host); err != nil {
		state.ServerName = host
	}
	return state
}
