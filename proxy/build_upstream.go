package proxy

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/balance"
	"github.com/sallyport/sallyport/proxy/upstream/probe"
	"github.com/sallyport/sallyport/proxy/upstream/tlsfiles"
)

// poolProblem says where in the configuration the cause of an error stands;
// place is that of the site or route that leads to the upstream.
func poolProblem(cfg *config.Config, place, to string, err error) config.Problem {
	if file, ok := errors.AsType[*tlsfiles.Error](err); ok {
		return cfg.Problem(fmt.Sprintf("upstreams[%s].tls.%s", to, file.Part), file.Error(), file.Hint())
	}
	return cfg.Problem(place+".proxy", err.Error(), "")
}

// pool returns what a site's proxy leads to: the generation's own pool, the
// current one's, or a new one.
func (p *Proxy) pool(g *Generation, cfg *config.Config, to string) (*pool, error) {
	if have, ok := g.pools[to]; ok {
		return have, nil
	}
	entry := cfg.Upstream(to)
	var members []*upstream.Member
	for _, server := range entry.Servers {
		member, err := p.member(g, memberOptions(cfg, &entry, server, p.options.Roots))
		if err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	options := poolOptions(&entry)
	if current := p.current.Load(); current != nil {
		if have, ok := current.pools[to]; ok && have.Same(options, members) {
			g.pools[to] = have
			return have, nil
		}
	}
	made, err := upstream.NewPool(options, members)
	if err != nil {
		return nil, err
	}
	g.pools[to] = &pool{Pool: made}
	return g.pools[to], nil
}

// member is pool for one server.
func (p *Proxy) member(g *Generation, o upstream.MemberOptions) (*upstream.Member, error) {
	if have, ok := g.members[o]; ok {
		return have, nil
	}
	if current := p.current.Load(); current != nil {
		if have, ok := current.members[o]; ok {
			g.members[o] = have
			return have, nil
		}
	}
	made, err := upstream.NewMember(o, p.serverChanged)
	if err != nil {
		return nil, err
	}
	g.members[o] = made
	return made, nil
}

// memberOptions is what shapes one server of an upstream.
func memberOptions(cfg *config.Config, u *config.Upstream, server config.Server, roots *x509.CertPool) upstream.MemberOptions {
	o := upstream.MemberOptions{
		Options: upstream.Options{
			Address:               server.URL,
			Roots:                 roots,
			ConnectTimeout:        cfg.Limits.ConnectTimeout,
			ResponseHeaderTimeout: cfg.Limits.ResponseHeaderTimeout,
			ResponseHeaderBytes:   int64(cfg.Limits.ResponseHeaderBytes),
			BodyTimeout:           cfg.Limits.UpstreamBodyTimeout,
			IdleTimeout:           cfg.Limits.UpstreamIdleTimeout,
			IdleConnections:       cfg.Limits.UpstreamIdleConnections,
		},
		Upstream:       u.Name,
		Weight:         server.Weight,
		Backup:         server.Backup,
		MaxConnections: cmp.Or(server.MaxConnections, u.MaxConnections),
		QueueSize:      u.Queue.Size,
		QueueTimeout:   u.Queue.Timeout,
		MaxFails:       u.MaxFails,
		FailTimeout:    u.FailTimeout,
		SlowStart:      u.SlowStart,
	}
	if t := u.TLS; t != nil && strings.HasPrefix(server.URL, "https://") {
		o.Files = tlsfiles.Options{CA: t.CA, Certificate: t.Certificate, Key: t.Key}
		o.ServerName = t.ServerName
	}
	if h := u.Health; h != nil {
		least, most := h.StatusRange()
		o.Check = probe.Options{Path: h.Path, Host: h.Host, StatusMin: least, StatusMax: most, Body: h.Body, GRPC: h.GRPC, Timeout: h.Timeout}
		o.Interval, o.Fall, o.Rise = h.Interval, h.Fall, h.Rise
	}
	return o
}

// poolOptions is what shapes an upstream as a whole.
func poolOptions(u *config.Upstream) upstream.PoolOptions {
	o := upstream.PoolOptions{Name: u.Name, Attempts: u.Retries.Attempts, RetryOn: retryOn(u.Retries.On), Hold: u.Hold}
	if u.Sticky != nil {
		o.StickyCookie = u.Sticky.Cookie
	}
	kind, name := u.BalanceBy()
	switch kind {
	case config.BalanceIPHash:
		o.Method, o.Key = balance.Hash, upstream.KeyClient
	case config.BalanceHeader:
		o.Method, o.Key, o.KeyName = balance.Hash, upstream.KeyHeader, http.CanonicalHeaderKey(name)
	case config.BalanceCookie:
		o.Method, o.Key, o.KeyName = balance.Hash, upstream.KeyCookie, name
	default:
		o.Method = balance.Method(kind) // the other words are the same
	}
	return o
}

// retryOn turns the words of the configuration into what they stand for.
func retryOn(words []string) upstream.RetryOn {
	var on upstream.RetryOn
	for _, word := range words {
		switch word {
		case "closed":
			on |= upstream.RetryClosed
		case "timeout":
			on |= upstream.RetryTimeout
		case "502":
			on |= upstream.Retry502
		case "503":
			on |= upstream.Retry503
		case "504":
			on |= upstream.Retry504
		}
	}
	return on
}
