package static

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// lookAfter is how often it is asked whether the folder's path leads to another
// folder by now.
const lookAfter = time.Second

// folder opens names below a folder. The handle is held only while a name is
// being opened: files that are open do not need it.
type folder struct {
	path string

	mu      sync.RWMutex
	root    *os.Root
	info    fs.FileInfo  // of root
	checked atomic.Int64 // when, in Unix nanoseconds
	closed  bool
}

// open opens a name for reading. It never waits for a writer at the other end
// of a pipe.
func (f *folder) open(name string) (file *os.File, info fs.FileInfo, err error) {
	err = f.use(func(root *os.Root) (err error) {
		file, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if info, err = file.Stat(); err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func (f *folder) stat(name string) (info fs.FileInfo, err error) {
	err = f.use(func(root *os.Root) (err error) {
		info, err = root.Stat(name)
		return err
	})
	return info, err
}

// use calls do with the handle of the folder.
func (f *folder) use(do func(*os.Root) error) error {
	f.mu.RLock()
	for range 2 {
		if f.root != nil && time.Now().UnixNano()-f.checked.Load() < int64(lookAfter) {
			break
		}
		f.mu.RUnlock()
		err := f.look()
		f.mu.RLock()
		if err != nil {
			f.mu.RUnlock()
			return fmt.Errorf("%w: %w", errRoot, err)
		}
		if f.closed {
			break
		}
	}
	defer f.mu.RUnlock()
	if f.root != nil {
		return do(f.root)
	}
	root, err := os.OpenRoot(f.path) // closed already: for the last requests
	if err != nil {
		return fmt.Errorf("%w: %w", errRoot, err)
	}
	defer root.Close()
	return do(root)
}

// look opens the folder, again if its path leads elsewhere by now. While the
// path leads nowhere, as when a link is being replaced, the handle is kept.
func (f *folder) look() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().UnixNano()
	if f.closed || f.root != nil && now-f.checked.Load() < int64(lookAfter) {
		return nil // somebody else has looked
	}
	info, err := os.Stat(f.path)
	if f.root != nil && (err != nil || os.SameFile(info, f.info)) {
		f.checked.Store(now)
		return nil
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return err
	}
	if info, err = root.Stat("."); err != nil {
		_ = root.Close()
		return err
	}
	if f.root != nil {
		_ = f.root.Close()
	}
	f.root, f.info = root, info
	f.checked.Store(now)
	return nil
}

func (f *folder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.root != nil {
		_ = f.root.Close()
		f.root = nil
	}
}

// classify says what an error of the file system means, nil if it is none of
// the usual ones.
func classify(err error) *exchange.Refusal {
	number, known := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errAbsent
	case errors.Is(err, fs.ErrPermission):
		return errForbidden
	case !known:
		return errOutside // the only error that os.Root makes itself
	}
	switch number {
	case syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL, syscall.EILSEQ:
		return errAbsent
	case syscall.ENXIO, syscall.ENODEV:
		return errKind // a socket
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return errBusy
	}
	return nil
}
