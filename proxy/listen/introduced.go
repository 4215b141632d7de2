package listen

import (
	"net"
	"sync"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/listen/proxyproto"
)

// lingerer is a connection that can be told to reset instead of closing in
// order: a *net.TCPConn, also one under another address.
type lingerer interface{ SetLinger(seconds int) error }

// introduced returns a listener whose connections have the address that a
// listed load balancer names. It stands below the acceptor, so that the caps,
// the table and everything above know only the client.
func (s *Server) introduced(l net.Listener, workers *sync.WaitGroup, quiet *zap.Logger) net.Listener {
	if s.options.Balancers == nil {
		return l
	}
	front := proxyproto.New(l, proxyproto.Options{Listed: s.options.Balancers, Timeout: s.options.HandshakeTimeout, Logger: quiet})
	workers.Go(front.Run)
	return front
}
