package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// site is what one entry of the configuration's sites became: its routes, in
// order. It never changes after it was built.
type site struct {
	name    string
	routes  []*route
	merge   bool           // slashes in a row are one
	habits  target.Habits  // of the application
	clients *clientPolicy  // what handshakes ask of clients, nil for nothing
	pages   exchange.Pages // for failures before a route is found, nil for the plain one

	log *accesslog.Log // of requests that no route is for, nil for none

	byPath bool                // some route looks at the path
	plain  bool                // some route is not redirected from plain HTTP
	first  map[string][]*route // the routes that can match, by the path's first segment; nil: look at all
	others []*route            // those for every other first segment
}

// route is one route of a site.
type route struct {
	name      string
	match     conditions
	not       *conditions
	overPlain int // what happens over plain HTTP: one of the following
	handler   http.Handler
	log       *accesslog.Log // nil for none
	steps     []string       // the concerns that it has, for explain: names of stages, in order
}

// What a route does with a request over plain HTTP.
const (
	plainRedirect = iota
	plainServe
	plainRefuse
)

// conditions are those of a route. The zero value holds for every request.
type conditions struct {
	paths    []pattern
	regexp   *regexp.Regexp
	methods  []string
	headers  []valueMatch // names are canonical
	query    []valueMatch
	networks []netip.Prefix
}

// Refusals of routing.
var (
	errNoRoute   = &exchange.Refusal{Status: http.StatusNotFound, Label: "route_unknown", Reason: "no route of the site is for this request"}
	errAmbiguous = &exchange.Refusal{
		Status: http.StatusBadRequest, Label: "path_ambiguous", Reason: "applications read the path in several ways, and these belong to different routes",
		Hint: "merge_slashes, path_parameters and encoded_slashes of the site say what the application makes of //, ; and %2F",
	}
	errPlainHTTP = &exchange.Refusal{Status: http.StatusForbidden, Label: "plain_http", Reason: "this is served over HTTPS only"}
)

// manyRoutes is when looking at the first segment before anything else pays.
const manyRoutes = 8

// index prepares a site whose routes are complete.
func (s *site) index() {
	for _, one := range s.routes {
		s.byPath = s.byPath || one.match.byPath() || one.not != nil && one.not.byPath()
		s.plain = s.plain || one.overPlain != plainRedirect
	}
	if len(s.routes) <= manyRoutes {
		return
	}
	s.first = make(map[string][]*route)
	for _, one := range s.routes {
		for _, p := range one.match.paths {
			if word, ok := p.first(); ok {
				s.first[word] = nil
			}
		}
	}
	for _, one := range s.routes {
		words, all := one.match.firsts()
		if all {
			s.others = append(s.others, one)
		}
		for word := range s.first {
			if all || slices.Contains(words, word) {
				s.first[word] = append(s.first[word], one)
			}
		}
	}
}

// find returns the route of a request whose target is settled. Every way in
// which an application could read the path must lead to the same one. It
// allocates nothing for a plain path.
func (s *site) find(x *exchange.Exchange, r *http.Request) (*route, error) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !s.byPath || target.Plain(path) || path == "*" {
		return s.choose(x, r, path, true)
	}
	if only, ok := target.Only(path); ok {
		return s.choose(x, r, only, true)
	}
	return s.agree(x, r, path)
}

// agree is find for a path that is not plain.
func (s *site) agree(x *exchange.Exchange, r *http.Request, path string) (*route, error) {
	var found *route
	first := true
	for reading := range target.Readings(path, s.habits) {
		one, _ := s.choose(x, r, reading, first)
		if !first && one != found {
			return nil, errAmbiguous
		}
		found, first = one, false
	}
	if found == nil {
		return nil, errNoRoute
	}
	return found, nil
}

// choose returns the first route for a path in canonical form.
func (s *site) choose(x *exchange.Exchange, r *http.Request, path string, keep bool) (*route, error) {
	routes := s.routes
	if s.first != nil {
		var known bool
		if routes, known = s.first[firstSegment(path)]; !known {
			routes = s.others
		}
	}
	for _, one := range routes {
		if !one.match.hold(x, r, path) || one.not != nil && one.not.hold(x, r, path) {
			continue
		}
		if keep && one.match.regexp != nil {
			x.Captures = one.match.regexp.FindStringSubmatch(path)
		}
		return one, nil
	}
	return nil, errNoRoute
}

// hold reports whether all conditions hold for a request with a path in
// canonical form.
func (c *conditions) hold(x *exchange.Exchange, r *http.Request, path string) bool {
	if len(c.paths) > 0 {
		found := false
		for i := range c.paths {
			if found = c.paths[i].match(path); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	if len(c.methods) > 0 && !c.method(r.Method) {
		return false
	}
	if c.networks != nil && !slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(x.Client) }) {
		return false
	}
	for i := range c.headers {
		if !c.headers[i].inHeader(r) {
			return false
		}
	}
	for i := range c.query {
		if !c.query[i].inQuery(r.RequestURI) {
			return false
		}
	}
	return c.regexp == nil || c.regexp.MatchString(path)
}

// method reports whether a method is one of those wanted. Who answers GET
// answers HEAD (RFC 9110 section 9.3.2).
func (c *conditions) method(method string) bool {
	for _, wanted := range c.methods {
		if wanted == method || wanted == http.MethodGet && method == http.MethodHead {
			return true
		}
	}
	return false
}

func (c *conditions) byPath() bool { return c.regexp != nil || len(c.paths) > 0 }

// firsts returns the first segments that paths must have, or true if there are
// paths that may have any.
func (c *conditions) firsts() (words []string, all bool) {
	for i := range c.paths {
		word, ok := c.paths[i].first()
		if !ok {
			return nil, true
		}
		words = append(words, word)
	}
	return words, len(words) == 0
}

// pattern is the path of a condition.
type pattern struct {
	text     string // without the slash at its end
	deep     bool   // everything below too
	segments []string
}

// newPattern reads a path that the configuration found to be good.
func newPattern(text string) pattern {
	p := pattern{text: text}
	if rest, ok := strings.CutSuffix(text, "/"); ok {
		p.text, p.deep = rest, true
	}
	for segment := range strings.SplitSeq(p.text, "/") {
		if segment == "*" {
			p.segments = strings.Split(p.text[1:], "/")
		}
	}
	return p
}

// match reports whether a path in canonical form is meant.
func (p *pattern) match(path string) bool {
	switch {
	case p.segments != nil:
		return p.matchSegments(path)
	case !p.deep:
		return path == p.text
	case p.text == "":
		return true // "*" included, which has no path
	}
	return strings.HasPrefix(path, p.text) && (len(path) == len(p.text) || path[len(p.text)] == '/')
}

// matchSegments is match for patterns with a *.
func (p *pattern) matchSegments(path string) bool {
	for _, wanted := range p.segments {
		if path == "" || path[0] != '/' {
			return false
		}
		segment := path[1:]
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment = segment[:i]
		}
		if segment != wanted && (wanted != "*" || segment == "") {
			return false
		}
		path = path[1+len(segment):]
	}
	return path == "" || p.deep
}

// first returns the segment with which every path of the pattern begins.
func (p *pattern) first() (string, bool) {
	word := firstSegment(p.text)
	return word, p.text != "" && word != "*"
}

// firstSegment returns what is between the first slash and the second.
func firstSegment(path string) string {
	if path == "" {
		return ""
	}
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}

// valueMatch is a condition on the value of a field or a parameter: any, one
// text, or those that a regular expression matches.
type valueMatch struct {
	name, text string
	any        bool
	regexp     *regexp.Regexp
}

func (m *valueMatch) good(value string) bool {
	switch {
	case m.any:
		return true
	case m.regexp != nil:
		return m.regexp.MatchString(value)
	}
	return value == m.text
}

func (m *valueMatch) inHeader(r *http.Request) bool {
	if m.name == "Host" {
		return m.good(r.Host)
	}
	return slices.ContainsFunc(r.Header[m.name], m.good)
}

func (m *valueMatch) inQuery(uri string) bool {
	_, query, _ := strings.Cut(uri, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if decoded(name) == m.name && m.good(decoded(value)) {
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
