package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// lockPoll is the pause between two tries to get a lock that another process
// holds. Within the process a released lock is handed on at once.
const lockPoll = 100 * time.Millisecond

// lockTable holds the locks of this process.
type lockTable struct {
	mu    sync.Mutex
	names map[string]*nameLock
}

// nameLock is one lock. Its place has room for one holder.
type nameLock struct {
	place chan struct{}
	users int      // who holds it or waits for it; at none it is forgotten
	file  *os.File // flocked; nil while nobody holds it
}

// Lock gets the lock of that name, waiting until its holder releases it or ctx
// ends. The lock is a flock(2) on a file: the kernel releases it when the
// process ends, however it ends.
func (d *Dir) Lock(ctx context.Context, name string) error {
	lock := d.locks.use(name)
	select {
	case lock.place <- struct{}{}:
	case <-ctx.Done():
		d.locks.leave(name)
		return ctx.Err()
	}
	for {
		file, err := d.lockFile(name)
		if err != nil {
			<-lock.place
			d.locks.leave(name)
			return err
		}
		if file != nil {
			d.locks.hold(lock, file)
			return nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			<-lock.place
			d.locks.leave(name)
			return ctx.Err()
		}
	}
}

// TryLock gets the lock of that name if nobody holds it.
func (d *Dir) TryLock(_ context.Context, name string) (bool, error) {
	lock := d.locks.use(name)
	select {
	case lock.place <- struct{}{}:
	default:
		d.locks.leave(name)
		return false, nil
	}
	file, err := d.lockFile(name)
	if file == nil {
		<-lock.place
		d.locks.leave(name)
		return false, err
	}
	d.locks.hold(lock, file)
	return true, nil
}

// Unlock releases a lock that Lock or TryLock got. It ignores ctx: a lock must
// be released whatever has ended.
func (d *Dir) Unlock(_ context.Context, name string) error {
	lock, file := d.locks.release(name)
	if lock == nil {
		return fmt.Errorf("storage %s: lock %q is not held", d.path, name)
	}
	// Remove before release: whoever opened this file meanwhile sees that it
	// is gone and starts over, so two never hold "the" lock on two files.
	err := errors.Join(os.Remove(file.Name()), file.Close())
	<-lock.place
	d.locks.leave(name)
	if err != nil {
		return d.fail("unlock", file.Name(), err)
	}
	return nil
}

// lockFile opens and flocks the file of a lock. It returns nil when another
// process holds it.
func (d *Dir) lockFile(name string) (*os.File, error) {
	path := d.files.Filename("locks/" + certmagic.StorageKeys.Safe(name) + ".lock")
	if err := os.MkdirAll(d.files.Filename("locks"), 0o700); err != nil {
		return nil, d.fail("make", path, err)
	}
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, d.fail("lock", path, err)
		}
		locked, err := flock(file)
		if err != nil || !locked {
			_ = file.Close()
			if err != nil {
				return nil, d.fail("lock", path, err)
			}
			return nil, nil
		}
		if isStill(file, path) {
			return file, nil
		}
		_ = file.Close() // its holder removed it between our open and our lock
	}
}

// isStill reports whether path is still the name of file.
func isStill(file *os.File, path string) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

func (t *lockTable) use(name string) *nameLock {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = make(map[string]*nameLock)
	}
	lock := t.names[name]
	if lock == nil {
		lock = &nameLock{place: make(chan struct{}, 1)}
		t.names[name] = lock
	}
	lock.users++
	return lock
}

func (t *lockTable) leave(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lock := t.names[name]
	if lock.users--; lock.users == 0 {
		delete(t.names, name)
	}
}

// hold notes the file of a lock that was got.
func (t *lockTable) hold(lock *nameLock, file *os.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lock.file = file
}

// release returns the lock of that name and its file if it is held, else nil.
func (t *lockTable) release(name string) (*nameLock, *os.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lock := t.names[name]
	if lock == nil || lock.file == nil {
		return nil, nil
	}
	file := lock.file
	lock.file = nil
	return lock, file
}
