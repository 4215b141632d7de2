package cloudflare

import (
	"context"
	"time"
)

// watchInterval is how often Watch reads the token sources. Reading a small
// file costs nothing next to what inotify misses: bind mounts, network file
// systems, the symbolic links of Kubernetes.
const watchInterval = 2 * time.Second

// Watch reads all token sources every 2 seconds until ctx ends, and returns its
// error. It calls changed with the credential's name after a new token took effect:
// another one, or the first good one after a failure. A source that turns bad
// or good again is logged once; the last good token stays in use.
//
// A change that happened before Watch was called counts too, and each is told
// once. changed is called from Watch's goroutine: while it runs nothing is read.
func (m *Mux) Watch(ctx context.Context, changed func(credential string)) error {
	told := make(map[*credential]int)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		for _, c := range m.credentials {
			if n := c.keeper.changed(); n > told[c] {
				told[c] = n
				changed(c.name)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
