package limit

import (
	"hash/maphash"
	"net/netip"
	"strings"
)

// network appends to a buffer what counts of an address: all of IPv4, the /64
// of IPv6. A host can take any address of its /64, so counting single ones
// would count nothing.
func network(to []byte, addr netip.Addr) []byte {
	if addr.Is4() {
		b := addr.As4()
		return append(to, b[:]...)
	}
	b := addr.As16()
	return append(to, b[:8]...)
}

func writeAddress(h *maphash.Hash, addr netip.Addr) {
	var buf [16]byte
	_, _ = h.Write(network(buf[:0], addr))
}

// withoutPort returns the host of a Host field.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// writeLower writes ASCII letters in lower case.
func writeLower(h *maphash.Hash, text string) {
	for i := range len(text) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		_ = h.WriteByte(c)
	}
}
