// Package access lets clients in, or not, by their address.
//
// It is a leaf: it imports exchange and cidr of the house. It holds no state.
//
//	gate := access.New(access.Options{Allow: []netip.Prefix{lan}})
//	handler = gate(handler)
package access
