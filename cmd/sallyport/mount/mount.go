package mount

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// table is where the kernel lists the mounts that this process sees.
const table = "/proc/self/mountinfo"

// StaleHint is what to do about a file that is [Stale].
const StaleHint = "mount the directory that has the file, not the file itself; until then start the container anew"

// Stale says why the file at a path is not the one that people edit, or is
// empty, also for an empty path and where that cannot be known.
//
// A file that is mounted by itself into a container is that file for ever: an
// editor, or a tool that writes a new file and renames it, leaves the container
// with the old one. Nothing fails, and nothing changes either. It can be told by
// the file having no name any more.
func Stale(path string) string { return stale(path, table) }

func stale(path, mountinfo string) string {
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
		if len(fields) < 5 || unescape(fields[4]) != full {
			continue
		}
		if strings.HasSuffix(fields[3], "//deleted") {
			return "the file was replaced outside of this mount, and the one that is read has been deleted"
		}
	}
	return ""
}

// Ephemeral says where a path lies if that does not outlive a container or the
// machine; it is empty if it does, and where that cannot be known. The path is
// absolute and without symbolic links.
func Ephemeral(path string) string {
	mounts, err := os.ReadFile(table)
	if err != nil {
		return ""
	}
	return ephemeral(string(mounts), path)
}

// ephemeral is that for the text of a table (proc_pid_mountinfo(5)).
func ephemeral(mounts, path string) string {
	best, kind := "", ""
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) == 0 {
			continue
		}
		point := unescape(fields[4])
		inside := path == point || strings.HasPrefix(path, strings.TrimSuffix(point, "/")+"/")
		if inside && len(point) >= len(best) { // of equal ones the later covers the earlier
			best, kind = point, rest[0]
		}
	}
	switch kind {
	case "overlay", "aufs":
		return "on the container's own layer, which is lost with the container"
	case "tmpfs", "ramfs":
		return "in memory (" + kind + " at " + best + "), which is lost at a restart"
	}
	return ""
}

// unescape undoes what the kernel does to blanks in names.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}
