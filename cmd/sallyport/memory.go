package main

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/pressure"
)

// tuneMemory sets the garbage collector as the configuration says. A proxy's
// live heap is small and what it allocates for a request dies at once, so with
// the runtime's defaults it collects dozens of times a second for nothing; with
// more room it need not, and the soft limit keeps the room within what there is.
func tuneMemory(options config.Runtime, pacer *pressure.Pacer, logger *zap.Logger) {
	limit, from := int64(options.MemoryLimit), "configuration"
	if limit == 0 {
		if limit, from = availableMemory(os.DirFS("/")); limit > 0 {
			limit = limit / 10 * 9
		}
	}
	if limit > 0 {
		limit = runtimeShare(limit, fileMemory(os.DirFS("/")))
	}
	pacer.Set(options.GCPercent, limit)
	logger.Debug("memory", zap.Int64("soft_limit_bytes", limit), zap.String("limit_from", from), zap.Int("gc_percent", options.GCPercent))
}

// runtimeShare returns what the runtime may use for the process to stay within
// limit. The runtime knows of its own memory only: the pages of the program's
// file come on top, and a thirty-second for what it overshoots. It keeps at
// least half.
func runtimeShare(limit, files int64) int64 {
	return max(limit-limit/32-files, limit/2)
}

// fileMemory returns how many bytes of files, the program's own above all, are
// resident, or 0.
func fileMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/status")
	if err != nil {
		return 0
	}
	return kilobytes(text, "RssFile:")
}

// availableMemory returns how many bytes this process may use and who says so:
// the tightest of its control groups (version 2) or the machine. It returns 0
// where neither can be read, which is no reason not to start.
func availableMemory(root fs.FS) (bytes int64, from string) {
	if bytes = groupMemory(root); bytes > 0 {
		return bytes, "control group"
	}
	return machineMemory(root), "machine"
}

// groupMemory returns the least memory.max from the process's control group
// upwards, or 0 if there is none.
func groupMemory(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(groups)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue // version 1
		}
		for dir := path.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
			text, err := fs.ReadFile(root, path.Join(dir, "memory.max"))
			if errors.Is(err, fs.ErrNotExist) {
				continue // the root group has no limit; a container may see only part of the path
			}
			limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && limit > 0 { // else "max"
				least = min(least, limit)
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// machineMemory returns MemTotal of /proc/meminfo, or 0.
func machineMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	return kilobytes(text, "MemTotal:")
}

// kilobytes returns what a file like /proc/meminfo says under a name, in bytes,
// or 0.
func kilobytes(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil || n < 0 || n > math.MaxInt64/1024 {
				return 0
			}
			return n * 1024
		}
	}
	return 0
}
