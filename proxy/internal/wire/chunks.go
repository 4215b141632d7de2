package wire

import (
	"bytes"
	"io"
)

// Ahead is what a chunked body is read from: a connection with a buffer.
type Ahead interface {
	// Buffered is what has been read from the network and not been used.
	Buffered() []byte

	// Skip uses the first n bytes of it.
	Skip(n int)

	// Fill reads more from the network into the buffer, at least one byte.
	Fill() error

	// Read uses what is buffered or else reads once.
	Read(p []byte) (int, error)
}

// Fault is an error that says which rule a message breaks.
type Fault string

func (f Fault) Error() string { return string(f) }

// The faults of chunk framing.
const (
	FaultLineEnd       Fault = "a line does not end in CRLF"
	FaultChunkEnd      Fault = "a chunk is longer than its size"
	FaultChunkLine     Fault = "a chunk's size line is longer than allowed"
	FaultChunkOverhead Fault = "far more chunk framing than data"
)

// chunkState is what comes next in a chunked body.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	trailerSection
)

const (
	maxChunkLine = 256 // size and extensions, in bytes

	// maxExcess is how many bytes of framing may come beyond twice the data
	// and sixteen for each chunk, as in net/http: single bytes may trickle, but
	// extensions do not make a stream of nothing.
	maxExcess = 16 << 10
)

// Chunks is how far a chunked body has been read (RFC 9112 section 7.1). The
// zero value is at its beginning.
type Chunks struct {
	state  chunkState
	left   int64 // bytes to come of the chunk
	excess int64 // of framing over data
}

// Read reads data into p. Once it has some it goes on only as far as it need not
// wait. At the end of the data it calls trailers, which reads the trailer section
// (section 7.1.2) from in, and returns io.EOF. What breaks a rule is a [Fault]; an
// end of the connection before that of the body is [io.ErrUnexpectedEOF].
func (k *Chunks) Read(in Ahead, p []byte, trailers func() error) (n int, err error) {
	for err == nil {
		if n > 0 && !k.ready(in, n < len(p)) {
			return n, nil
		}
		switch k.state {
		case chunkSize:
			err = k.begin(in)
		case chunkData:
			var m int
			m, err = in.Read(p[n:min(int64(len(p)), int64(n)+k.left)])
			n += m
			k.Took(m)
		case chunkEnd:
			err = k.end(in)
		case trailerSection:
			if err = trailers(); err == nil {
				return n, io.EOF
			}
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Data is how many bytes of data come next, 0 if something else does.
func (k *Chunks) Data() int64 {
	if k.state != chunkData {
		return 0
	}
	return k.left
}

// Took notes that n bytes of data have been used, past Read. There were as many.
func (k *Chunks) Took(n int) {
	if k.left -= int64(n); k.left == 0 {
		k.state = chunkEnd
	}
}

// ready reports whether the next step can be taken without waiting.
func (k *Chunks) ready(in Ahead, room bool) bool {
	ahead := in.Buffered()
	switch k.state {
	case chunkData:
		return room && len(ahead) > 0
	case chunkEnd:
		return len(ahead) >= 2
	case trailerSection:
		return len(ahead) >= 2 && ahead[0] == '\r'
	}
	return bytes.IndexByte(ahead, '\n') >= 0
}

// begin reads a chunk's size, and passes over its extensions.
func (k *Chunks) begin(in Ahead) error {
	line, err := chunkLine(in)
	if err != nil {
		return err
	}
	size, bad := ChunkSize(line)
	if bad != "" {
		return Fault(bad)
	}
	k.excess += int64(len(line)) + 2 - 16
	k.excess = max(0, k.excess-2*min(size, maxExcess))
	if k.excess > maxExcess {
		return FaultChunkOverhead
	}
	k.left, k.state = size, chunkData
	if size == 0 {
		k.state = trailerSection
	}
	return nil
}

// chunkLine reads a line that ends in CRLF and returns it without.
func chunkLine(in Ahead) ([]byte, error) {
	for {
		ahead := in.Buffered()
		i := bytes.IndexByte(ahead[:min(len(ahead), maxChunkLine)], '\n')
		switch {
		case i == 0 || i > 0 && ahead[i-1] != '\r':
			return nil, FaultLineEnd
		case i > 0:
			in.Skip(i + 1)
			return ahead[:i-1], nil
		case len(ahead) >= maxChunkLine:
			return nil, FaultChunkLine
		}
		if err := in.Fill(); err != nil {
			return nil, err
		}
	}
}

// end reads the CRLF behind a chunk's data.
func (k *Chunks) end(in Ahead) error {
	for {
		ahead := in.Buffered()
		if len(ahead) > 0 && ahead[0] != '\r' || len(ahead) > 1 && ahead[1] != '\n' {
			return FaultChunkEnd
		}
		if len(ahead) > 1 {
			in.Skip(2)
			k.state = chunkSize
			return nil
		}
		if err := in.Fill(); err != nil {
			return err
		}
	}
}
