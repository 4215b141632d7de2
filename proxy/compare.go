package proxy

import (
	"cmp"
	"slices"
)

// UpstreamChange is what committing a generation would do to an upstream.
type UpstreamChange struct {
	Name string
	What string // added, removed or changed

	// Tunnels are the upgraded connections that would get the shutdown timeout
	// to end.
	Tunnels int
}

// Compare says what committing g would do to the upstreams, sorted by name.
func (p *Proxy) Compare(g *Generation) []UpstreamChange {
	var list []UpstreamChange
	current := p.current.Load()
	if current == nil {
		current = &Generation{}
	}
	for name, was := range current.pools {
		switch is := g.pools[name]; is {
		case was:
		case nil:
			list = append(list, UpstreamChange{name, "removed", was.tunnels.count()})
		default:
			list = append(list, UpstreamChange{name, "changed", was.tunnels.count()})
		}
	}
	for name := range g.pools {
		if current.pools[name] == nil {
			list = append(list, UpstreamChange{Name: name, What: "added"})
		}
	}
	slices.SortFunc(list, func(a, b UpstreamChange) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
