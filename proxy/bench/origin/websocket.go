package origin

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
)

// largestMessage bounds what a client can make the echo allocate.
const largestMessage = 1 << 20

// AcceptKey returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455
// section 4.2.2, which asks for SHA-1).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echo accepts a WebSocket and sends every frame back until the client closes.
func echo(conn net.Conn, r *bufio.Reader, key string) {
	_, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+AcceptKey(key)+"\r\n\r\n")
	var frame []byte
	for err == nil {
		if frame, err = readFrame(r, frame); err == nil {
			_, err = conn.Write(frame)
			if frame[0]&0x0f == 8 {
				return // close
			}
		}
	}
}

// readFrame reads a client's frame (RFC 6455 section 5.2) and returns the same
// frame as a server sends it: not masked. It uses buf if that is large enough.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	masked, size, first := head[1]&0x80 != 0, uint64(head[1]&0x7f), head[0]
	buf = append(buf[:0], first, byte(size))
	if size >= 126 {
		extra := 2
		if size == 127 {
			extra = 8
		}
		if _, err := io.ReadFull(r, head[8-extra:]); err != nil {
			return nil, err
		}
		buf = append(buf, head[8-extra:]...)
		clear(head[:8-extra])
		size = binary.BigEndian.Uint64(head[:])
	}
	if size > largestMessage {
		return nil, io.ErrShortBuffer
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return nil, err
		}
	}
	start := len(buf)
	for uint64(cap(buf)) < uint64(start)+size {
		buf = append(buf[:cap(buf)], 0)
	}
	buf = buf[:start+int(size)]
	if _, err := io.ReadFull(r, buf[start:]); err != nil {
		return nil, err
	}
	for i := range buf[start:] {
		buf[start+i] ^= mask[i&3]
	}
	return buf, nil
}
