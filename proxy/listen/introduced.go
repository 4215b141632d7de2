package listen

import (
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/proxy/listen/proxyproto"
)

// lingerer is a connection that can be told to reset instead of closing in
// order: a *net.TCPConn, also one under another address.
type lingerer interface{ SetLinger(seconds int) error }

// introduced returns a listener whose connections have the address that a
// listed load balancer names. It stands below the acceptor, so that the caps,
// the table and everything above know only the client.
func (s *Server) introduced(l net.Listener, way wayIn) net.Listener {
	if !way.introduced {
		return l
	}
	front := proxyproto.New(l, proxyproto.Options{Listed: s.balances, Timeout: way.timeout, Logger: s.quiet})
	s.workers.Go(front.Run)
	return front
}

// balances reports whether an address is that of a load balancer now.
func (s *Server) balances(peer netip.Addr) bool {
	listed := s.stack.Load().options.Balancers
	return listed != nil && listed(peer)
}
