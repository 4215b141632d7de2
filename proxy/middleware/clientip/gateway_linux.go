package clientip

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
)

// Gateway returns the machine's default gateway (IPv4), or the zero Addr if
// there is none or it cannot be found out.
func Gateway() netip.Addr {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return netip.Addr{}
	}
	return defaultGateway(string(table))
}

// defaultGateway finds the default route in the kernel's table: destination and
// mask are 0. Addresses are hexadecimal in the machine's byte order.
func defaultGateway(table string) netip.Addr {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		bytes, err := hex.DecodeString(fields[2])
		if err != nil || len(bytes) != 4 {
			continue
		}
		var native [4]byte
		binary.NativeEndian.PutUint32(native[:], binary.BigEndian.Uint32(bytes))
		if address := netip.AddrFrom4(native); !address.IsUnspecified() {
			return address
		}
	}
	return netip.Addr{}
}
