package routing

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Conditions are what a request has to meet, all of them. The zero value holds
// for every request, and so does each field that is empty.
type Conditions struct {
	// Paths are alternatives: one has to match.
	Paths []Pattern

	// Regexp has to match somewhere in the path, in canonical form.
	Regexp *regexp.Regexp

	// Methods are alternatives, in upper case. GET stands for HEAD too (RFC 9110
	// section 9.3.2).
	Methods []string

	// Headers have to hold all, by names in canonical form; "Host" is the
	// request's host. Of several lines one has to hold.
	Headers []Value

	// Query has to hold all, of the decoded parameters.
	Query []Value

	// Networks are alternatives for the client's address. Empty, but not nil,
	// is none.
	Networks []netip.Prefix
}

// hold reports whether all conditions hold for a request with a path in
// canonical form.
func (c *Conditions) hold(x *exchange.Exchange, r *http.Request, path string) bool {
	if len(c.Paths) > 0 && !c.path(path) {
		return false
	}
	if len(c.Methods) > 0 && !c.method(r.Method) {
		return false
	}
	if c.Networks != nil && !c.client(x.Client) {
		return false
	}
	for i := range c.Headers {
		if !c.Headers[i].inHeader(r) {
			return false
		}
	}
	for i := range c.Query {
		if !c.Query[i].inQuery(r.RequestURI) {
			return false
		}
	}
	return c.Regexp == nil || c.Regexp.MatchString(path)
}

func (c *Conditions) path(path string) bool {
	for i := range c.Paths {
		if c.Paths[i].match(path) {
			return true
		}
	}
	return false
}

func (c *Conditions) method(method string) bool {
	for _, wanted := range c.Methods {
		if wanted == method || wanted == http.MethodGet && method == http.MethodHead {
			return true
		}
	}
	return false
}

func (c *Conditions) client(client netip.Addr) bool {
	return slices.ContainsFunc(c.Networks, func(n netip.Prefix) bool { return n.Contains(client) })
}

func (c *Conditions) byPath() bool { return c.Regexp != nil || len(c.Paths) > 0 }

// firsts returns the first segments that paths must have, or true if there are
// paths that may have any.
func (c *Conditions) firsts() (words []string, all bool) {
	for i := range c.Paths {
		word, ok := c.Paths[i].first()
		if !ok {
			return nil, true
		}
		words = append(words, word)
	}
	return words, len(words) == 0
}

// Value is a condition on the value of a field or a parameter: Any one, those
// that Regexp matches or, if there is neither, Text exactly.
type Value struct {
	Name, Text string
	Any        bool
	Regexp     *regexp.Regexp
}

func (m *Value) good(value string) bool {
	switch {
	case m.Any:
		return true
	case m.Regexp != nil:
		return m.Regexp.MatchString(value)
	}
	return value == m.Text
}

func (m *Value) inHeader(r *http.Request) bool {
	if m.Name == "Host" {
		return m.good(r.Host)
	}
	return slices.ContainsFunc(r.Header[m.Name], m.good)
}

func (m *Value) inQuery(uri string) bool {
	_, query, _ := strings.Cut(uri, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if decoded(name) == m.Name && m.good(decoded(value)) {
			return true
		}
	}
	return false
}

// decoded decodes a part of a query. What cannot be decoded stays as it is.
func decoded(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
