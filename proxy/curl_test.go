package proxy_test

import (
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCurlFetchesOverEachVersion uses the client that people try a proxy with.
// HTTP/3 needs a curl that was built with it; quic-go's client is always there,
// see TestHTTP3ReachesAServerLikeTheOthers.
func TestCurlFetchesOverEachVersion(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip(err)
	}
	features, err := exec.CommandContext(t.Context(), curl, "--version").Output()
	if err != nil {
		t.Skip(err)
	}
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Seen", r.Method+" "+r.Header.Get("X-Forwarded-Proto"))
		http.ServeContent(rw, r, "large.txt", time.Time{}, strings.NewReader(strings.Repeat("0123456789", 100_000)))
	}))))
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(w.https)
	for _, c := range []struct{ flag, version, needs string }{
		{"--http1.1", "1.1", ""},
		{"--http2", "2", "HTTP2"},
		{"--http3-only", "3", "HTTP3"},
	} {
		t.Run(c.flag, func(t *testing.T) {
			if !strings.Contains(string(features), c.needs) {
				t.Skipf("this curl was built without %s", c.needs)
			}
			command := exec.CommandContext(t.Context(), curl, "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", c.flag,
				"--cacert", root, "--resolve", "a.test:"+port+":127.0.0.1", "--output", "-",
				"--write-out", "\n%{http_version} %{response_code} %{size_download} %{ssl_verify_result} %header{x-seen}", "https://a.test:"+port+"/large.txt")
			command.Env = []string{} // nor by a variable
			out, err := command.CombinedOutput()
			at := strings.LastIndexByte(string(out), '\n') + 1
			if want := c.version + " 200 1000000 0 GET https"; err != nil || string(out[at:]) != want {
				t.Errorf("%q rather than %q, %v", out[at:], want, err)
			}
		})
	}
}
