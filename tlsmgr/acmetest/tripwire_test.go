package acmetest_test

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// childURL is the variable that makes TestTripwire's child process fetch a URL.
const childURL = "ACMETEST_FETCH"

// TestTripwireIsHitByDefaults is the control of every test that finds the tripwire untouched: a client with Go's
// defaults does go to it, for a name, and does not for a loopback address. net/http reads proxy variables once per
// process, hence the children.
func TestTripwireIsHitByDefaults(t *testing.T) {
	if target := os.Getenv(childURL); target != "" {
		resp, err := http.Get(target)
		if err == nil {
			resp.Body.Close()
		}
		t.Logf("fetched %s: %v", target, err)
		return
	}
	w := start(t, acmetest.Options{})
	wire, err := acmetest.StartTripwire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	})
	fetch := func(target string) {
		t.Helper()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTripwireIsHitByDefaults$", "-test.v")
		child.Env = []string{childURL + "=" + target, "HTTPS_PROXY=" + wire.URL(), "HTTP_PROXY=" + wire.URL()}
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "fetched "+target) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	fetch(strings.Replace(w.DirectoryURL, "acme.sallyport.test", "127.0.0.1", 1))
	if n := wire.Count(); n != 0 {
		t.Errorf("%d connections for a loopback address, want 0: then a World on bare addresses would do", n)
	}
	fetch(w.DirectoryURL)
	if n := wire.Count(); n != 1 {
		t.Errorf("%d connections for a name, want 1", n)
	}
	if resp, err := w.HTTPClient().Get(w.DirectoryURL); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	if n := wire.Count(); n != 1 {
		t.Errorf("%d connections after the World's own client, want 1", n)
	}
}
