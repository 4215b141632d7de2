package storage

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func open(t *testing.T, path string) *Dir {
	t.Helper()
	dir, err := Open(Options{Dir: path})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are the three of a certificate.
type files struct{ key, certificate, metadata string }

const base = "certificates/ca/app.example.com/app.example.com"

func newFiles(t *testing.T, metadata string) files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano())}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return files{
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		metadata:    metadata,
	}
}

// steps are the stores that certmagic makes, in its order.
func (f files) steps() [][2]string {
	return [][2]string{{base + ".key", f.key}, {base + ".crt", f.certificate}, {base + ".json", f.metadata}}
}

func (f files) store(t *testing.T, dir *Dir, steps int) {
	t.Helper()
	for _, step := range f.steps()[:steps] {
		if err := dir.Store(t.Context(), step[0], []byte(step[1])); err != nil {
			t.Fatal(err)
		}
	}
}

// loaded returns what the storage has now.
func loaded(t *testing.T, dir *Dir) files {
	t.Helper()
	load := func(ext string) string {
		value, err := dir.Load(t.Context(), base+ext)
		if err != nil {
			t.Errorf("load %s: %v", ext, err)
		}
		return string(value)
	}
	return files{load(".key"), load(".crt"), load(".json")}
}

func TestCrashBetweenStoresLeavesAMatchingPair(t *testing.T) {
	for steps := range 4 {
		path := filepath.Join(t.TempDir(), "storage")
		old, renewed, third := newFiles(t, "old"), newFiles(t, "renewed"), newFiles(t, "third")
		old.store(t, open(t, path), 3)
		renewed.store(t, open(t, path), steps) // and the process dies
		want := old
		if steps >= 2 {
			want = renewed
			if steps == 2 {
				want.metadata = "old"
			}
		}
		after := open(t, path)
		got := loaded(t, after)
		if got != want {
			t.Errorf("after %d steps: loaded key %v, certificate %v of the renewed one, metadata %q",
				steps, got.key == renewed.key, got.certificate == renewed.certificate, got.metadata)
		}
		if _, err := tls.X509KeyPair([]byte(got.certificate), []byte(got.key)); err != nil {
			t.Errorf("after %d steps: %v", steps, err)
		}
		third.store(t, after, 3) // the next renewal
		if loaded(t, after) != third {
			t.Errorf("after %d steps and another renewal: not the newest", steps)
		}
		if left, _ := filepath.Glob(filepath.Join(path, base+"*"+previous)); len(left) != 0 {
			t.Errorf("after %d steps and another renewal: %v are left", steps, left)
		}
	}
}

func TestTakingBackAFailedRenewalBringsThePreviousBack(t *testing.T) {
	for steps := 1; steps <= 2; steps++ {
		dir := open(t, filepath.Join(t.TempDir(), "storage"))
		old, renewed := newFiles(t, "old"), newFiles(t, "renewed")
		old.store(t, dir, 3)
		renewed.store(t, dir, steps)
		// The next store failed, and certmagic deletes what it has stored.
		for i := steps - 1; i >= 0; i-- {
			if err := dir.Delete(t.Context(), renewed.steps()[i][0]); err != nil {
				t.Fatal(err)
			}
		}
		if loaded(t, dir) != old {
			t.Errorf("taken back after %d steps: the previous certificate is lost", steps)
		}
		for _, step := range old.steps() {
			if !dir.Exists(t.Context(), step[0]) {
				t.Errorf("taken back after %d steps: %s does not exist", steps, step[0])
			}
		}
		keys, err := dir.List(t.Context(), "certificates", true)
		if err != nil || strings.Contains(strings.Join(keys, " "), previous) {
			t.Errorf("listing shows the inner life: %v, %v", keys, err)
		}
	}
}

func TestCompletedRenewalKeepsNoOldKey(t *testing.T) {
	dir := open(t, filepath.Join(t.TempDir(), "storage"))
	old, renewed := newFiles(t, "old"), newFiles(t, "renewed")
	old.store(t, dir, 3)
	renewed.store(t, dir, 3)
	err := filepath.WalkDir(dir.Path(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if string(content) == old.key {
			t.Errorf("the old key is still in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPermissionsAreEnforcedAndRepaired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "storage")
	dir := open(t, path)
	if err := dir.Store(t.Context(), "acme/ca/users/key", []byte("x")); err != nil {
		t.Fatal(err)
	}
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	check := func(when string) {
		for name, want := range map[string]fs.FileMode{".": 0o700, "acme": 0o700, "acme/ca/users/key": 0o600} {
			if got := mode(name); got != want {
				t.Errorf("%s: %s has mode %04o, want %04o", when, name, got, want)
			}
		}
	}
	check("made")
	for name, mode := range map[string]fs.FileMode{"": 0o755, "acme": 0o755, "acme/ca/users/key": 0o644} {
		if err := os.Chmod(filepath.Join(path, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	core, logs := observer.New(zap.WarnLevel)
	if _, err := Open(Options{Dir: path, Logger: zap.New(core)}); err != nil {
		t.Fatal(err)
	}
	check("repaired")
	if logs.Len() != 2 {
		t.Errorf("%d lines about the repair, want one for the directory and one for its files: %v", logs.Len(), logs.All())
	}
}

func TestDirectoryThatIsNotOursAloneIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tmp")
	if err := os.MkdirAll(filepath.Join(path, "somebody's"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: path})
	failure, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(failure.Hint(), "chmod 700") {
		t.Fatalf("got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its mode was changed to %v", info.Mode())
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := errors.Join(os.Mkdir(theirs, 0o755), os.Chown(theirs, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: theirs}); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("a directory of another user: %v", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := open(t, filepath.Join(t.TempDir(), "storage"))
	for cause, want := range map[error]string{
		syscall.EROFS:  "mount",
		syscall.ENOSPC: "free space",
		syscall.EDQUOT: "free space",
		syscall.EACCES: "chown",
	} {
		err := dir.fail("write", "file", &fs.PathError{Op: "open", Path: "secret-temp-name", Err: cause})
		failure, ok := errors.AsType[*Error](err)
		if !ok || !strings.Contains(failure.Hint(), want) || !strings.Contains(failure.Hint(), dir.Path()) {
			t.Errorf("%v: hint %q does not say %q", cause, failure.Hint(), want)
		}
		if !errors.Is(err, cause) || strings.Contains(err.Error(), "temp") {
			t.Errorf("%v: error %q", cause, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), "certificates"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := dir.Store(t.Context(), base+".key", []byte("x"))
	if failure, ok := errors.AsType[*Error](err); !ok || failure.Hint() == "" {
		t.Errorf("a file where a directory belongs: %v", err)
	}
}

func TestAbandonedTemporaryFilesAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "storage")
	open(t, path)
	folder := filepath.Join(path, "certificates")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "young": time.Minute} {
		file := filepath.Join(folder, temporary+name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	open(t, path)
	left, _ := filepath.Glob(filepath.Join(folder, temporary+"*"))
	if len(left) != 1 || filepath.Base(left[0]) != temporary+"young" {
		t.Errorf("left: %v", left)
	}
}

// TestMain also plays the process that holds a lock and is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORAGE_TEST_HOLD_LOCK"); path != "" {
		dir, err := Open(Options{Dir: path})
		if err == nil {
			err = dir.Lock(context.Background(), "job")
		}
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		println("locked")
		select {}
	}
	os.Exit(m.Run())
}

func TestLockOfAKilledProcessIsFreeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "storage")
	dir := open(t, path)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(self)
	holder.Env = []string{"STORAGE_TEST_HOLD_LOCK=" + path}
	said, err := holder.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if got, err := dir.TryLock(t.Context(), "job"); got || err != nil {
		t.Errorf("got a lock that another process holds: %v, %v", got, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := dir.Lock(short, "job"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for another process: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	start := time.Now()
	if err := dir.Lock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the lock of a killed process took %v", took)
	}
	if err := dir.Unlock(t.Context(), "job"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(path, "locks", "*")); len(left) != 0 {
		t.Errorf("lock files left: %v", left)
	}
}
