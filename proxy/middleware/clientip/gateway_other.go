//go:build !linux

package clientip

import "net/netip"

// Gateway returns the zero Addr: only Linux is asked.
func Gateway() netip.Addr { return netip.Addr{} }
