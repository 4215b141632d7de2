package h2

import (
	"encoding/binary"
	"fmt"
)

// preface is what a client sends first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame types (RFC 9113 section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
)

// Flags, each of the frame types that have it.
const (
	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
const (
	settingHeaderTableSize   = 0x1
	settingEnablePush        = 0x2
	settingMaxStreams        = 0x3
	settingInitialWindow     = 0x4
	settingMaxFrameSize      = 0x5
	settingMaxHeaderListSize = 0x6
	settingEnableConnect     = 0x8
)

const (
	headSize      = 9
	frameSize     = 16 << 10 // the largest frame that is read or written; the least that RFC 9113 allows
	defaultWindow = 65535
	mostWindow    = 1<<31 - 1
)

// code is an error code (RFC 9113 section 7).
type code uint32

const (
	codeNone          code = 0x0
	codeProtocol      code = 0x1
	codeInternal      code = 0x2
	codeFlowControl   code = 0x3
	codeStreamClosed  code = 0x5
	codeFrameSize     code = 0x6
	codeRefused       code = 0x7
	codeCancel        code = 0x8
	codeCompression   code = 0x9
	codeCalm          code = 0xb
	codeInadequateTLS code = 0xc
)

// connError ends a connection.
type connError struct {
	code   code
	reason string // for GOAWAY's debug data: our own words only
}

// Error implements [error].
func (e *connError) Error() string { return fmt.Sprintf("%s (code %#x)", e.reason, uint32(e.code)) }

func broken(c code, reason string) error { return &connError{c, reason} }

// frameHead is the head of a frame.
type frameHead struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func (h frameHead) has(flag byte) bool { return h.flags&flag != 0 }

func parseHead(b *[headSize]byte) frameHead {
	return frameHead{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & mostWindow,
	}
}

func appendHead(b []byte, length int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendReset(b []byte, stream uint32, c code) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, 4, frameReset, 0, stream), uint32(c))
}

func appendWindowUpdate(b []byte, stream uint32, by int) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, 4, frameWindowUpdate, 0, stream), uint32(by))
}

func appendGoAway(b []byte, last uint32, c code, reason string) []byte {
	b = appendHead(b, 8+len(reason), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(c))
	return append(b, reason...)
}

func appendPing(b []byte, flags byte, data []byte) []byte {
	return append(appendHead(b, 8, framePing, flags, 0), data...)
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}

// unpad returns what a DATA or HEADERS payload holds besides padding (RFC 9113
// section 6.1).
func unpad(h frameHead, payload []byte) ([]byte, error) {
	if !h.has(flagPadded) {
		return payload, nil
	}
	if len(payload) == 0 {
		return nil, broken(codeFrameSize, "padded frame without a length of padding")
	}
	padding := int(payload[0])
	payload = payload[1:]
	if padding > len(payload) {
		return nil, broken(codeProtocol, "more padding than frame")
	}
	return payload[:len(payload)-padding], nil
}
