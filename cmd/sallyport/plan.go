package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/tables"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/tlsmgr"
)

func newPlanCommand() *cobra.Command {
	var o operator
	return o.withJSON(o.command("plan", "Show what a configuration would change",
		"Show which listeners, sites, routes, upstreams and certificates would change if the\n"+
			"running instance loaded the configuration, and how many connections would be ended\n"+
			"for it. Nothing is changed. Where no instance runs, everything is new.\n\n"+
			"Exit codes: 0 it could be loaded, 1 it could not, 3 it is wrong.",
		cobra.NoArgs, func(ctx context.Context, c *admin.Client, out io.Writer, _ []string) error {
			text, err := os.ReadFile(o.path)
			if err != nil {
				return &exitError{code: exitConfig, err: err, hint: "name another one with --config FILE"}
			}
			var p admin.Plan
			err = c.Post(ctx, "/v1/plan", url.Values{"name": {o.path}, "config": {string(text)}}, &p)
			if _, absent := errors.AsType[*admin.Error](err); absent {
				p, err = planOffline(o.path, text)
			}
			if err != nil {
				return err
			}
			if err := o.print(out, p, func(w io.Writer) { tables.Plan(w, &p) }); err != nil || p.OK {
				return err
			}
			if p.Restart != "" {
				return &exitError{err: fmt.Errorf("%s changed, which a reload cannot do", p.Restart), hint: "restart sallyport to change it"}
			}
			return &exitError{code: exitConfig, err: errors.New("the configuration has problems"), hint: "see above"}
		}))
}

// planOffline compares a configuration with nothing.
func planOffline(path string, text []byte) (admin.Plan, error) {
	roots, err := publicRoots()
	if err != nil {
		return admin.Plan{}, err
	}
	p := proxy.New(proxy.Options{Logger: zap.NewNop(), Roots: roots})
	return plannedChanges(nil, p, tlsmgr.FromOptions{Roots: roots}, path, text), nil
}

// plan compares a configuration with the one that is loaded.
func (c *control) plan(path string, text []byte) admin.Plan {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	return plannedChanges(c.edge.current(), c.edge.proxy, c.edge.fromOptions(), path, text)
}

func plannedChanges(was *config.Config, p *proxy.Proxy, from tlsmgr.FromOptions, path string, text []byte) admin.Plan {
	var plan admin.Plan
	cfg, problems := config.Parse(path, text)
	if cfg != nil && problems.Err() == nil {
		generation, err := p.Prepare(cfg) // touches nothing
		more, ok := errors.AsType[config.Problems](err)
		problems = append(problems, more...)
		if err != nil && !ok {
			problems = append(problems, cfg.Problem("", err.Error(), hintOf(err)))
		}
		if err == nil {
			plan.Changes = changes(was, cfg, p.Compare(generation), from)
		}
	}
	plan.Problems = problemsOf(problems)
	if cfg != nil {
		plan.Hash = cfg.Hash()
	}
	if was != nil {
		plan.Against = was.Hash()
		if cfg != nil && problems.Err() == nil {
			plan.Restart = needsRestart(was, cfg)
		}
	}
	plan.OK = problems.Err() == nil && plan.Restart == ""
	return plan
}

// changes lists what differs. was is nil for nothing.
func changes(was, is *config.Config, upstreams []proxy.UpstreamChange, from tlsmgr.FromOptions) []admin.Change {
	fresh := was == nil
	if fresh {
		was = &config.Config{}
	}
	list := compare("listener", listeners(was), listeners(is), nil)
	list = append(list, compare("site", sites(was), sites(is), routeChanges)...)
	for _, u := range upstreams {
		change := admin.Change{Kind: "upstream", Name: u.Name, What: u.What, Connections: u.Tunnels}
		if u.What != "added" {
			change.Detail = "requests under way finish"
		}
		list = append(list, change)
	}
	list = append(list, compare("certificate", certificates(was, from), certificates(is, from), nil)...)
	if fresh {
		return list // of settings nothing would be known but that they have defaults
	}
	return append(list, compare("setting", settingsOf(was), settingsOf(is), nil)...)
}

// named is something of a configuration by its name; it differs if its value
// does.
type named struct {
	name   string
	value  any
	detail string
}

// compare tells what is in one list and not in the other, or another there.
func compare(kind string, was, is []named, detail func(was, is any) string) []admin.Change {
	var list []admin.Change
	find := func(in []named, name string) (named, bool) {
		at, found := slices.BinarySearchFunc(in, name, func(n named, name string) int { return strings.Compare(n.name, name) })
		if !found {
			return named{}, false
		}
		return in[at], true
	}
	byName := func(a, b named) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(was, byName)
	slices.SortFunc(is, byName)
	for _, old := range was {
		if _, still := find(is, old.name); !still {
			list = append(list, admin.Change{Kind: kind, Name: old.name, What: "removed", Detail: old.detail})
		}
	}
	for _, now := range is {
		old, before := find(was, now.name)
		switch {
		case !before:
			list = append(list, admin.Change{Kind: kind, Name: now.name, What: "added", Detail: now.detail})
		case !reflect.DeepEqual(old.value, now.value):
			change := admin.Change{Kind: kind, Name: now.name, What: "changed", Detail: now.detail}
			if detail != nil {
				change.Detail = detail(old.value, now.value)
			}
			list = append(list, change)
		}
	}
	return list
}

func listeners(cfg *config.Config) []named {
	var list []named
	add := func(kind string, addresses []string) {
		for _, address := range addresses {
			list = append(list, named{kind + " " + address, nil, ""})
		}
	}
	add("http", cfg.Listen.HTTP)
	add("https", cfg.Listen.HTTPS)
	if cfg.Listen.HTTP3 {
		add("http3", cfg.Listen.HTTPS)
	}
	return list
}

func sites(cfg *config.Config) []named {
	list := make([]named, 0, len(cfg.Sites))
	for _, site := range cfg.Sites {
		routes := "1 route"
		if n := len(site.Places()); n != 1 {
			routes = fmt.Sprintf("%d routes", n)
		}
		list = append(list, named{site.Name, site, routes})
	}
	return list
}

// routeChanges says which routes of a site differ.
func routeChanges(was, is any) string {
	before, after := was.(config.Site), is.(config.Site)
	old, now := before.Places(), after.Places()
	var parts []string
	for i := range max(len(old), len(now)) {
		switch {
		case i >= len(old):
			parts = append(parts, "route added: "+now[i].Summary())
		case i >= len(now):
			parts = append(parts, "route removed: "+old[i].Summary())
		case !reflect.DeepEqual(old[i].Route, now[i].Route):
			parts = append(parts, fmt.Sprintf("route %d: %s, was %s", i+1, now[i].Summary(), old[i].Summary()))
		}
	}
	if len(parts) == 0 {
		return "settings of the site"
	}
	return strings.Join(parts, "; ")
}

// certificates are those of a configuration. Tokens that cannot be read change
// nothing about who signs what.
func certificates(cfg *config.Config, from tlsmgr.FromOptions) []named {
	if len(cfg.Sites) == 0 {
		return nil
	}
	settings, _ := tlsmgr.FromConfig(cfg, from)
	list := make([]named, 0, len(settings.Plan))
	for _, e := range settings.Plan {
		detail := string(e.Issuer)
		switch {
		case e.CoveredBy != "":
			detail = "covered by " + e.CoveredBy
		case e.Zone != "":
			detail += ", zone " + e.Zone + ", credential " + e.Credential
		}
		e.Sites = nil
		list = append(list, named{e.Name, e, detail})
	}
	return list
}

// settingsOf are the rest, by key.
func settingsOf(cfg *config.Config) []named {
	return []named{
		{"acme", cfg.ACME, ""}, {"cloudflare", cfg.Cloudflare, ""}, {"limits", cfg.Limits, ""}, {"log", cfg.Log, ""}, {"tracing", cfg.Tracing, ""},
		{"rate_limits", cfg.RateLimits, ""}, {"runtime", cfg.Runtime, ""}, {"trusted_proxies", cfg.TrustedProxies, ""},
		{"watch", cfg.Watch, ""},
	}
}
