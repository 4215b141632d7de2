// Package wire holds the rules of HTTP/1.1's grammar (RFC 9110, RFC 9112) that
// are the same on both sides of the proxy: which characters may be where, how a
// field line, a Content-Length or a chunk's size is read. The server engine
// (proxy/listen/h1) and the client engine (proxy/upstream/h1) read with it, so
// that what the one accepts the other can send.
//
// It imports no other room, keeps nothing and starts nothing. A rule that is
// broken is told by a reason, a constant that never quotes the peer.
//
//	at, bad := wire.ParseField([]byte("content-type: text/html"))
//	if bad != "" {
//		return refuse(bad)
//	}
package wire
