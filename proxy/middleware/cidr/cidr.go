package cidr

import (
	"net/netip"
	"slices"
)

// Set is a set of addresses. The zero Set is empty.
type Set struct {
	spans []span // sorted, without overlap
}

// span is a range of addresses, both ends included, of one family.
type span struct{ from, to netip.Addr }

// Of returns the set of all addresses in the prefixes. Bits behind a prefix's
// length do not matter, and an IPv4 range written as IPv4-mapped IPv6 is the
// IPv4 range. Invalid prefixes are left out.
func Of(prefixes ...netip.Prefix) Set {
	spans := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		if p = plain(p); p.IsValid() {
			spans = append(spans, span{p.Addr(), last(p)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && s.from.Compare(merged[n-1].to) <= 0 {
			if merged[n-1].to.Less(s.to) {
				merged[n-1].to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	return Set{merged}
}

// plain returns a prefix without bits behind its length, and as IPv4 if that
// is what it stands for.
func plain(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// last returns the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		bytes := p.Addr().As4()
		fill(bytes[:], p.Bits())
		return netip.AddrFrom4(bytes)
	}
	bytes := p.Addr().As16()
	fill(bytes[:], p.Bits())
	return netip.AddrFrom16(bytes)
}

// fill sets all bits behind the first n.
func fill(bytes []byte, n int) {
	for i := range bytes {
		switch {
		case n >= 8*(i+1):
		case n <= 8*i:
			bytes[i] = 0xff
		default:
			bytes[i] |= 0xff >> (n - 8*i)
		}
	}
}

// Contains reports whether the set holds an address. IPv4-mapped IPv6 counts as
// IPv4 and zones are ignored; the zero Addr is in no set. It allocates nothing.
func (s Set) Contains(a netip.Addr) bool {
	if len(s.spans) == 0 || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	low, high := 0, len(s.spans)
	for low < high {
		if middle := (low + high) / 2; s.spans[middle].to.Less(a) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low < len(s.spans) && s.spans[low].from.Compare(a) <= 0
}

// Empty reports whether the set holds no address.
func (s Set) Empty() bool { return len(s.spans) == 0 }
