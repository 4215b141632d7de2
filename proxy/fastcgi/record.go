package fastcgi

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Record types (FastCGI 1.0, section 8).
const (
	typeBegin  = 1
	typeAbort  = 2
	typeEnd    = 3
	typeParams = 4
	typeStdin  = 5
	typeStdout = 6
	typeStderr = 7
)

const (
	version      = 1
	responder    = 1 // the role
	requestID    = 1 // the only one on its connection
	headerLength = 8
	mostContent  = 65535
)

// appendHeader appends the header of a record. Content is never padded: that is
// only a hint for old machines.
func appendHeader(b []byte, kind uint8, length int) []byte {
	return append(b, version, kind, 0, requestID, byte(length>>8), byte(length), 0, 0)
}

// appendBegin appends the record that begins a request whose connection is
// closed after it (section 5.1).
func appendBegin(b []byte) []byte {
	return append(appendHeader(b, typeBegin, 8), 0, responder, 0, 0, 0, 0, 0, 0)
}

// appendStream appends content as records of a stream, without its end.
func appendStream(b []byte, kind uint8, content []byte) []byte {
	for len(content) > 0 {
		n := min(len(content), mostContent)
		b = append(appendHeader(b, kind, n), content[:n]...)
		content = content[n:]
	}
	return b
}

// appendPair appends a name and a value (section 3.4).
func appendPair(b []byte, name, value string) []byte {
	for _, n := range [...]int{len(name), len(value)} {
		if n < 128 {
			b = append(b, byte(n))
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
		}
	}
	return append(append(b, name...), value...)
}

// records reads what the server sends.
type records struct {
	in      *bufio.Reader
	kind    uint8
	left    int // of the current record's content
	padding int
}

// next goes to the next record, past what is left of the current one.
func (r *records) next() error {
	if _, err := r.in.Discard(r.left + r.padding); err != nil {
		return unexpected(err)
	}
	r.left, r.padding = 0, 0
	var header [headerLength]byte
	if _, err := io.ReadFull(r.in, header[:]); err != nil {
		return unexpected(err)
	}
	id := int(header[2])<<8 | int(header[3])
	if header[0] != version || id > requestID {
		return fmt.Errorf("%w: it begins with %q", errMalformed, header[:])
	}
	r.kind, r.left, r.padding = header[1], int(header[4])<<8|int(header[5]), int(header[6])
	if id == 0 {
		r.kind = 0 // about the connection: nothing that we asked for
	}
	return nil
}

// unexpected makes an end of the connection an error: a request ends with a
// record that says so.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// read reads some of the current record.
func (r *records) read(p []byte) (int, error) {
	n, err := r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, unexpected(err)
}
