package routing

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// Rule is when a route takes a request: if Match holds and Not, which may be
// nil, does not. The zero value takes every request.
type Rule struct {
	Match Conditions
	Not   *Conditions
}

// takes reports whether the rule's route takes a request.
func (u *Rule) takes(x *exchange.Exchange, r *http.Request, path string) bool {
	return u.Match.hold(x, r, path) && (u.Not == nil || !u.Not.hold(x, r, path))
}

// Routes finds the route of a site that takes a request: the first. Routes are
// known by their places in the list.
type Routes struct {
	rules  []Rule
	habits target.Habits // of the application

	byPath bool             // some route looks at the path
	all    []int            // every route
	first  map[string][]int // those that can match, by the path's first segment; nil: look at all
	others []int            // those for every other first segment
}

// The refusals of [Routes.Find].
var (
	ErrNoRoute   = &exchange.Refusal{Status: http.StatusNotFound, Label: "route_unknown", Reason: "no route of the site is for this request"}
	ErrAmbiguous = &exchange.Refusal{
		Status: http.StatusBadRequest, Label: "path_ambiguous", Reason: "applications read the path in several ways, and these belong to different routes",
		Hint: "merge_slashes, path_parameters and encoded_slashes of the site say what the application makes of //, ; and %2F",
	}
)

// manyRoutes is when looking at the first segment before anything else pays.
const manyRoutes = 8

// NewRoutes returns the routes with these rules, which it keeps. The habits say
// how the application behind reads a path; the zero value is that nobody knows.
func NewRoutes(rules []Rule, habits target.Habits) *Routes {
	s := &Routes{rules: rules, habits: habits}
	for i := range rules {
		one := &rules[i]
		s.all = append(s.all, i)
		s.byPath = s.byPath || one.Match.byPath() || one.Not != nil && one.Not.byPath()
	}
	if len(rules) > manyRoutes {
		s.index()
	}
	return s
}

// index sorts the routes by the first segment of what they match.
func (s *Routes) index() {
	s.first = make(map[string][]int)
	for i := range s.rules {
		for _, p := range s.rules[i].Match.Paths {
			if word, ok := p.first(); ok {
				s.first[word] = nil
			}
		}
	}
	for i := range s.rules {
		words, all := s.rules[i].Match.firsts()
		if all {
			s.others = append(s.others, i)
		}
		for word := range s.first {
			if all || slices.Contains(words, word) {
				s.first[word] = append(s.first[word], i)
			}
		}
	}
}

// Find returns the place of the route that takes a request whose target is
// settled; see [target.Settle]. Every way in which an application could read the
// path must lead to the same one, else it is [ErrAmbiguous]. With [ErrNoRoute]
// and with that the place is -1. The groups of the route's regular expression
// are in x.Captures afterwards. It allocates nothing for a plain path.
func (s *Routes) Find(x *exchange.Exchange, r *http.Request) (int, error) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if s.byPath && !target.Plain(path) && path != "*" {
		only, ok := target.Only(path)
		if !ok {
			return s.agree(x, r, path)
		}
		path = only
	}
	return s.taken(x, s.Choose(x, r, path), path)
}

// taken is the answer of Find once a place was chosen for a path.
func (s *Routes) taken(x *exchange.Exchange, i int, path string) (int, error) {
	if i < 0 {
		return i, ErrNoRoute
	}
	if groups := s.rules[i].Match.Regexp; groups != nil {
		x.Captures = groups.FindStringSubmatch(path)
	}
	return i, nil
}

// agree is Find for a path that can be read in several ways.
func (s *Routes) agree(x *exchange.Exchange, r *http.Request, path string) (int, error) {
	found, first := -1, ""
	for reading := range target.Readings(path, s.habits) {
		i := s.Choose(x, r, reading)
		if first != "" && i != found {
			return -1, ErrAmbiguous
		}
		if first == "" {
			found, first = i, reading
		}
	}
	return s.taken(x, found, first)
}

// Choose returns the place of the first route that takes a request if its path
// is read as the one given, in canonical form, or -1.
func (s *Routes) Choose(x *exchange.Exchange, r *http.Request, path string) int {
	places := s.all
	if s.first != nil {
		var known bool
		if places, known = s.first[firstSegment(path)]; !known {
			places = s.others
		}
	}
	for _, i := range places {
		if s.rules[i].takes(x, r, path) {
			return i
		}
	}
	return -1
}
