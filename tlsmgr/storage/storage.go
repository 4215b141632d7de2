package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Options is what a storage needs.
type Options struct {
	// Dir is the directory. It is made, with its parents, when missing.
	Dir string

	// Logger gets a line when permissions had to be repaired. Nil logs
	// nothing.
	Logger *zap.Logger
}

// Dir is a certmagic.Storage in a directory. Several goroutines and several
// processes may use one directory at once.
type Dir struct {
	path   string
	files  certmagic.FileStorage
	logger *zap.Logger
	locks  lockTable

	// replacing orders the steps by which a certificate's files are replaced,
	// so that no reader of this process sees a state between two of them.
	// Another process is kept out by the lock that certmagic takes per name.
	// There are several, chosen by hash, because a sync to disk takes long.
	replacing [64]sync.RWMutex
	seed      maphash.Seed
}

var (
	_ certmagic.Storage   = (*Dir)(nil)
	_ certmagic.TryLocker = (*Dir)(nil)
)

// Open prepares the directory: makes it when missing, makes sure that only its
// owner can enter, and removes half-written files of killed processes.
//
// A directory or file of our own that others can read is repaired and the
// repair is logged; a directory of somebody else that everybody can enter is
// refused, because we can neither mend nor trust it. What cannot be mended because
// the file system is read-only is logged: what it has can be served.
func Open(options Options) (*Dir, error) {
	if options.Dir == "" {
		return nil, errors.New("storage: no directory given")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("storage %s: %w", options.Dir, err)
	}
	logger := options.Logger
	if logger == nil {
		logger = zap.NewNop()
	}
	d := &Dir{path: dir, files: certmagic.FileStorage{Path: dir}, logger: logger, seed: maphash.MakeSeed()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, d.fail("make", dir, err)
	}
	if err := d.secure(); err != nil {
		return nil, err
	}
	if err := d.tidy(); err != nil {
		return nil, err
	}
	return d, nil
}

// Path returns the directory, absolute.
func (d *Dir) Path() string { return d.path }

// String names the storage in logs.
func (d *Dir) String() string { return "storage " + d.path }

// Writable returns why nothing can be written, by permissions and mounts. It
// writes nothing; [Dir.Probe] does.
func (d *Dir) Writable() error {
	for _, dir := range []string{d.path, d.files.Filename("certificates")} {
		if err := writable(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.fail("write", dir, err)
		}
	}
	return nil
}

// Probe writes, reads and removes a file, so that a full disk or a read-only
// mount is found before a certificate is ordered rather than when it has to be
// kept.
func (d *Dir) Probe(ctx context.Context) error {
	key := "probe-" + rand.Text()
	value := make([]byte, 16<<10) // about what a certificate with its key and metadata takes
	if err := d.Store(ctx, key, value); err != nil {
		return err
	}
	if _, err := d.Load(ctx, key); err != nil {
		return errors.Join(err, d.Delete(ctx, key))
	}
	return d.Delete(ctx, key)
}

// Store puts value at key: whole or, on error, not at all. It has reached the
// disk when Store returns.
func (d *Dir) Store(ctx context.Context, key string, value []byte) error {
	file, err := d.file(ctx, key)
	if err != nil {
		return err
	}
	site, ok := siteOf(key)
	if !ok {
		return d.write(file, value)
	}
	lock := d.lockOf(site)
	lock.Lock()
	defer lock.Unlock()
	return d.storeSite(site, key, value)
}

// Load returns the value at key; the error wraps fs.ErrNotExist when there is
// none. Of a certificate that is half replaced it returns the previous one's
// file.
func (d *Dir) Load(ctx context.Context, key string) ([]byte, error) {
	file, err := d.file(ctx, key)
	if err != nil {
		return nil, err
	}
	if site, ok := siteOf(key); ok {
		lock := d.lockOf(site)
		lock.RLock()
		defer lock.RUnlock()
		file = d.current(site, key)
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return nil, d.fail("read", file, err)
	}
	return value, nil
}

// Delete removes key and, if it is a directory, everything below it. A key
// that does not exist is no error.
//
// Taking back a half replaced certificate, as certmagic does when a later file
// of it could not be stored, brings the previous one back instead.
func (d *Dir) Delete(ctx context.Context, key string) error {
	file, err := d.file(ctx, key)
	if err != nil {
		return err
	}
	if site, ok := siteOf(key); ok {
		lock := d.lockOf(site)
		lock.Lock()
		defer lock.Unlock()
	}
	if err := os.RemoveAll(file); err != nil {
		return d.fail("remove", file, err)
	}
	return nil
}

// Exists reports whether there is a file or a directory at key.
func (d *Dir) Exists(ctx context.Context, key string) bool {
	_, err := d.Stat(ctx, key)
	return err == nil
}

// Stat returns what is known about key; the error wraps fs.ErrNotExist when
// there is none.
func (d *Dir) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	file, err := d.file(ctx, key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	if site, ok := siteOf(key); ok {
		lock := d.lockOf(site)
		lock.RLock()
		defer lock.RUnlock()
		file = d.current(site, key)
	}
	info, err := os.Stat(file)
	if err != nil {
		return certmagic.KeyInfo{}, d.fail("stat", file, err)
	}
	return certmagic.KeyInfo{
		Key:        key,
		Modified:   info.ModTime(),
		Size:       info.Size(),
		IsTerminal: !info.IsDir(),
	}, nil
}

// List returns the keys below prefix: all of them if recursive, else those
// directly below. The error wraps fs.ErrNotExist when there is no such prefix.
func (d *Dir) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	dir, err := d.file(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all, err := d.files.List(ctx, prefix, recursive)
	if err != nil {
		return nil, d.fail("list", dir, err)
	}
	keys := all[:0]
	for _, key := range all {
		if base := path.Base(key); !strings.HasPrefix(base, temporary) && !strings.HasSuffix(base, previous) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (d *Dir) lockOf(s site) *sync.RWMutex {
	return &d.replacing[maphash.String(d.seed, string(s))%uint64(len(d.replacing))]
}

// file returns the path of key's file, and an error for a key that would leave
// the directory or a context that has ended.
func (d *Dir) file(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if key == "" {
		return d.path, nil
	}
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return "", fmt.Errorf("storage %s: key %q: %w", d.path, key, fs.ErrInvalid)
	}
	return d.files.Filename(key), nil
}
