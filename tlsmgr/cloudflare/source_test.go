package cloudflare

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"crypto/x509"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/config/secret"
)

func writeToken(t *testing.T, path, content string) {
	t.Helper()
	// As deployments do it: whole, under another name, then renamed.
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFileReadsTokenAnewAndFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "token"), filepath.Join(dir, "link")
	if err := os.Symlink("token", link); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{sampleToken, sampleUser} {
		writeToken(t, path, want+"\n")
		for _, p := range []string{path, link} {
			if token, err := File(p).Read(); err != nil || token.Reveal() != want {
				t.Errorf("%s: got %q, %v", p, token.Reveal(), err)
			}
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := File(path).Read(); err != nil {
		t.Errorf("a file that its group may read was refused: %v", err)
	}
}

func TestFileRefusals(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	make := func(name, content string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	make("world", sampleToken, 0o644)
	make("writable", sampleToken, 0o602)
	make("empty", "", 0o600)
	make("large", strings.Repeat("x", 1<<20), 0o600)
	make("quoted", `"`+sampleToken+`"`, 0o600)
	if err := errors.Join(os.Mkdir(at("dir"), 0o700), syscall.Mkfifo(at("fifo"), 0o600),
		os.Symlink("nowhere", at("dangling")), os.Symlink("loop", at("loop"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reason, hint string
		is           error
	}{
		"missing":  {"does not exist", "create it with the API token in it and chmod 600 it; in a container, check that the secret is mounted there", fs.ErrNotExist},
		"dangling": {"does not exist", "create it with the API token in it and chmod 600 it; in a container, check that the secret is mounted there", fs.ErrNotExist},
		"loop":     {"cannot be read: too many levels of symbolic links", "check the path and the file system it is on", syscall.ELOOP},
		"dir":      {"is a directory", "name the file in it that holds the API token", nil},
		"fifo":     {"is not a regular file", "put the API token into a regular file (a pipe can be read only once, and the token is read at every use)", nil},
		"world":    {"is readable by every user (mode 0644)", "chmod 600 it (Kubernetes secrets: defaultMode: 0400; Docker swarm secrets: mode: 0400)", nil},
		"writable": {"is writable by every user (mode 0602)", "chmod 600 it", nil},
		"large":    {"is larger than 4 KiB, so it is not a token file", "point it at the file that holds the API token and nothing else", nil},
		"empty":    {"is empty", "put the API token in it; tokens are made at " + tokenPage, nil},
		"quoted":   {"holds quotes", "write the token without quotes", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := File(at(name)).Read()
			if err == nil {
				t.Fatal("accepted")
			}
			if want := "token_file " + at(name) + ": " + c.reason; err.Error() != want {
				t.Errorf("error\n got %s\nwant %s", err, want)
			}
			if Hint(err) != c.hint {
				t.Errorf("hint\n got %s\nwant %s", Hint(err), c.hint)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("errors.Is(err, %v) is false", c.is)
			}
		})
	}
}

// Tests may run as root, whom no file refuses to be read.
func TestFileErrorOfPermission(t *testing.T) {
	err := fileError(&fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission})
	if !strings.HasPrefix(err.Error(), "token cannot be read by this process (user id ") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if want := "make that user its owner (chown) or give it read permission through its group, and check the folders above it"; Hint(err) != want {
		t.Errorf("hint %q", Hint(err))
	}
}

func TestInlineTokenKeepsTheSameRules(t *testing.T) {
	if token, err := Inline(secret.New(sampleUser)).Read(); err != nil || token.Reveal() != sampleUser {
		t.Errorf("got %q, %v", token.Reveal(), err)
	}
	_, err := Inline(secret.New(sampleHex)).Read()
	if want := "inline token: is a Global API Key, which opens the whole account"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// watched makes a Mux with one credential "main" on a token file.
func watched(t *testing.T, path string) (*Mux, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	m, err := New(Options{
		Credentials: []Credential{{Name: "main", Zones: []string{"example.com"}, Source: File(path), Roots: x509.NewCertPool()}},
		Resolver:    new(net.Resolver),
		Journal:     new(MemoryJournal),
		Logger:      zap.New(core),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, logs
}

func messages(logs *observer.ObservedLogs) []string {
	var all []string
	for _, e := range logs.TakeAll() {
		all = append(all, e.Message)
	}
	return all
}

func TestWatchTellsEachNewTokenOnceAndKeepsTheLastGoodOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	writeToken(t, path, sampleToken)
	synctest.Test(t, func(t *testing.T) {
		m, logs := watched(t, path)
		var told int
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- m.Watch(ctx, func(name string) {
				if name != "main" {
					t.Errorf("told about %q", name)
				}
				told++
			})
		}()
		// rounds lets three of Watch's rounds pass.
		rounds := func() { _ = sleep(t.Context(), 3*watchInterval); synctest.Wait() }
		expect := func(step, token string, changes int, wantLogs ...string) {
			t.Helper()
			rounds()
			got, err := m.credentials[0].keeper.token()
			if err != nil || got.Reveal() != token {
				t.Errorf("%s: token %q, %v", step, got.Reveal(), err)
			}
			if told != changes {
				t.Errorf("%s: told %d times, want %d", step, told, changes)
			}
			if said := messages(logs); strings.Join(said, "|") != strings.Join(wantLogs, "|") {
				t.Errorf("%s: logged %q, want %q", step, said, wantLogs)
			}
		}
		expect("start", sampleToken, 0)
		writeToken(t, path, sampleUser)
		expect("changed", sampleUser, 1, "token changed")
		writeToken(t, path, "")
		expect("emptied", sampleUser, 1, "new token cannot be used; the last good one stays in use")
		writeToken(t, path, `"quoted"`)
		expect("quoted", sampleUser, 1, "new token cannot be used; the last good one stays in use")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("removed", sampleUser, 1, "new token cannot be used; the last good one stays in use")
		writeToken(t, path, sampleUser)
		expect("restored", sampleUser, 1, "token can be read again; it is the same as before")
		writeToken(t, path, sampleAccount)
		expect("changed again", sampleAccount, 2, "token changed")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
}

// Names that failed for want of a token wait for this call.
func TestWatchTellsTheFirstGoodTokenAfterAFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		m, logs := watched(t, path)
		_, err := m.credentials[0].to(m, "example.com")
		if want := `credential "main": token_file ` + path + ": does not exist"; err == nil || err.Error() != want {
			t.Fatalf("got %v, want %s", err, want)
		}
		writeToken(t, path, sampleToken) // before Watch is called
		told := make(chan string, 10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = m.Watch(ctx, func(name string) { told <- name }) }()
		_ = sleep(ctx, 5*watchInterval)
		synctest.Wait()
		if len(told) != 1 {
			t.Errorf("told %d times, want once", len(told))
		}
		if said := messages(logs); strings.Join(said, "|") != "token can be used now" {
			t.Errorf("logged %q", said)
		}
	})
}
