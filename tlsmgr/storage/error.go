package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Error is a failure of the file system under the storage.
type Error struct {
	Op   string // what was to be done: "write", "read", ...
	Path string // the file or directory
	Err  error  // the cause

	hint string
}

// Error names the operation, the file and the cause.
func (e *Error) Error() string {
	cause := e.Err
	// The cause of a PathError says all; its path is ours or that of a
	// temporary file nobody knows.
	if pathError, ok := errors.AsType[*fs.PathError](e.Err); ok {
		cause = pathError.Err
	}
	return fmt.Sprintf("storage: %s %s: %v", e.Op, e.Path, cause)
}

// Unwrap returns the cause, for errors.Is with fs.ErrNotExist and the like.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do about it, or is empty when nothing can be said.
func (e *Error) Hint() string { return e.hint }

// fail wraps the error of an operation. A missing file stays what it is: it is
// an answer, not a failure.
func (d *Dir) fail(op, path string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) && op != "make" && op != "write" {
		return err
	}
	return &Error{Op: op, Path: path, Err: err, hint: d.cure(err)}
}

// cure says what to do about the usual causes.
func (d *Dir) cure(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("mount %s writable: a volume or tmpfs in a container, ReadWritePaths or StateDirectory with systemd", d.path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("free space for %s; certificates that are there keep being served", d.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("give user %d write access: chown -R %d %s", os.Geteuid(), os.Geteuid(), d.path)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return fmt.Sprintf("something else lies where %s keeps its files; move it away", d.path)
	}
	return ""
}
