package proxy

import (
	"cmp"
	"slices"

	"github.com/sallyport/sallyport/proxy/upstream"
)

// UpstreamStatus is what is known of one upstream.
type UpstreamStatus struct {
	// Name is that of the configuration, or the address of a server that a site
	// names.
	Name    string
	Servers []upstream.MemberStatus

	// Holding is how many requests wait for some server to come back, Held how
	// many ever did since the upstream was made.
	Holding int
	Held    uint64
}

// Upstreams returns what is known of the upstreams that are in use, sorted by
// name.
func (p *Proxy) Upstreams() []UpstreamStatus {
	g := p.current.Load()
	if g == nil {
		return nil
	}
	list := make([]UpstreamStatus, 0, len(g.pools))
	for name, pool := range g.pools {
		holding, held := pool.Held()
		list = append(list, UpstreamStatus{name, pool.Status(), holding, held})
	}
	slices.SortFunc(list, func(a, b UpstreamStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Drain takes a server out of the choice in every upstream that has it, or back
// in, and returns in how many that was.
func (p *Proxy) Drain(server string, on bool) int {
	n := 0
	if g := p.current.Load(); g != nil {
		for _, pool := range g.pools {
			if pool.Drain(server, on) {
				n++
			}
		}
	}
	return n
}

// Purge forgets what caches keep for a host and a path, which may end in "*",
// and returns how many resources that were.
func (p *Proxy) Purge(host, path string) int {
	n := 0
	if g := p.current.Load(); g != nil {
		for _, value := range g.kept {
			if holds, ok := value.(interface{ Purge(host, path string) int }); ok {
				n += holds.Purge(host, path)
			}
		}
	}
	return n
}

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
			list = append(list, UpstreamChange{name, "removed", was.tunnels.Count()})
		default:
			list = append(list, UpstreamChange{name, "changed", was.tunnels.Count()})
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
