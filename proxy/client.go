package proxy

import (
	"net"
	"net/http"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// clientOf says who asks and by which scheme, before what a client must not say
// is removed from the request. The exchange holds what the connection tells.
func clientOf(_ *Generation, _ *exchange.Exchange, _ *http.Request) {}

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
