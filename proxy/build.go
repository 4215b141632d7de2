package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// Generation is everything that was built from one configuration. It never
// changes after Prepare.
type Generation struct {
	router *router
	pools  map[upstream.Options]*pool
	drain  time.Duration // for upgraded connections of pools that the next generation drops
}

// pool is a server and the upgraded connections to it. Pools live as long as
// some generation has use for them; their key is the options they were made
// from.
type pool struct {
	server  *upstream.Server
	tunnels tunnels

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
	var current map[upstream.Options]*pool
	if g := p.current.Load(); g != nil {
		current = g.pools
	}
	next := &Generation{
		router: newRouter(len(cfg.Sites)),
		pools:  make(map[upstream.Options]*pool),
		drain:  cfg.Limits.ShutdownTimeout,
	}
	var problems config.Problems
	for i := range cfg.Sites {
		problems = append(problems, p.addSite(next, current, cfg, &cfg.Sites[i])...)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return next, nil
}

// addSite builds one site and hangs it into the generation under its names.
func (p *Proxy) addSite(next *Generation, current map[upstream.Options]*pool, cfg *config.Config, entry *config.Site) config.Problems {
	var problems config.Problems
	path := fmt.Sprintf("sites[%s]", entry.Name)
	pool, err := next.pool(current, p.upstreamOptions(cfg, entry.Proxy))
	if err != nil {
		return append(problems, cfg.Problem(path+".proxy", err.Error(), ""))
	}
	s := &site{name: entry.Name, action: &forward{
		proxy:   p,
		to:      pool.server,
		tunnels: &pool.tunnels,
		at:      origin{site: entry.Name, server: entry.Proxy},
	}}
	if err := next.router.add(entry.Name, s); err != nil {
		problems = append(problems, cfg.Problem(path, err.Error(), ""))
	}
	for _, alias := range entry.Aliases {
		if err := next.router.add(alias, s); err != nil {
			problems = append(problems, cfg.Problem(path+".aliases", err.Error(), ""))
		}
	}
	return problems
}

// pool returns the pool with these options: the generation's own, the current
// one's, or a new one.
func (g *Generation) pool(current map[upstream.Options]*pool, o upstream.Options) (*pool, error) {
	if have, ok := g.pools[o]; ok {
		return have, nil
	}
	have, ok := current[o]
	if !ok {
		server, err := upstream.New(o)
		if err != nil {
			return nil, err
		}
		have = &pool{server: server}
	}
	g.pools[o] = have
	return have, nil
}

func (p *Proxy) upstreamOptions(cfg *config.Config, address string) upstream.Options {
	return upstream.Options{
		Address:               address,
		Roots:                 p.options.Roots,
		ConnectTimeout:        cfg.Limits.ConnectTimeout,
		ResponseHeaderTimeout: cfg.Limits.ResponseHeaderTimeout,
		ResponseHeaderBytes:   int64(cfg.Limits.ResponseHeaderBytes),
		IdleTimeout:           cfg.Limits.UpstreamIdleTimeout,
		IdleConnections:       cfg.Limits.UpstreamIdleConnections,
	}
}

// Commit makes g the generation that new requests are served with, and retires
// the one before: its requests finish, pools that g does not have keep no
// connection, and their upgraded connections get the shutdown timeout to end.
// It cannot fail.
func (p *Proxy) Commit(g *Generation) {
	p.commits.Lock()
	defer p.commits.Unlock()
	for _, pool := range g.pools {
		pool.revive()
		delete(p.retired, pool)
	}
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
	p.server.Reopen()
	p.tunnels.setClosed(false)
}

// retire keeps no connection from now on, and calls drained when upgraded ones
// have had their time.
func (p *pool) retire(limit time.Duration, drained func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.Close()
	p.drain = time.AfterFunc(limit, drained)
}

// close ends everything but plain requests under way.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drain != nil {
		p.drain.Stop()
	}
	p.server.Close()
	p.tunnels.setClosed(true)
}
