package proxy

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/middleware/clientip"
	"github.com/sallyport/sallyport/proxy/routing"
	"github.com/sallyport/sallyport/proxy/tracing"
	"github.com/sallyport/sallyport/proxy/tunnel"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// Generation is everything that was built from one configuration. It never
// changes after Prepare.
type Generation struct {
	hosts       *routing.Hosts[*site]
	pools       map[string]*pool // by what a site's proxy says: a name or an address
	members     map[upstream.MemberOptions]*upstream.Member
	kept        kept
	trust       *clientip.Trust // whom to believe about clients
	bounds      bounds
	asksClients bool            // some site wants certificates of its clients
	reserved    []string        // fields that only we may set, see exchange.Exchange
	log         *accesslog.Log  // of requests that no site is for, nil for none
	tracer      *tracing.Tracer // nil: no request is traced
	drain       time.Duration   // for upgraded connections of pools that the next generation drops
	cfg         *config.Config  // what it was built from, for explain
	port        string          // of HTTPS as redirects say it: "", or ":" and a number
}

// pool is an upstream and the upgraded connections to it. Pools live as long
// as some generation has use for them, and so do their members: either stays
// what it is until an option that shapes it changes.
type pool struct {
	*upstream.Pool
	tunnels tunnel.Set

	mu    sync.Mutex
	drain *time.Timer // runs while the pool is retired
}

// Prepare builds the generation for a configuration that was loaded without
// problems. What it has in common with the current generation is taken over;
// nothing that runs is touched and nothing is started, so a generation that is
// never committed can just be dropped. The error lists everything that is wrong
// in the configuration's own terms.
//
// One reload at a time: Commit the generation before preparing the next.
func (p *Proxy) Prepare(cfg *config.Config) (*Generation, error) {
	next := &Generation{
		hosts:   routing.NewHosts[*site](len(cfg.Sites)),
		pools:   make(map[string]*pool),
		members: make(map[upstream.MemberOptions]*upstream.Member),
		kept:    make(kept),
		drain:   cfg.Limits.ShutdownTimeout,
		cfg:     cfg,
		bounds:  bounds{fields: cfg.Limits.RequestHeaderCount, target: int(cfg.Limits.URILength)},
	}
	next.port = redirectPort(p.options.HTTPSPort, cfg)
	next.trust = trustOf(cfg)
	next.reserved = reservedOf(cfg)
	var problems config.Problems
	next.log, problems = p.accessLog(next, cfg, cfg.Log.Access, "log.access")
	problems = append(problems, p.trace(next, cfg)...)
	for i := range cfg.Sites {
		problems = append(problems, p.addSite(next, cfg, &cfg.Sites[i])...)
	}
	if err := distinct(problems).Err(); err != nil {
		return nil, err
	}
	return next, nil
}

// redirectPort is the port that redirects from plain HTTP lead to. A free port
// of the system's choice is for those who know it.
func redirectPort(given int, cfg *config.Config) string {
	port := strconv.Itoa(given)
	if given == 0 && len(cfg.Listen.HTTPS) > 0 {
		_, port, _ = net.SplitHostPort(cfg.Listen.HTTPS[0])
	}
	switch port {
	case "", "0", "443":
		return ""
	}
	return ":" + port
}

// distinct leaves out problems that were found before: what several routes
// inherit is wrong once.
func distinct(problems config.Problems) config.Problems {
	seen := make(map[string]bool)
	return slices.DeleteFunc(problems, func(one config.Problem) bool {
		key := one.Path + "\x00" + one.Message
		before := seen[key]
		seen[key] = true
		return before
	})
}

// addSite builds one site and hangs it into the generation under its names.
func (p *Proxy) addSite(next *Generation, cfg *config.Config, entry *config.Site) config.Problems {
	path := entry.Path()
	s, problems := p.routes(next, cfg, entry)
	if err := next.hosts.Add(entry.Name, s); err != nil {
		problems = append(problems, cfg.Problem(path, err.Error(), ""))
	}
	for _, alias := range entry.Aliases {
		if err := next.hosts.Add(alias, s); err != nil {
			problems = append(problems, cfg.Problem(path+".aliases", err.Error(), ""))
		}
	}
	return problems
}

// Commit makes g the generation that new requests are served with, and retires
// the one before: its requests finish, servers that g does not have keep no
// connection and are not checked, and the upgraded connections of its other
// pools get the shutdown timeout to end. It cannot fail.
func (p *Proxy) Commit(g *Generation) {
	p.commits.Lock()
	defer p.commits.Unlock()
	for _, member := range g.members {
		member.Reopen()
	}
	for _, pool := range g.pools {
		pool.revive()
		delete(p.retired, pool)
	}
	g.kept.start()
	previous := p.current.Swap(g)
	if previous == nil {
		return
	}
	for key, pool := range previous.pools {
		if g.pools[key] != pool {
			p.retired[pool] = struct{}{}
			pool.retire(previous.drain, func() { p.forget(pool) })
		}
	}
	for key, member := range previous.members {
		if g.members[key] != member {
			member.Close()
		}
	}
	previous.kept.retire(g.kept)
}

// forget is called when a retired pool has drained.
func (p *Proxy) forget(drained *pool) {
	p.commits.Lock()
	defer p.commits.Unlock()
	if _, still := p.retired[drained]; still {
		delete(p.retired, drained)
		drained.close()
	}
}

// revive takes back a retirement, should a generation have been prepared
// before another was committed.
func (p *pool) revive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drain != nil {
		p.drain.Stop()
		p.drain = nil
	}
	p.Start()
	p.tunnels.SetClosed(false)
}

// retire ends the health checks, and calls drained when upgraded connections
// have had their time.
func (p *pool) retire(limit time.Duration, drained func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Stop()
	p.drain = time.AfterFunc(limit, drained)
}

// close ends everything but plain requests under way.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drain != nil {
		p.drain.Stop()
	}
	p.Stop()
	p.tunnels.SetClosed(true)
}
