package localca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	authority, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func TestLeavesAreTrustedThroughTheRoot(t *testing.T) {
	authority := open(t, filepath.Join(t.TempDir(), "localca"))
	content, err := os.ReadFile(authority.RootPath())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		t.Fatal("root.pem holds no certificate")
	}
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".localhost"
	certificate, err := authority.Issue("localhost", "*.localhost", long)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "app.localhost", long} {
		if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "a.b.localhost"}); err == nil {
		t.Error("it is good for two labels below the wildcard")
	}
	if _, err := authority.Issue(); err == nil {
		t.Error("a certificate without a name")
	}
	other := open(t, filepath.Join(t.TempDir(), "localca"))
	if !authority.Signed(certificate.Leaf) || other.Signed(certificate.Leaf) {
		t.Error("it is not told who has signed")
	}
}

func TestRootIsMadeOnceAndKeptPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage", "localca")
	var group sync.WaitGroup
	for range 8 { // as several processes that start together
		group.Go(func() {
			if _, err := Open(Options{Dir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	first := open(t, dir).Root()
	if !open(t, dir).Root().Equal(first) {
		t.Error("another root at the second start")
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "root.key": 0o600, "root.pem": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, %v; want %04o", name, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".new*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnusableRootIsNeverReplaced(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	open(t, other)
	otherKey, err := os.ReadFile(filepath.Join(other, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(dir string) error{
		"damaged certificate": func(dir string) error { return os.WriteFile(filepath.Join(dir, "root.pem"), []byte("x"), 0o644) },
		"damaged key":         func(dir string) error { return os.WriteFile(filepath.Join(dir, "root.key"), []byte("x"), 0o600) },
		"another key":         func(dir string) error { return os.WriteFile(filepath.Join(dir, "root.key"), otherKey, 0o600) },
		"no key":              func(dir string) error { return os.Remove(filepath.Join(dir, "root.key")) },
		"no certificate":      func(dir string) error { return os.Remove(filepath.Join(dir, "root.pem")) },
		"key open to others":  func(dir string) error { return os.Chmod(filepath.Join(dir, "root.key"), 0o644) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "localca")
			open(t, dir)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			_, err := Open(Options{Dir: dir})
			failure, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(failure.Hint(), dir) || !strings.Contains(failure.Error(), "root.") {
				t.Errorf("got %v", err)
			}
			if after := contents(t, dir); !bytes.Equal(before, after) {
				t.Error("the files were changed")
			}
		})
	}
}

// contents returns what is in the files of a directory, one after the other.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, file...), content...)
	}
	return all
}

func TestNothingOutlivesTheRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "localca")
	synctest.Test(t, func(t *testing.T) {
		authority := open(t, dir)
		time.Sleep(RootLifetime - 24*time.Hour) // synctest's time
		certificate, err := authority.Issue("localhost")
		if err != nil {
			t.Fatal(err)
		}
		if end := certificate.Leaf.NotAfter; end.After(authority.Root().NotAfter) {
			t.Errorf("a leaf until %v, the root ends %v", end, authority.Root().NotAfter)
		}
		time.Sleep(48 * time.Hour)
		if _, err := authority.Issue("localhost"); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("issued with an expired root: %v", err)
		}
		if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("opened an expired root: %v", err)
		}
	})
}
