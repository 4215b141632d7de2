package config

import (
	"fmt"
	"reflect"
	"strconv"
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
	for i := range s.Routes {
		places = append(places, Place{Path: s.routePath(i), Route: s.Routes[i]})
		place := &places[i]
		inherit(&s.Handling, &place.Handling)
	}
	return places
}

// routePath is the path of a route, as in Problem.
func (s *Site) routePath(i int) string {
	return s.Path() + ".routes[" + strconv.Itoa(i) + "]"
}

// says reports whether any key is set.
func (h *Handling) says() bool { return !reflect.ValueOf(h).Elem().IsZero() }

// inherit completes the handling of a route within a site. A key that the route
// does not set (whose value is zero) is the site's. A key whose type T has a
// method `Merged(site T) T` is what that returns where both set it.
func inherit(site, route *Handling) {
	if !site.says() {
		return
	}
	out, outer := reflect.ValueOf(route).Elem(), reflect.ValueOf(site).Elem()
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
