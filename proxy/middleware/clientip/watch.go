package clientip

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Watch notices when every client seems to be one and the same machine, namely
// the gateway: what it looks like when a NAT hides the clients (Docker's
// userland proxy, rootless containers, a router's hairpin), and address rules,
// rate limits and logs are about that one address. It stops looking as soon as
// it has seen another client.
type Watch struct {
	gateway netip.Addr
	settled atomic.Bool

	mu    sync.Mutex
	ports map[uint16]struct{}
}

// watchConnections is how many connections, all from the gateway, make it
// suspicious.
const watchConnections = 20

// NewWatch returns a Watch for the machine's default gateway. A gateway that is
// not valid or not a private address makes one that never notices anything.
func NewWatch(gateway netip.Addr) *Watch {
	w := &Watch{gateway: gateway.Unmap(), ports: make(map[uint16]struct{})}
	w.settled.Store(!gateway.IsPrivate() && !gateway.IsLinkLocalUnicast())
	return w
}

// Saw is told each request's peer, if that is also the client, and reports true
// once, when it is time to warn.
func (w *Watch) Saw(peer netip.AddrPort) bool {
	if w.settled.Load() {
		return false
	}
	if peer.Addr().Unmap() != w.gateway {
		if !peer.Addr().IsLoopback() { // health checks of the machine itself
			w.settled.Store(true)
		}
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[peer.Port()] = struct{}{}
	return len(w.ports) >= watchConnections && w.settled.CompareAndSwap(false, true)
}
