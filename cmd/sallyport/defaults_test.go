package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// defaultsToken is what the library's defaults would give away.
const defaultsToken = "cfut_defaults-would-show-this-token"

// libraryDefaults is a process that uses the libraries as they come, for the
// control test: library-defaults CASE.
func libraryDefaults() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch os.Args[1] {
	case "libdns": // a Provider without an HTTP client of ours
		provider := &cloudflare.Provider{APIToken: defaultsToken}
		_, err := provider.AppendRecords(ctx, "example.test", []libdns.Record{libdns.TXT{Name: "x", Text: "y"}})
		fmt.Println(err)
	case "certmagic": // an ACMEIssuer without HTTPProxy
		storage := &certmagic.FileStorage{Path: os.Args[2]}
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, nil },
			Logger:           zap.NewNop(),
		})
		cfg := certmagic.New(cache, certmagic.Config{Storage: storage, Logger: zap.NewNop()})
		issuer := certmagic.NewACMEIssuer(cfg, certmagic.ACMEIssuer{
			CA: "https://acme.sallyport.test/dir", Email: "ops@example.test", Agreed: true, Logger: zap.NewNop(),
		})
		cfg.Issuers = []certmagic.Issuer{issuer}
		fmt.Println(cfg.ObtainCertSync(ctx, "example.test"))
	case "roots": // a client that trusts what the system trusts
		response, err := http.Get(os.Args[2])
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = response.Body.Close()
		fmt.Println("trusted:", response.Status)
	case "http2debug": // an HTTP/2 client in a process with GODEBUG=http2debug=1
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		request.Header.Set("Authorization", "Bearer "+defaultsToken)
		response, err := server.Client().Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// TestLibraryDefaultsWouldHaveFailed is the control of the poisoned
// environment tests: with the libraries' defaults the same variables do harm,
// so a test that sees no harm sees something.
func TestLibraryDefaultsWouldHaveFailed(t *testing.T) {
	tripwire, err := acmetest.StartTripwire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tripwire.Close() })

	defaults := func(t *testing.T, environment string, args ...string) string {
		t.Helper()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe)
		cmd.Args = append([]string{"library-defaults"}, args...)
		cmd.Env = []string{environment, "HOME=" + t.TempDir()}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return string(output)
	}
	for _, library := range []string{"libdns", "certmagic"} {
		t.Run(library+" uses the proxy of the environment", func(t *testing.T) {
			before := tripwire.Count()
			output := defaults(t, "HTTPS_PROXY=http://"+tripwire.Addr(), library, t.TempDir())
			if tripwire.Count() == before {
				t.Errorf("the tripwire was not touched; the library said: %s", output)
			}
		})
	}
	t.Run("crypto/x509 trusts what SSL_CERT_FILE names", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // the first client refuses it, as it should
		server.StartTLS()
		defer server.Close()
		root := filepath.Join(t.TempDir(), "root.pem")
		writeFile(t, root, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
		if output := defaults(t, "NOTHING=x", "roots", server.URL); !strings.Contains(output, "unknown authority") {
			t.Fatalf("without the variable: %s", output)
		}
		if output := defaults(t, "SSL_CERT_FILE="+root, "roots", server.URL); !strings.Contains(output, "trusted: 404") {
			t.Errorf("SSL_CERT_FILE had no effect: %s", output)
		}
	})
	t.Run("net/http prints the token for GODEBUG", func(t *testing.T) {
		if output := defaults(t, "GODEBUG=http2debug=2", "http2debug"); !strings.Contains(output, defaultsToken) {
			t.Errorf("the token was not printed: %s", output)
		}
	})
}
