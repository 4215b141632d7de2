package reread

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// interval is the least time between two looks at a file.
	interval = time.Second

	// mostBytes bounds a file.
	mostBytes = 16 << 20
)

// File is the content of a file, as parsed. It is safe for use by many.
type File[T any] struct {
	path     string
	parse    func([]byte) (T, error)
	reloaded func(error)

	content atomic.Pointer[T]
	next    atomic.Int64 // when to look again, Unix nanoseconds
	busy    atomic.Bool  // somebody looks
	seen    identity     // belongs to whoever is busy
}

// identity is what tells two states of a file apart. Mode and owner are in it
// because a mended permission does not change the time of a file.
type identity struct {
	modified time.Time
	changed  syscall.Timespec
	size     int64
	inode    uint64
}

// Open reads a file for the first time. An error names the file. reloaded is
// called later, from Get, each time the file has changed: with nil if the new
// content is in force, else with why the old one still is.
func Open[T any](path string, parse func([]byte) (T, error), reloaded func(error)) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, reloaded: reloaded}
	if _, err := f.look(); err != nil {
		return nil, err
	}
	f.next.Store(time.Now().Add(interval).UnixNano())
	return f, nil
}

// Get returns the content: never nil content, and the same value until the file
// changes.
func (f *File[T]) Get() *T {
	if now := time.Now().UnixNano(); now >= f.next.Load() && f.busy.CompareAndSwap(false, true) {
		changed, err := f.look()
		f.next.Store(now + int64(interval))
		f.busy.Store(false)
		if changed && f.reloaded != nil {
			f.reloaded(err)
		}
	}
	return f.content.Load()
}

// look reads the file if it is another than last time. changed says that it is.
func (f *File[T]) look() (changed bool, err error) {
	info, err := os.Stat(f.path)
	var now identity
	if err == nil {
		now = identityOf(info)
	}
	if now == f.seen && f.content.Load() != nil {
		return false, nil
	}
	f.seen = now
	if err == nil {
		err = f.read()
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", f.path, cause(err))
	}
	return true, nil
}

func (f *File[T]) read() error {
	// Not blocking: a named pipe would hold the request for ever.
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, mostBytes+1))
	if err != nil {
		return err
	}
	if len(text) > mostBytes {
		return fmt.Errorf("larger than %d MiB", mostBytes>>20)
	}
	content, err := f.parse(text)
	if err != nil {
		return err
	}
	f.content.Store(&content)
	return nil
}

func identityOf(info os.FileInfo) identity {
	id := identity{modified: info.ModTime(), size: info.Size()}
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		id.inode, id.changed = system.Ino, changeTime(system)
	}
	return id
}

// cause strips "open PATH:" from an error: the path is named once.
func cause(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return failed.Err
	}
	return err
}
