package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// hidden warns of routes that can never match, because one before them takes
// every request that they would. It finds what one earlier route hides by
// itself, not what several hide together.
func (v *validator) hidden(site *Site) {
	for i := range site.Routes {
		path := site.routePath(i)
		if v.doubts(path) {
			continue
		}
		for j := range i {
			if !covers(&site.Routes[j], &site.Routes[i]) || v.doubts(site.routePath(j)) {
				continue
			}
			by := site.routePath(j)
			v.warn(path, fmt.Sprintf("%s can never match: %s on %s takes every request that it is for", v.name(path), v.name(by), v.place(by)),
				"the first match wins: put the narrower one first, or remove it")
			break
		}
	}
}

// covers reports whether every request that b matches is matched by a.
func covers(a, b *Route) bool {
	if a.Not != nil && !reflect.DeepEqual(a.Not, b.Not) {
		return false
	}
	return a.Conditions.cover(&b.Conditions)
}

// cover reports whether each condition of c follows from those of other.
func (c *Conditions) cover(other *Conditions) bool {
	every := func(pairs, in Pairs, fold bool) bool {
		for _, pair := range pairs {
			if !slices.ContainsFunc(in, func(p Pair) bool {
				same := p.Name == pair.Name || fold && strings.EqualFold(p.Name, pair.Name)
				return same && (p.Value == pair.Value || pair.Value == "*")
			}) {
				return false
			}
		}
		return true
	}
	switch {
	case len(c.Path) > 0 && (len(other.Path) == 0 && !slices.Contains(c.Path, "/") || !allIn(other.Path, c.Path, pathCovers)),
		c.PathRegexp != "" && c.PathRegexp != other.PathRegexp,
		len(c.Methods) > 0 && (len(other.Methods) == 0 || !allIn(other.Methods, c.Methods, methodCovers)),
		len(c.ClientIP) > 0 && (len(other.ClientIP) == 0 || !allIn(other.ClientIP, c.ClientIP, networkCovers)),
		!every(c.Headers, other.Headers, true), !every(c.Query, other.Query, false):
		return false
	}
	return true
}

// allIn reports whether each of the narrow is covered by one of the wide.
func allIn(narrow, wide []string, covers func(wide, narrow string) bool) bool {
	for _, one := range narrow {
		if !slices.ContainsFunc(wide, func(w string) bool { return covers(w, one) }) {
			return false
		}
	}
	return true
}

func methodCovers(wide, narrow string) bool {
	return wide == narrow || wide == "GET" && narrow == "HEAD"
}

func networkCovers(wide, narrow string) bool {
	outer, wrong := parseNetwork(wide)
	inner, also := parseNetwork(narrow)
	return wrong == nil && also == nil && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr()) && inner != (netip.Prefix{})
}

// pathCovers reports whether every path that one condition matches is matched
// by a wider one.
func pathCovers(wide, narrow string) bool {
	deep, below := strings.HasSuffix(wide, "/"), strings.HasSuffix(narrow, "/")
	if below && !deep {
		return false
	}
	outer := strings.Split(strings.Trim(wide, "/"), "/")
	inner := strings.Split(strings.Trim(narrow, "/"), "/")
	if strings.Trim(wide, "/") == "" {
		outer = nil
	}
	if strings.Trim(narrow, "/") == "" {
		inner = nil
	}
	if len(inner) < len(outer) || !deep && len(inner) != len(outer) {
		return false
	}
	for i, segment := range outer {
		if segment != inner[i] && segment != "*" {
			return false
		}
	}
	return true
}
