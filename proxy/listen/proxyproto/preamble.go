package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Source: "The PROXY protocol", Willy Tarreau, revision of 2020/03/05, sections
// 2.1 (version 1) and 2.2 (version 2).

// signature begins a preamble of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	longestV1 = 107     // with the line's end
	shortest  = 15      // "PROXY UNKNOWN\r\n"; version 2 is one byte longer
	longestV2 = 4 << 10 // behind the fixed 16 bytes: addresses and extensions
)

// errMissing is a stream that does not begin with a preamble at all.
var errMissing = errors.New("it does not begin with a PROXY preamble")

// malformed is a preamble that is not as the protocol has it.
type malformed string

func (m malformed) Error() string { return "malformed PROXY preamble: " + string(m) }

// read reads a preamble and not a byte more. It returns who the connection is
// from; the zero AddrPort stands for the peer itself (LOCAL, UNKNOWN).
//
// Version 1 is read byte by byte once it is known: a system call each, but what
// follows belongs to somebody else, and balancers keep their connections.
func read(r io.Reader) (netip.AddrPort, error) {
	var buf [longestV1]byte
	head := buf[:shortest]
	if n, err := io.ReadFull(r, head); err != nil {
		if n > 0 && !begins(string(head[:n])) {
			return netip.AddrPort{}, errMissing
		}
		return netip.AddrPort{}, err
	}
	switch {
	case string(head[:len(signature)]) == signature:
		return readV2(r, head)
	case string(head[:6]) != "PROXY ":
		return netip.AddrPort{}, errMissing
	}
	for head[len(head)-1] != '\n' {
		if len(head) == longestV1 {
			return netip.AddrPort{}, malformed("the line does not end")
		}
		head = buf[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return parseV1(string(head))
}

// begins reports whether what has come could become a preamble.
func begins(text string) bool {
	return strings.HasPrefix(signature, text) || strings.HasPrefix("PROXY ", text) || strings.HasPrefix(text, "PROXY ") || strings.HasPrefix(text, signature)
}

// parseV1 reads a line of version 1.
func parseV1(line string) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return none, malformed("the line does not end in CR LF")
	}
	fields := strings.Split(line, " ")
	if len(fields) >= 2 && fields[1] == "UNKNOWN" {
		return none, nil // whatever follows is to be ignored
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return none, malformed("not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		address, err := netip.ParseAddr(fields[2+i])
		if err != nil || address.Is4() != (fields[1] == "TCP4") || address.Zone() != "" {
			return none, malformed("an address is none of " + fields[1])
		}
		port, err := strconv.ParseUint(fields[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != fields[4+i] {
			return none, malformed("a port is none")
		}
		ends[i] = netip.AddrPortFrom(address, uint16(port))
	}
	return source(ends[0])
}

// source refuses what cannot be the address of a client.
func source(from netip.AddrPort) (netip.AddrPort, error) {
	address := from.Addr().Unmap()
	if address.IsUnspecified() || address.IsMulticast() {
		return netip.AddrPort{}, malformed("the source is no address of a host")
	}
	return netip.AddrPortFrom(address, from.Port()), nil
}

// readV2 reads what follows the first bytes of a preamble of version 2.
func readV2(r io.Reader, head []byte) (netip.AddrPort, error) {
	const fixed = 16
	none := netip.AddrPort{}
	head = head[:fixed]
	if _, err := io.ReadFull(r, head[shortest:]); err != nil {
		return none, err
	}
	length := int(binary.BigEndian.Uint16(head[14:]))
	if length > longestV2 {
		return none, malformed(fmt.Sprintf("%d bytes of extensions are more than %d", length, longestV2))
	}
	whole := append(make([]byte, 0, fixed+length), head...)[:fixed+length]
	if _, err := io.ReadFull(r, whole[fixed:]); err != nil {
		return none, err
	}
	return parseV2(whole)
}

// parseV2 reads a whole preamble of version 2.
func parseV2(whole []byte) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	version, command, family, rest := whole[12]>>4, whole[12]&15, whole[13], whole[16:]
	if version != 2 || command > 1 {
		return none, malformed(fmt.Sprintf("version and command 0x%02x", whole[12]))
	}
	var size int // of the addresses
	switch family {
	case 0x00, 0x31, 0x32: // unspecified; a unix socket, whose names mean nothing here
		if size = 0; family != 0 {
			size = 216
		}
	case 0x11:
		size = 12
	case 0x21:
		size = 36
	default:
		return none, malformed(fmt.Sprintf("address family and transport 0x%02x", family))
	}
	if command == 1 && len(rest) < size {
		return none, malformed("the addresses are cut short")
	}
	if command == 0 || family == 0 {
		return none, nil // the balancer itself; what follows is to be skipped
	}
	if err := checkExtensions(whole, rest[size:]); err != nil {
		return none, err
	}
	switch family {
	case 0x11:
		return source(netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest)), binary.BigEndian.Uint16(rest[8:])))
	case 0x21:
		return source(netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest)), binary.BigEndian.Uint16(rest[32:])))
	}
	return none, nil
}

// checkExtensions walks over the type-length-value fields: they have to fill
// what is left exactly, and a checksum among them has to be right. Nothing else
// in them is used.
func checkExtensions(whole, fields []byte) error {
	const checksum = 0x03
	for len(fields) > 0 {
		if len(fields) < 3 || len(fields) < 3+int(binary.BigEndian.Uint16(fields[1:])) {
			return malformed("an extension is cut short")
		}
		value := fields[3 : 3+int(binary.BigEndian.Uint16(fields[1:]))]
		if fields[0] == checksum {
			if len(value) != 4 {
				return malformed("the checksum is none")
			}
			said := binary.BigEndian.Uint32(value)
			clear(value) // as it was when it was computed
			if crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) != said {
				return malformed("the checksum is wrong")
			}
		}
		fields = fields[3+len(value):]
	}
	return nil
}
