package reread_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/middleware/reread"
)

func parse(text []byte) (string, error) {
	if strings.HasPrefix(string(text), "bad") {
		return "", errors.New("line 1 is bad")
	}
	return string(text), nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsReadAgainWhenItChangesAndABadOneChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, "one")
		var told []error
		f, err := reread.Open(path, parse, func(err error) { told = append(told, err) })
		if err != nil {
			t.Fatal(err)
		}
		expect := func(what, content string, changes int) {
			t.Helper()
			if got := *f.Get(); got != content || len(told) != changes {
				t.Errorf("%s: %q after %d changes, want %q after %d", what, got, len(told), content, changes)
			}
		}
		expect("at first", "one", 0)
		write(t, path, "two and more")
		expect("within a second", "one", 0)
		time.Sleep(time.Second)
		expect("after a second", "two and more", 1)
		write(t, path, "bad")
		time.Sleep(time.Second)
		expect("bad", "two and more", 2)
		if told[1] == nil || !strings.Contains(told[1].Error(), path+": line 1 is bad") {
			t.Errorf("told %v", told[1])
		}
		time.Sleep(time.Minute)
		expect("still bad", "two and more", 2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("gone", "two and more", 3)
		time.Sleep(time.Minute)
		expect("still gone", "two and more", 3)
		write(t, path, "three")
		time.Sleep(time.Second)
		expect("back", "three", 4)
		if told[3] != nil {
			t.Errorf("told %v", told[3])
		}
	})
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad")
	write(t, bad, "bad")
	for path, want := range map[string]string{
		pipe: "not a regular file", dir: "not a regular file", filepath.Join(dir, "none"): "no such file", bad: "line 1 is bad",
	} {
		if _, err := reread.Open(path, parse, nil); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
