// Package cidr is a set of IP addresses, made of CIDR ranges, that answers
// whether it holds an address in the time of a binary search: a deny list of
// ten thousand ranges costs little more than one of ten.
//
// It is a leaf: it imports nothing of the house. A [Set] never changes, so who
// holds one may share it.
//
//	private := cidr.Of(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"))
//	if private.Contains(client) { … }
package cidr
