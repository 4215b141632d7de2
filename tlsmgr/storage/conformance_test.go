package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// testStorage is what certmagic.Storage promises, for any implementation.
func testStorage(t *testing.T, open func(t *testing.T) certmagic.Storage) {
	ctx := context.Background()
	store := func(t *testing.T, s certmagic.Storage, key, value string) {
		t.Helper()
		if err := s.Store(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("what was stored is loaded", func(t *testing.T) {
		s := open(t)
		for _, value := range []string{"one", "two, longer", ""} {
			store(t, s, "a/b/c", value)
			if got, err := s.Load(ctx, "a/b/c"); err != nil || string(got) != value {
				t.Errorf("loaded %q, %v; want %q", got, err, value)
			}
		}
	})
	t.Run("a missing key is ErrNotExist, and no error to delete", func(t *testing.T) {
		s := open(t)
		if _, err := s.Load(ctx, "no/such"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load: %v", err)
		}
		if _, err := s.Stat(ctx, "no/such"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat: %v", err)
		}
		if _, err := s.List(ctx, "no/such", true); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List: %v", err)
		}
		if err := s.Delete(ctx, "no/such"); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if s.Exists(ctx, "no/such") {
			t.Error("it exists")
		}
	})
	t.Run("files and directories exist and can be deleted", func(t *testing.T) {
		s := open(t)
		store(t, s, "a/b/c", "x")
		for _, key := range []string{"a", "a/b", "a/b/c"} {
			info, err := s.Stat(ctx, key)
			if !s.Exists(ctx, key) || err != nil || info.Key != key || info.IsTerminal != (key == "a/b/c") {
				t.Errorf("%s: %+v, %v", key, info, err)
			}
		}
		if err := s.Delete(ctx, "a"); err != nil || s.Exists(ctx, "a/b/c") {
			t.Errorf("after deleting the directory: %v, exists %v", err, s.Exists(ctx, "a/b/c"))
		}
	})
	t.Run("listing", func(t *testing.T) {
		s := open(t)
		for _, key := range []string{"a/b/c", "a/d", "ab/e"} {
			store(t, s, key, "x")
		}
		for recursive, want := range map[bool][]string{true: {"a/b", "a/b/c", "a/d"}, false: {"a/b", "a/d"}} {
			got, err := s.List(ctx, "a", recursive)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("recursive %v: %v, %v; want %v", recursive, got, err, want)
			}
		}
	})
	t.Run("concurrent stores leave one whole value", func(t *testing.T) {
		s := open(t)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				if err := s.Store(ctx, "k", bytes.Repeat([]byte{byte('a' + i)}, 100_000)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		value, err := s.Load(ctx, "k")
		if err != nil || len(value) != 100_000 || len(bytes.Trim(value, string(value[:1]))) != 0 {
			t.Errorf("%d bytes, %v", len(value), err)
		}
	})
	t.Run("a context that has ended is honoured", func(t *testing.T) {
		s := open(t)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Store(ended, "k", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Store: %v", err)
		}
		if _, err := s.Load(ended, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("Load: %v", err)
		}
	})
	t.Run("locks exclude, are handed on, and honour contexts", func(t *testing.T) { testLocks(t, open(t)) })
}

func testLocks(t *testing.T, s certmagic.Storage) {
	ctx := context.Background()
	inside, entered := 0, 0
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				if err := s.Lock(ctx, "name with/odd:characters"); err != nil {
					t.Error(err)
					return
				}
				if inside++; inside != 1 {
					t.Error("two are inside")
				}
				entered++
				inside--
				if err := s.Unlock(ctx, "name with/odd:characters"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if entered != 160 {
		t.Errorf("entered %d times", entered)
	}

	if err := s.Lock(ctx, "held"); err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(ctx, "other"); err != nil {
		t.Errorf("another lock: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := s.Lock(short, "held"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a held lock: %v", err)
	}
	if tries, ok := s.(certmagic.TryLocker); ok {
		if got, err := tries.TryLock(ctx, "held"); got || err != nil {
			t.Errorf("trying a held lock: %v, %v", got, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Unlock(ended, "held"); err != nil {
		t.Errorf("unlock after the context has ended: %v", err)
	}
	if err := s.Unlock(ctx, "held"); err == nil {
		t.Error("a lock was released twice")
	}
	if err := s.Lock(ctx, "held"); err != nil {
		t.Errorf("lock again: %v", err)
	}
}

func TestDirConforms(t *testing.T) {
	testStorage(t, func(t *testing.T) certmagic.Storage {
		dir, err := Open(Options{Dir: t.TempDir() + "/storage"})
		if err != nil {
			t.Fatal(err)
		}
		return dir
	})
}

func TestKeysCannotLeaveTheDirectory(t *testing.T) {
	dir, err := Open(Options{Dir: t.TempDir() + "/storage"})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../x", "a/../../x", "/etc/passwd"} {
		if err := dir.Store(t.Context(), key, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Store %q: %v", key, err)
		}
		if err := dir.Delete(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Delete %q: %v", key, err)
		}
	}
	if text := fmt.Sprint(dir); text != "storage "+dir.Path() {
		t.Errorf("it prints as %q", text)
	}
}
