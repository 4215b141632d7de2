// Package tunnel carries upgraded connections, WebSockets above all, between a
// client and a server.
//
// A [Tunnel] copies bytes in both directions until both have ended, one breaks,
// nothing has moved for too long, or its [Set] is closed: on reload, when an
// upstream has gone, and at a stop. It follows the frames of a WebSocket (RFC
// 6455), without changing them, so that an end of ours is a close frame at a
// place where one may stand. Nothing that is said is kept or looked into.
//
// [FromConnect], [CheckAccept] and [Stream] make a WebSocket over HTTP/2 or
// HTTP/3 look like one over HTTP/1.1 to everything else.
//
// What is allowed to switch, and the answer that says so, is the proxy's. The
// package imports only the errors of the package failure. Its goroutine lives
// no longer than the call of Copy; the ends belong to the caller.
//
//	t, ok := set.Open(client, server, tunnel.Options{Silence: time.Hour, WebSocket: true})
//	if !ok {
//		return // the upstream is going
//	}
//	defer t.Release()
//	// ... write the 101 ...
//	t.Copy(ahead)
package tunnel
