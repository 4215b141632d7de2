package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// takeoverName is that of the anonymous file in which a process tells the one
// that takes over which descriptors are what. As with ignored variables, neither
// an argument nor a variable will do.
const takeoverName = "sallyport-takeover"

// writeTakeover returns a file that says what is passed on.
func writeTakeover(what passedOn) (*os.File, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(takeoverName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), takeoverName)
	if _, err := file.Write(text); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// readTakeover returns what was passed on to this process; false if nothing was.
func readTakeover() (what passedOn, ok bool, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return what, false, nil // no /proc, so nobody could have passed anything on
	}
	for _, entry := range entries {
		path := filepath.Join("/proc/self/fd", entry.Name())
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/memfd:"+takeoverName) {
			continue
		}
		text, err := os.ReadFile(path) // opens anew, so from the start
		var fd int
		if _, scanErr := fmt.Sscan(entry.Name(), &fd); scanErr == nil {
			_ = unix.Close(fd)
		}
		if err != nil || len(text) > handoverLimit {
			return what, true, errors.New("what was passed on cannot be read")
		}
		return what, true, json.Unmarshal(text, &what)
	}
	return what, false, nil
}
