package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/clientip"
)

// cloudflareClient is the field by which Cloudflare names a client. It is passed
// on to the server behind only from Cloudflare.
const cloudflareClient = "Cf-Connecting-Ip"

// Refusals of what a trusted proxy says.
var (
	errForwardedTwice = &exchange.Refusal{
		Status: http.StatusBadRequest, Label: "client_ambiguous", Reason: "X-Forwarded-For and Forwarded of a trusted proxy name different clients",
		Hint: "let the proxy in front remove the one of the two that it does not write itself",
	}
	errForwardedInvalid = &exchange.Refusal{
		Status: http.StatusBadRequest, Label: "client_invalid", Reason: "X-Forwarded-For or Forwarded of a trusted proxy is malformed",
	}
)

// clientOf says who asks and by which scheme, before what a client must not say
// is removed from the request. The exchange holds what the connection tells,
// and stays so if the proxy in front contradicts itself, which is an error.
func (p *Proxy) clientOf(g *Generation, x *exchange.Exchange, r *http.Request) error {
	x.Reserved = g.reserved
	if !g.trust.Trusted(x.Client) {
		if p.gateway.Saw(x.Peer) {
			p.warnOfGateway(x.Client)
		}
		return nil
	}
	claim, err := g.trust.Resolve(x.Client, x.Secure, r.Header)
	switch {
	case errors.Is(err, clientip.ErrContradiction):
		return errForwardedTwice
	case err != nil:
		return errForwardedInvalid
	}
	x.Client, x.Secure = claim.Client, claim.Secure
	if len(claim.Via) > 0 {
		x.ForwardedFor = claim.ForwardedFor()
	}
	return nil
}

// dropClaims removes, and afterwards sets again as far as it is known, what only
// the proxy says about who a client is. Everywhere, not only where it is set:
// an application does not know by which route a request came.
func dropClaims(g *Generation, x *exchange.Exchange, r *http.Request) {
	for _, name := range g.reserved {
		delete(r.Header, name)
	}
	if g.trust.FromCloudflare(x.Peer.Addr()) {
		r.Header[cloudflareClient] = []string{x.Client.String()}
	}
}

// warnOfGateway says, once, that everybody seems to be the same machine.
func (p *Proxy) warnOfGateway(gateway netip.Addr) {
	p.logger.Warn("every client seems to be the gateway of this network: allow, deny, rate limits and logs see one address for all",
		zap.Stringer("client", gateway),
		zap.String("hint", "Docker's userland proxy or a rootless network hides the clients: run the container with network_mode: host, or set \"userland-proxy\": false "+
			"in Docker's daemon.json; behind a load balancer use listen.proxy_protocol or trusted_proxies"))
}

// forwardedFor is the X-Forwarded-For of the server behind: the client and, after
// it, the trusted proxies that it came by.
func forwardedFor(x *exchange.Exchange, client string) string {
	if x.ForwardedFor != "" {
		return x.ForwardedFor
	}
	return client
}

// clientText returns the client's address as text.
func clientText(x *exchange.Exchange, r *http.Request) string {
	if x.Client == x.Peer.Addr() || !x.Client.IsValid() {
		return peerText(r) // nearly always, and it is written already
	}
	return x.Client.String()
}

// peerText returns the peer's address without port.
func peerText(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// balancingAddress is what balancing by the client's address goes by.
func balancingAddress(x *exchange.Exchange, r *http.Request) string {
	if x.Client == x.Peer.Addr() || !x.Client.IsValid() {
		return r.RemoteAddr
	}
	return x.Client.String()
}
