//go:build unix

package storage

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// flock takes an exclusive lock on file without waiting; false means that
// another process holds it.
func flock(file *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return false, err
		}
	}
}

// ownedByUs reports whether the file belongs to the user that we run as. That
// root could change the mode of any file is no reason to do it.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
