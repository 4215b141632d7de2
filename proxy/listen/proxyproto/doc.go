// Package proxyproto reads the preamble by which a load balancer in front tells
// whose connection it passes on: the PROXY protocol, versions 1 and 2.
//
// Only peers that are listed are asked for one, and they must send it: a
// preamble from anybody else is left in the stream, where it is neither TLS nor
// HTTP, and a connection of a listed peer without one is closed. Nothing but the
// preamble is read, so that a connection is a plain *net.TCPConn under another
// address afterwards: TLS, HTTP/2, splicing and socket options work as ever.
//
// It is a leaf: it imports nothing of the house. A [Listener] owns the
// connections that it has not handed out yet; its Run owns all goroutines.
//
//	l := proxyproto.New(tcp, proxyproto.Options{Listed: balancers.Contains, Timeout: 5 * time.Second, Logger: logger})
//	go l.Run() // returns after Close
//	conn, err := l.Accept()
package proxyproto
