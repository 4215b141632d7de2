package storage

import (
	"errors"
	"os"
	"path/filepath"
)

// temporary begins the name of a file that is being written.
const temporary = ".new-"

// write replaces file by value in one step. The value is synced before the
// rename and the directory after it, so a crash of the machine leaves either
// the old file or the whole new one.
func (d *Dir) write(file string, value []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return d.fail("make", dir, err)
	}
	temp, err := os.CreateTemp(dir, temporary) // mode 0600
	if err != nil {
		return d.fail("write", file, err)
	}
	_, err = temp.Write(value)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // gone already if the rename was done
		return d.fail("write", file, err)
	}
	return nil
}

// syncDir makes renames in dir survive a crash of the machine.
func syncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = handle.Sync()
	return errors.Join(err, handle.Close())
}
