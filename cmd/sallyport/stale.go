package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sallyport/sallyport/config"
)

// A configuration file that is mounted by itself into a container is that file
// for ever: an editor, or a tool that writes a new file and renames it, leaves
// the container with the old one. Nothing fails, and nothing changes either. It
// can be told by the file having no name any more.

// staleHint is what to do.
const staleHint = "mount the directory that has the file, not the file itself; until then start the container anew"

// current returns the configuration that is loaded.
func (e *edge) current() *config.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config
}

// path is that of the configuration file.
func (e *edge) path() string { return e.current().File() }

// stale says why the file at the configuration's path is not the one that was
// edited, or nothing.
func (e *edge) stale() string { return staleFile(e.path(), "/proc/self/mountinfo") }

func staleFile(path, mountinfo string) string {
	if path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink == 0 {
		return "the file was replaced outside of this mount, and the one that is read has been deleted"
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(full); err == nil {
		full = resolved
	}
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): the fourth field is what is mounted, the
		// fifth where.
		fields := strings.Fields(line)
		if len(fields) < 5 || unescapeMount(fields[4]) != full {
			continue
		}
		if strings.HasSuffix(fields[3], "//deleted") {
			return "the file was replaced outside of this mount, and the one that is read has been deleted"
		}
	}
	return ""
}

// unescapeMount undoes what the kernel does to blanks in names.
func unescapeMount(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// identity tells files apart that have the same name one after the other.
func identity(info os.FileInfo) any {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint64{stat.Ino, uint64(stat.Dev)}
	}
	return nil
}
