package storage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inMountNamespace runs the test again in a process of its own, where it may
// mount a small disk that nobody else sees.
func inMountNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = []string{"STORAGE_TEST_SMALL_DISK=" + t.TempDir()}
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	output, err := again.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("no mount namespace: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, output)
	case strings.Contains(string(output), "--- SKIP"):
		t.Skipf("%s", output)
	}
}

func TestFullDiskLeavesTheOldValueAndNothingElse(t *testing.T) {
	path := os.Getenv("STORAGE_TEST_SMALL_DISK")
	if path == "" {
		inMountNamespace(t)
		return
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	dir := open(t, path)
	old := newFiles(t, "old")
	old.store(t, dir, 3)
	if err := os.WriteFile(filepath.Join(path, "localca"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	for _, err := range []error{dir.Probe(t.Context()), dir.Store(t.Context(), "k", make([]byte, 16<<10))} {
		failure, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(failure.Hint(), "free space") {
			t.Errorf("got %v", err)
		}
	}
	if loaded(t, dir) != old {
		t.Error("the certificate is damaged")
	}
	if left, _ := filepath.Glob(filepath.Join(path, temporary+"*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
