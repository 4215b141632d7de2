package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// rotating is a file that is renamed when it is full. A rotated file has the
// time at which it was in its name: access.log becomes
// access-20261123T120000.000.log.
//
// A named pipe is written to as standard error is, and never renamed.
type rotating struct {
	options Options
	tell    func(error) // of a pipe that has taken nothing for a while
	file    *os.File
	pipe    *stream // the file, if it is a pipe
	size    int64
}

const rotatedAt = "20060102T150405.000"

func (f *rotating) reopen() error {
	// To open a pipe for writing waits until somebody reads, which would hold
	// up a start or a reload; for both it does not. Should a pipe appear just
	// now, it is an error.
	access, isPipe := os.O_WRONLY, false
	if info, err := os.Stat(f.options.Path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		access, isPipe = os.O_RDWR, true
	}
	file, err := os.OpenFile(f.options.Path, access|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening the log: %w", err), file.Close())
	}
	_ = f.close()
	f.file, f.size, f.pipe = file, info.Size(), nil
	if isPipe {
		f.pipe = &stream{file, f.tell}
	}
	return nil
}

func (f *rotating) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// write never splits a line between two files, and never leaves half a line
// before a whole one: what a full disk cut is taken back.
func (f *rotating) write(ctx context.Context, p []byte) error {
	if f.file == nil {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	if f.pipe != nil {
		return f.pipe.write(ctx, p)
	}
	if f.options.Size > 0 && f.size > 0 && f.size+int64(len(p)) > f.options.Size {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	n, err := f.file.Write(p)
	if err != nil {
		if n > 0 {
			_ = f.file.Truncate(f.size)
		}
		return fmt.Errorf("writing the log: %w", err)
	}
	f.size += int64(n)
	return nil
}

func (f *rotating) rotate() error {
	base, ext := f.parts()
	for at := time.Now().UTC(); ; at = at.Add(time.Millisecond) {
		old := base + "-" + at.Format(rotatedAt) + ext
		if _, err := os.Lstat(old); err == nil {
			continue // rotated within the same millisecond
		}
		if err := os.Rename(f.options.Path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotating the log: %w", err)
		}
		break
	}
	if err := f.reopen(); err != nil {
		return err
	}
	f.prune()
	return nil
}

func (f *rotating) parts() (base, ext string) {
	ext = filepath.Ext(f.options.Path)
	return strings.TrimSuffix(f.options.Path, ext), ext
}

// prune removes rotated files that are too many or too old. One that cannot be
// removed is tried again the next time.
func (f *rotating) prune() {
	base, ext := f.parts()
	list, err := os.ReadDir(filepath.Dir(base))
	if err != nil {
		return
	}
	var old []time.Time
	for _, entry := range list {
		text, ok := strings.CutPrefix(entry.Name(), filepath.Base(base)+"-")
		text, right := strings.CutSuffix(text, ext)
		at, err := time.Parse(rotatedAt, text)
		if ok && right && err == nil {
			old = append(old, at)
		}
	}
	slices.SortFunc(old, func(a, b time.Time) int { return b.Compare(a) })
	for i, at := range old {
		if f.options.Keep > 0 && i >= f.options.Keep || f.options.Age > 0 && time.Since(at) > f.options.Age {
			_ = os.Remove(base + "-" + at.Format(rotatedAt) + ext)
		}
	}
}
