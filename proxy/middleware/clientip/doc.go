// Package clientip finds out who asks when the other end of a connection is a
// proxy that is trusted to say so, and knows which proxies those are.
//
// A chain of addresses (X-Forwarded-For, Forwarded) is read from the right: the
// right end was written by the peer, what stands left of it by whoever the peer
// spoke to, and so on. The first address that is not itself a trusted proxy's
// is the client's, and everything left of it could have been made up, so it is
// neither looked at nor passed on.
//
// It is a leaf: it imports only cidr, next to it. A [Trust] never changes;
// a [Watch] is made once for the process and is safe for use by many.
//
//	trust := clientip.New(clientip.Options{Proxies: []netip.Prefix{lan}})
//	claim, err := trust.Resolve(peer, secure, r.Header)
package clientip
