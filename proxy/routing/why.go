package routing

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// This file says in words why a route is not for a request, for `sallyport
// explain`. A test holds it and the functions that decide together.

// Unmet is the first condition that a request does not meet: the key of the
// configuration and the words. The zero value is none.
type Unmet struct{ Key, Why string }

// Why returns the first condition, in the order in which they are looked at,
// that keeps a request from a route. The zero value says that it would be taken.
// The words do not tell what value a field should have: it may be a secret.
func (s *Routes) Why(route int, x *exchange.Exchange, r *http.Request, path string) Unmet {
	one := &s.rules[route]
	failed := one.Match.unmet(x, r, path)
	if failed == (Unmet{}) && one.Not != nil && one.Not.hold(x, r, path) {
		return Unmet{"not", "all of `not` holds"}
	}
	return failed
}

// Takes reports whether a route would take a request if those before it did not.
func (s *Routes) Takes(route int, x *exchange.Exchange, r *http.Request, path string) bool {
	return s.rules[route].takes(x, r, path)
}

// Narrower reports whether a route has a longer path than another, or other
// conditions where that has none.
func (s *Routes) Narrower(route, other int) bool {
	longest := func(c *Conditions) int {
		n := 0
		for i := range c.Paths {
			n = max(n, len(c.Paths[i].text))
		}
		return n
	}
	extra := func(c *Conditions) int { return len(c.Methods) + len(c.Headers) + len(c.Query) + len(c.Networks) }
	a, b := &s.rules[route].Match, &s.rules[other].Match
	return longest(a) > longest(b) || extra(a) > 0 && extra(b) == 0
}

// Paths returns the readings of a settled request's path: one, unless
// applications could differ.
func (s *Routes) Paths(r *http.Request) []string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !s.byPath || target.Plain(path) || path == "*" {
		return []string{path}
	}
	if only, ok := target.Only(path); ok {
		return []string{only}
	}
	return slices.Collect(target.Readings(path, s.habits))
}

// unmet returns the first condition, in the order of hold, that does not hold.
func (c *Conditions) unmet(x *exchange.Exchange, r *http.Request, path string) Unmet {
	if len(c.Paths) > 0 && !c.path(path) {
		return Unmet{"path", whyNotPath(c.Paths, path)}
	}
	if len(c.Methods) > 0 && !c.method(r.Method) {
		return Unmet{"methods", "method " + r.Method + " is not " + strings.Join(c.Methods, ", ")}
	}
	if c.Networks != nil && !c.client(x.Client) {
		texts := make([]string, 0, len(c.Networks))
		for _, network := range c.Networks {
			texts = append(texts, network.String())
		}
		return Unmet{"client_ip", "client " + x.Client.String() + " is not in " + strings.Join(texts, ", ")}
	}
	for i := range c.Headers {
		if m := &c.Headers[i]; !m.inHeader(r) {
			return Unmet{"headers[" + m.Name + "]", m.whyNot("header", m.values(r))}
		}
	}
	for i := range c.Query {
		if m := &c.Query[i]; !m.inQuery(r.RequestURI) {
			return Unmet{"query[" + m.Name + "]", m.whyNot("query parameter", parameters(r.RequestURI, m.Name))}
		}
	}
	if c.Regexp != nil && !c.Regexp.MatchString(path) {
		return Unmet{"path_regexp", "path " + path + " does not match " + strings.TrimPrefix(c.Regexp.String(), "(?s)")}
	}
	return Unmet{}
}

// whyNotPath names the wanted paths, and the slash that is so easily forgotten.
func whyNotPath(wanted []Pattern, path string) string {
	var texts []string
	hint := ""
	for i := range wanted {
		p := &wanted[i]
		text := p.String()
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

// whyNot does not say what is wanted: the place of the condition is named
// instead.
func (m *Value) whyNot(what string, values []string) string {
	switch {
	case len(values) == 0:
		return what + " " + m.Name + " is missing"
	case m.Regexp != nil:
		return what + " " + m.Name + " does not match"
	case slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, m.Text) }):
		return what + " " + m.Name + " differs in case from what is wanted"
	}
	return what + " " + m.Name + " has another value than is wanted"
}

func (m *Value) values(r *http.Request) []string {
	if m.Name == "Host" {
		return []string{r.Host}
	}
	return r.Header[m.Name]
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
