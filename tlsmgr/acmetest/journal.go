package acmetest

import (
	"context"
	"fmt"
	"sync"
)

// journal records what happened, in order, and lets others wait for it. The zero value is an empty journal.
type journal[T any] struct {
	mu      sync.Mutex
	entries []*T
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// add appends an entry. What it returns may be changed later, through update only.
func (j *journal[T]) add(entry T) *T {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, &entry)
	j.notify()
	return &entry
}

// update changes an entry under the lock. The entry may have been dropped by reset in the meantime.
func (j *journal[T]) update(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
	j.notify()
}

func (j *journal[T]) notify() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// all returns a copy of the entries.
func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.copied()
}

func (j *journal[T]) copied() []T {
	entries := make([]T, len(j.entries))
	for i, e := range j.entries {
		entries[i] = *e
	}
	return entries
}

// reset forgets all entries.
func (j *journal[T]) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
}

// wait returns nil once some entry, old or new, satisfies match, and ctx's error when ctx ends before. match runs
// without the lock, so it may call the journal's owner.
func (j *journal[T]) wait(ctx context.Context, match func(T) bool) error {
	for {
		j.mu.Lock()
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed, entries := j.changed, j.copied()
		j.mu.Unlock()

		for _, e := range entries {
			if match(e) {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain, %d recorded and none matches: %w", len(entries), ctx.Err())
		}
	}
}
