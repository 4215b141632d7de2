package admin_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/admin"
)

// run serves on socket until the returned function is called.
func run(t *testing.T, socket string, health func() []string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := admin.Open(ctx, admin.Options{Socket: socket, Health: health})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("GET /v1/extra", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "extra") }))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func healthy() []string { return nil }

func TestHealth(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	var reasons atomic.Value
	reasons.Store([]string(nil))
	stop := run(t, socket, func() []string { return reasons.Load().([]string) })
	if err := admin.Health(t.Context(), socket); err != nil {
		t.Errorf("healthy: %v", err)
	}
	reasons.Store([]string{"one is down", "two is late"})
	if err := admin.Health(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "one is down; two is late") {
		t.Errorf("not healthy: %v", err)
	}
	stop()
	err := admin.Health(t.Context(), socket)
	if failed, ok := errors.AsType[*admin.Error](err); !ok || !strings.Contains(failed.Hint(), "not running") {
		t.Errorf("stopped: %v", err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestAnswersAreJSONAndEndpointsCanBeAdded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	defer run(t, socket, healthy)()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}}}
	for path, want := range map[string]string{"/v1/health": `{"status":"ok"}`, "/v1/extra": "extra"} {
		res, err := client.Get("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || strings.TrimSpace(string(b)) != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, b)
		}
	}
	if res, err := client.Post("http://x/v1/health", "", nil); err != nil || res.StatusCode != 405 {
		t.Errorf("POST: %v %v", res, err)
	}
}

func TestOnlyItsUserCanConnect(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	socket := filepath.Join(t.TempDir(), "s.sock")
	defer run(t, socket, healthy)()
	info, err := os.Lstat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close() // as kill -9 would
	defer run(t, socket, healthy)()
	if err := admin.Health(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestWhatMustNotBeReplaced(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.sock")
	defer run(t, live, healthy)()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for socket, want := range map[string]string{
		live:                               "another sallyport uses this storage",
		file:                               "not a socket",
		filepath.Join(dir, "missing", "x"): "make the directory",
		filepath.Join(dir, strings.Repeat("x", 120)): "shorter path",
	} {
		_, err := admin.Open(t.Context(), admin.Options{Socket: socket, Health: healthy})
		failed, ok := errors.AsType[*admin.Error](err)
		if !ok || !strings.Contains(failed.Error()+"\n"+failed.Hint(), want) || !strings.Contains(failed.Error(), socket) {
			t.Errorf("%s: %v", socket, err)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("a file was overwritten")
	}
	if err := admin.Health(t.Context(), live); err != nil {
		t.Errorf("the live one: %v", err)
	}
}

func TestHealthIsBoundedByItsContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket) // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := admin.Health(ctx, socket); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
