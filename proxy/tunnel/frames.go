package tunnel

import (
	"crypto/rand"
	"encoding/binary"
)

// goingAway is the status of a close frame by which an endpoint says that it is
// about to stop (RFC 6455 section 7.4.1).
const goingAway = 1001

// frames follows the WebSocket frames of one direction (RFC 6455 section 5.2)
// in what is copied, so that one of ours is never put inside another. The zero
// value stands before the first frame.
type frames struct {
	head   [10]byte // of the frame under way, without the mask's key
	have   int      // bytes of head
	left   uint64   // bytes of the mask's key and the payload that are to come
	closed bool     // a close frame was the last one: nothing may follow
	lost   bool     // no WebSocket, or not a valid one
}

// between reports whether a frame may be put in here.
func (f *frames) between() bool { return !f.lost && !f.closed && f.have == 0 }

// next goes on to the end of the frame under way, or of p, and returns how much
// of p that was. It changes nothing in p.
func (f *frames) next(p []byte) int {
	if f.lost || f.closed {
		return len(p)
	}
	n := 0
	for f.left == 0 {
		if n == len(p) {
			return n
		}
		f.head[f.have] = p[n]
		f.have++
		n++
		if f.have < 2 || f.have < 2+f.extended() {
			continue
		}
		if f.left = f.length(); f.lost {
			return len(p)
		}
		if f.left == 0 {
			f.end()
			return n
		}
	}
	step := min(uint64(len(p)-n), f.left)
	f.left -= step
	if f.left == 0 {
		f.end()
	}
	return n + int(step)
}

// all goes over the whole of p.
func (f *frames) all(p []byte) {
	for len(p) > 0 {
		p = p[f.next(p):]
	}
}

// end is the end of a frame.
func (f *frames) end() {
	const opcode, closing = 0x0f, 8
	f.closed = f.head[0]&opcode == closing
	f.have = 0
}

// extended is how many bytes the length takes beyond the 7 bits.
func (f *frames) extended() int {
	switch f.head[1] & 0x7f {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// length is that of the key and the payload.
func (f *frames) length() uint64 {
	length := uint64(f.head[1] & 0x7f)
	switch f.extended() {
	case 2:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 8:
		length = binary.BigEndian.Uint64(f.head[2:])
		f.lost = length>>63 != 0 // must be 0
	}
	if f.head[1]&0x80 != 0 {
		length += 4
	}
	return length
}

// closeFrame returns a close frame that says goingAway. Those towards a server
// are masked (RFC 6455 section 5.3), those towards a client never.
func closeFrame(masked bool) []byte {
	const final, closing, mask = 0x80, 8, 0x80
	status := binary.BigEndian.AppendUint16(nil, goingAway)
	frame := []byte{final | closing, byte(len(status))}
	if !masked {
		return append(frame, status...)
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // never fails
	frame[1] |= mask
	frame = append(frame, key[:]...)
	for i, b := range status {
		frame = append(frame, b^key[i])
	}
	return frame
}
