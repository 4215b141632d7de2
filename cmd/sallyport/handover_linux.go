package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of the ignored variables have to reach the new process image so
// that it can log them once its logger is configured. An argument would show
// in ps and a variable would break the seal, so they travel in an anonymous
// file that survives exec and is found by its name.
const handoverName = "sallyport-ignored-variables"

// handoverLimit bounds what is read back, in bytes. Longer lists are cut.
const handoverLimit = 64 << 10

// sendNames leaves names for the next process image.
func sendNames(names []string) (undo func(), err error) {
	fd, err := unix.MemfdCreate(handoverName, 0) // 0: stays open across exec
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), handoverName)
	text := strings.Join(names, "\n")
	if _, err := file.WriteString(text[:min(len(text), handoverLimit)]); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

// receiveNames takes what the previous process image left. It reports false if
// there was none.
func receiveNames() (names []string, ok bool) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, false
	}
	for _, entry := range entries {
		path := filepath.Join("/proc/self/fd", entry.Name())
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/memfd:"+handoverName) {
			continue
		}
		text, err := os.ReadFile(path) // opens anew, so from the start
		var fd int
		if _, scanErr := fmt.Sscan(entry.Name(), &fd); scanErr == nil {
			_ = unix.Close(fd)
		}
		if err != nil || len(text) > handoverLimit {
			return nil, true
		}
		if len(text) == 0 {
			return nil, true
		}
		return strings.Split(string(text), "\n"), true
	}
	return nil, false
}
