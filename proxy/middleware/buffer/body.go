package buffer

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
)

// piece is how much is read at a time.
const piece = 32 << 10

// body is what is held of one request.
type body struct {
	buffer *Buffer
	memory []byte // the beginning
	file   *os.File
	size   int64

	inMemory, onDisk int64 // taken from the budgets
}

// fill reads a body to its end. length is what it announces, negative for
// nothing.
func (b *body) fill(from io.Reader, length int64) error {
	room := min(b.buffer.options.Memory, b.buffer.options.Max)
	if length >= 0 {
		room = min(room, length)
	}
	for b.size < room {
		want := min(int64(piece), room-b.size)
		if !b.buffer.memory.take(want) {
			break // to disk with the rest
		}
		b.inMemory += want
		b.grow(int(want), int(room))
		n, err := readFull(from, b.memory[b.size:b.size+want])
		b.size += int64(n)
		b.memory = b.memory[:b.size]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if b.size == length {
		return b.expectEnd(from)
	}
	return b.spill(from)
}

// grow makes room for n more bytes, all at once if it is not much.
func (b *body) grow(n, room int) {
	have := len(b.memory)
	if have+n > cap(b.memory) {
		bigger := make([]byte, have, min(max(2*cap(b.memory), have+n), room))
		copy(bigger, b.memory)
		b.memory = bigger
	}
	b.memory = b.memory[:have+n]
}

// expectEnd reads the end that should come now: only then is the body known to
// be whole, and are its trailers there.
func (b *body) expectEnd(from io.Reader) error {
	var more [1]byte
	for {
		n, err := from.Read(more[:])
		switch {
		case n > 0:
			return errBroken // more than announced; servers do not let this happen
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// spill takes in the rest on disk.
func (b *body) spill(from io.Reader) error {
	chunk := make([]byte, piece)
	for {
		n, err := readFull(from, chunk)
		if n > 0 {
			if failed := b.store(chunk[:n]); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// store appends to the file.
func (b *body) store(p []byte) error {
	n := int64(len(p))
	if b.size+n > b.buffer.options.Max {
		return errTooLarge
	}
	if !b.buffer.disk.take(n) {
		return errFull
	}
	b.onDisk += n
	if b.file == nil {
		var err error
		if b.file, err = nameless(b.buffer.options.Dir); err != nil {
			return &storeError{err}
		}
	}
	if _, err := b.file.Write(p); err != nil {
		return &storeError{err}
	}
	b.size += n
	return nil
}

// nameless opens a new file and takes its name away, so that it ends with the
// process at the latest.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "request-")
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			f, err = os.CreateTemp(dir, "request-")
		}
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readFull reads until p is full. Unlike [io.ReadFull] it says [io.EOF] at the
// body's end even when something was read, and so does not mix it up with a
// body that was cut.
func readFull(from io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = from.Read(p[n:])
		n += m
	}
	return n, err
}

// reader reads all from the beginning.
func (b *body) reader() io.Reader {
	memory := bytes.NewReader(b.memory)
	if b.file == nil {
		return memory
	}
	return io.MultiReader(memory, io.NewSectionReader(b.file, 0, b.size-int64(len(b.memory))))
}

// release forgets the body.
func (b *body) release() {
	if b.file != nil {
		_ = b.file.Close()
	}
	b.buffer.memory.give(b.inMemory)
	b.buffer.disk.give(b.onDisk)
}
