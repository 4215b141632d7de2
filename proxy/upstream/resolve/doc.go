// Package resolve knows the addresses behind a server's name while they
// change, and connects to the one that answers first.
//
// A [Name] keeps the last answer of the DNS for its time to live, at least one
// second and at most thirty: Docker's DNS says ten minutes for containers that
// come and go within seconds. When the answer is too old a connection that is
// to be made waits for a new one; a request that has a connection does not, the
// new answer is fetched beside it. An answer is fetched at once, whatever its
// age, when no address of it can be connected to. A failing DNS takes nothing
// away: the last good answer stays in use.
//
// Go's resolver does the asking, with resolv.conf and the hosts file, but it
// does not tell the time to live. It asks over connections that it is handed,
// and ours read along.
//
// Connecting follows RFC 8305 (Happy Eyeballs): the families take turns, and
// an address gets a quarter of a second before the next is tried beside it.
//
// A Name owns the one goroutine that asks, for as long as a lookup takes; Close
// ends it and waits. Attempts to connect end before Dial returns. The package
// imports no other room and no configuration.
//
//	name := resolve.New(resolve.Options{Host: "api.internal"})
//	defer name.Close()
//	conn, err := name.Dial(ctx, "8080")
//	...
//	if !name.Answer().Has(conn.RemoteAddr()) {
//		// the name leads elsewhere now: use this connection no more
//	}
package resolve
