// Package relay lets two processes serve QUIC on one UDP socket: one that ends,
// and the one that takes over from it. Every packet of the socket is read by only
// one of them, and which that is the kernel does not care. So the old one goes on
// reading until its last connection has ended, and passes on, by a local socket
// pair, what is not its own: new connections, and packets of those that the new
// process has accepted meanwhile. What the new one sends goes out by the UDP
// socket. When the old one is done, its end of the pair closes and the new one
// reads the UDP socket itself. There is no moment in which nobody answers, and no
// request has to end early.
//
// Whose a packet is its destination connection id tells (RFC 9000 section 5.1):
// each process gives its ids a [Tag]. The ids of two connections have nothing else
// in common, so that nobody can tell by them that they belong together.
//
// The package knows nothing of the engine but two interfaces of quic-go's that
// [Socket] and [Tag] fit into, and imports no other room.
//
//	near, far, err := relay.Pair() // far goes to the new process
//	...
//	socket.Divert(near) // from now on
//
// and there
//
//	socket := relay.New(udp, tag)
//	socket.Follow(far) // before the engine gets it
package relay
