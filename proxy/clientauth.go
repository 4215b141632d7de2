package proxy

import (
	"crypto/x509"
	"sync/atomic"

	"github.com/sallyport/sallyport/proxy/listen"
	"github.com/sallyport/sallyport/proxy/middleware/auth/certificate"
	"github.com/sallyport/sallyport/proxy/routing"
)

// clientPolicy is what handshakes for one site ask of clients. Every site has
// its own, even with the same authorities: a session that was begun on one must
// not be resumed on another.
type clientPolicy struct {
	gate    *certificate.Gate
	current atomic.Pointer[clientRule]
}

// clientRule is the policy for one state of the authorities.
type clientRule struct {
	roots *x509.CertPool
	auth  *listen.ClientAuth
}

// policyKey is what a policy is kept by.
type policyKey struct {
	site    string
	options certificate.Options
}

// rule returns the policy as it is now: the same until the authorities change.
func (p *clientPolicy) rule() *listen.ClientAuth {
	roots, last := p.gate.Roots(), p.current.Load()
	if last != nil && last.roots == roots {
		return last.auth
	}
	next := &clientRule{roots, listen.NewClientAuth(roots, p.gate.Requires())}
	if !p.current.CompareAndSwap(last, next) {
		return p.current.Load().auth // somebody was faster
	}
	return next.auth
}

// ClientAuth returns what a handshake for a server name asks of the client, nil
// for nothing. It is meant for [listen.Options].
func (p *Proxy) ClientAuth(serverName string) *listen.ClientAuth {
	g := p.current.Load()
	if g == nil || !g.asksClients {
		return nil
	}
	var buf routing.HostBuffer
	host, ok := routing.Host(&buf, serverName)
	if !ok {
		return nil // no certificate either
	}
	if s := g.hosts.Find(host); s != nil && s.clients != nil {
		return s.clients.rule()
	}
	return nil
}
