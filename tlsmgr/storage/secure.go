package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// folders are those whose content is ours.
var folders = [...]string{"certificates", "acme", "journal", "locks"}

// neighbours may lie beside them: the internal CA, the control socket, what
// mkfs makes. Their content is not ours.
var neighbours = [...]string{"localca", "sallyport.sock", "lost+found"}

// abandoned is the age past which a half-written file has no writer any more.
const abandoned = time.Hour

// secure makes sure that only the owner can enter the directory.
func (d *Dir) secure() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return d.fail("stat", d.path, err)
	}
	if !info.IsDir() {
		return d.fail("open", d.path, errors.New("not a directory"))
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o077 == 0:
		return nil
	case ownedByUs(info):
		if stranger, err := d.stranger(); err != nil || stranger != "" {
			return d.shared(mode, stranger, err)
		}
		if err := os.Chmod(d.path, 0o700); errors.Is(err, syscall.EROFS) {
			d.logger.Error("storage directory is open to others and cannot be made private: the file system is read-only",
				zap.String("dir", d.path), zap.Stringer("mode", mode), zap.String("hint", d.cure(err)))
			return nil
		} else if err != nil {
			return d.fail("make private", d.path, err)
		}
		d.logger.Warn("storage directory was open to others; made it private",
			zap.String("dir", d.path), zap.Stringer("was", mode))
		return nil
	case mode&0o007 != 0:
		return &Error{
			Op: "trust", Path: d.path,
			Err:  fmt.Errorf("it belongs to another user and everybody can enter it (mode %04o)", mode),
			hint: fmt.Sprintf("make it ours and private: chown %d %s && chmod 700 %s", os.Geteuid(), d.path, d.path),
		}
	default:
		// Open to a group by the choice of whoever owns it, as with
		// Kubernetes' fsGroup; our own files in it are private anyway.
		return nil
	}
}

// unlessReadOnly forgives that a read-only file system cannot be tidied.
func unlessReadOnly(err error) error {
	if errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// stranger returns the name of something in the directory that is not ours. It
// keeps us from making /tmp private, or /var/lib, when somebody names that as
// the storage.
func (d *Dir) stranger() (string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return "", d.fail("list", d.path, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !slices.Contains(folders[:], name) && !slices.Contains(neighbours[:], name) && !strings.HasPrefix(name, temporary) {
			return name, nil
		}
	}
	return "", nil
}

// shared is the error for a directory that others can enter and that is not
// for us alone.
func (d *Dir) shared(mode fs.FileMode, stranger string, err error) error {
	if err != nil {
		return err
	}
	return &Error{
		Op: "trust", Path: d.path,
		Err:  fmt.Errorf("others can enter it (mode %04o) and it holds %q, which is not ours", mode, stranger),
		hint: fmt.Sprintf("give the storage a directory of its own; if this is one: chmod 700 %s", d.path),
	}
}

// tidy makes files and folders of our own private again, as after restoring a
// backup, and removes half-written files that nobody writes any more.
func (d *Dir) tidy() error {
	repaired := 0
	visit := func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process took it away, or the folder is not there yet
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.Type()&^fs.ModeDir != 0 {
			return nil // gone meanwhile, or not a file: not ours
		}
		if strings.HasPrefix(entry.Name(), temporary) && time.Since(info.ModTime()) > abandoned {
			return unlessReadOnly(os.Remove(file))
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && ownedByUs(info) {
			err := os.Chmod(file, mode&0o700)
			if err == nil {
				repaired++
			}
			return unlessReadOnly(err)
		}
		return nil
	}
	for _, folder := range folders {
		dir := filepath.Join(d.path, folder)
		if err := filepath.WalkDir(dir, visit); err != nil {
			return d.fail("tidy", dir, err)
		}
	}
	if repaired > 0 {
		d.logger.Warn("files in the storage directory were open to others; made them private",
			zap.String("dir", d.path), zap.Int("files", repaired))
	}
	return nil
}
