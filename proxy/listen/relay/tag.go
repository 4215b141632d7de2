package relay

import (
	"crypto/rand"

	"github.com/quic-go/quic-go"
)

const (
	// idLength is that of our connection ids, in bytes.
	idLength = 8

	// tagLength is how many of them say whose they are. The rest is random.
	tagLength = 3
)

// Tag begins the connection ids of one process. It is random: two processes have
// the same with a chance of one in sixteen million.
type Tag [tagLength]byte

// NewTag returns a new one.
func NewTag() (t Tag) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

// GenerateConnectionID makes an id; for [quic.ConnectionIDGenerator].
func (t Tag) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [idLength]byte
	copy(id[:], t[:])
	_, _ = rand.Read(id[tagLength:])
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ConnectionIDLen is that of all ids, in bytes.
func (t Tag) ConnectionIDLen() int { return idLength }

// owns reports whether a packet is for a connection of the tag's process. What is
// no packet of QUIC's is nobody's, so it stays.
func (t Tag) owns(packet []byte) bool {
	const longHeader = 0x80
	if len(packet) == 0 {
		return true
	}
	id := packet[1:] // RFC 9000 section 17.3: the id, of a length that we know
	if packet[0]&longHeader != 0 {
		// RFC 8999 section 5.1: version, length of the id, id.
		if len(packet) < 6 {
			return true
		}
		if packet[5] != idLength {
			return false // chosen by a client that begins
		}
		id = packet[6:]
	}
	return len(id) < idLength || Tag(id[:tagLength]) == t
}
