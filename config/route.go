package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Place is an action and where it stands.
type Place struct {
	// Path is that of the site or the route, as in Problem.
	Path string

	// Route is what the action is for. That of a site without routes has no
	// conditions.
	Route
}

// Places returns the site's actions in the order of its routes, each with the
// handling that holds for it: the route's own and, where it says nothing, the
// site's. A site without routes has one.
func (s *Site) Places() []Place {
	if len(s.Routes) == 0 {
		return []Place{{Path: s.Path(), Route: Route{Action: s.Action, Handling: s.Handling}}}
	}
	places := make([]Place, 0, len(s.Routes))
	for i, route := range s.Routes {
		route.Handling = inherit(s.Handling, route.Handling)
		places = append(places, Place{Path: fmt.Sprintf("%s.routes[%d]", s.Path(), i), Route: route})
	}
	return places
}

// inherit returns the handling of a route within a site. A key that the route
// does not set (whose value is zero) is the site's. A key whose type T has a
// method `Merged(site T) T` is what that returns where both set it.
func inherit(site, route Handling) Handling {
	out := reflect.ValueOf(&route).Elem()
	outer := reflect.ValueOf(site)
	for i := range out.NumField() {
		mine, theirs := out.Field(i), outer.Field(i)
		switch {
		case mine.IsZero():
			mine.Set(theirs)
		case theirs.IsZero():
		default:
			if merged := mine.MethodByName("Merged"); merged.IsValid() {
				mine.Set(merged.Call([]reflect.Value{theirs})[0])
			}
		}
	}
	return route
}

// Summary says in a few words what the place does: "/api/ -> api".
func (p *Place) Summary() string {
	what := "nothing"
	switch {
	case p.Proxy != "":
		what = p.Proxy
	case p.Redirect != nil:
		what = "redirect to " + p.Redirect.To
	case p.Respond != nil:
		what = fmt.Sprintf("respond %d", p.Respond.Status)
	default:
		for _, key := range actionKeys(p.Action) {
			what = key
		}
	}
	where := strings.Join(p.Conditions.Path, " ")
	if where == "" {
		where = p.PathRegexp
	}
	if where == "" {
		return what
	}
	return where + " -> " + what
}
