package config

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// shortKeys are the mappings of a route's handling that may be one word, and
// the key that it stands for.
var shortKeys = map[reflect.Type]string{
	reflect.TypeFor[SecurityHeaders](): "enabled",
	reflect.TypeFor[CORS]():            "enabled",
	reflect.TypeFor[Compress]():        "enabled",
	reflect.TypeFor[BufferRequest]():   "enabled",
	reflect.TypeFor[Concurrency]():     "limit",
	reflect.TypeFor[Mirror]():          "to",
	reflect.TypeFor[RateLimit]():       "use",
}

// The lists of which one item may stand without brackets.
var (
	rateLimitsType  = reflect.TypeFor[RateLimits]()
	cookieRulesType = reflect.TypeFor[CookieRules]()
	namedLimitsType = reflect.TypeFor[[]RateLimit]()
)

// handlingForm decodes the values of a route's handling that have a short form,
// or turns v and s to where it goes. It reports whether nothing is left to do.
func (d *decoder) handlingForm(n ast.Node, v *reflect.Value, s *slot) (done bool) {
	switch v.Type() {
	case rateLimitsType, cookieRulesType:
		if _, list := n.(*ast.SequenceNode); list {
			return false
		}
		one := reflect.MakeSlice(v.Type(), 1, 1)
		d.value(n, one.Index(0), *s)
		v.Set(one)
		return true
	case namedLimitsType:
		d.rateLimits(n, *v, *s)
		return true
	}
	if key, ok := shortKeys[v.Type()]; ok {
		*v, *s = d.short(n, *v, *s, key)
	}
	return false
}

// rateLimits decodes the mapping of names to rate limits, in the order of the
// file.
func (d *decoder) rateLimits(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		d.wrong(n, s, "wants names and limits", "write NAME: {rate: 10/s}")
		return
	}
	first := make(map[string]span)
	var limits []RateLimit
	for _, entry := range list {
		name, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		shown := name
		if !printable(name) || d.src.hides(at) {
			shown = "…"
		}
		path := s.path + "[" + shown + "]"
		if before, twice := first[name]; twice {
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; keep one", before.line))
			continue
		}
		first[name] = at
		var one RateLimit
		d.src.mark(path, at)
		d.src.written[s.path+"["+name+"]"] = path
		if _, mapping := entries(entry.Value); !mapping {
			d.fail(at, path, path+" wants keys and values", "write "+shown+": {rate: 10/s}")
			continue
		}
		d.value(entry.Value, reflect.ValueOf(&one).Elem(), slot{path: path, at: at})
		one.Name = name
		if upstreamName(name) != nil {
			wrong := &fault{"is not a name for a limit", "letters, digits, dots, - and _"}
			d.fail(at, path, path+" "+wrong.message, d.hintFor(shown, name, wrong))
			continue
		}
		limits = append(limits, one)
	}
	v.Set(reflect.ValueOf(limits))
}
