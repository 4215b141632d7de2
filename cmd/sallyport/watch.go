package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"syscall"
	"time"
)

// watchEvery is how often files are looked at that `watch: true` is about. Twice
// the same, and other than what was loaded, is a change that is complete. A look
// is a stat of each file, which works on every file system and through every
// mount; notifications do not.
const watchEvery = time.Second

// watch reloads when the configuration file or a file that it names changes, as
// long as the configuration wants that. It returns when ctx ends.
func (c *control) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var w watcher
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		cfg := c.edge.current()
		if !cfg.Watch || cfg.File() == "" {
			w = watcher{}
			continue
		}
		if w.look(append(cfg.Files(), cfg.File())) && ctx.Err() == nil {
			c.logger.Info("a watched file changed")
			c.reload(ctx)
		}
	}
}

// watcher tells changes of files that are complete.
type watcher struct {
	known, seen map[string]string
}

// look reports whether a change is complete. The first look knows of none, and
// files that are new to the list are as they should be.
func (w *watcher) look(paths []string) bool {
	now := make(map[string]string, len(paths))
	for _, path := range paths {
		now[path] = signature(path)
	}
	if w.known == nil {
		w.known, w.seen = now, now
		return false
	}
	settled := maps.Equal(now, w.seen)
	w.seen = now
	if !settled {
		return false
	}
	changed := false
	for path, is := range now {
		was, had := w.known[path]
		changed = changed || had && was != is
	}
	w.known = now
	return changed
}

// signature is another one when a file has changed. What is inside of a
// directory is not looked at.
func signature(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "missing"
	case info.IsDir():
		return "directory"
	}
	return fmt.Sprintf("%d %d %v", info.ModTime().UnixNano(), info.Size(), identity(info))
}

// identity tells files apart that have the same name one after the other.
func identity(info os.FileInfo) any {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint64{stat.Ino, uint64(stat.Dev)}
	}
	return nil
}
