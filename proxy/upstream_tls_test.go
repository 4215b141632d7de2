package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config"
)

// savePair writes a certificate and its key and returns where.
func savePair(t testing.TB, dir string, c *tls.Certificate) (certificate, key string) {
	t.Helper()
	certificate, key = filepath.Join(dir, "own.pem"), filepath.Join(dir, "own.key")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:         {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// guarded is a server with TLS that wants a client certificate, of an own
// authority, and is named otherwise than its address. It tells whose
// certificate it saw.
func guarded(t testing.TB, own *tls.Certificate, trusted *x509.CertPool) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Connection", "close") // each request shakes hands
		rw.Write([]byte(r.TLS.PeerCertificates[0].NotAfter.String() + " " + r.TLS.ServerName))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*own}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: trusted}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestOwnAuthorityAndClientCertificateAreReadAgainWhenTheyChange(t *testing.T) {
	own, _ := selfSigned(t)
	server := guarded(t, own, nil)
	dir := t.TempDir()
	ca, key := savePair(t, dir, own) // which is also what we show
	cfg := change(sites("a.test", server.URL), func(u *config.Upstream) {
		u.Retries.Attempts = 1
		u.TLS = &config.UpstreamTLS{CA: ca, Certificate: ca, Key: key, ServerName: "b.test"}
	})
	w := start(t, cfg)
	client := w.client(false)
	get := func() (int, string) {
		res, err := client.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body(t, res)
	}
	if status, got := get(); status != 200 || !strings.HasSuffix(got, " b.test") {
		t.Fatalf("%d %q", status, got)
	}

	// A key that does not fit is told, and the pair before it stays.
	other, _ := selfSigned(t)
	savePair(t, dir, other)
	if err := os.WriteFile(ca, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(); status != 200 {
		t.Errorf("status %d", status)
	}
	lines := w.logs.FilterMessageSnippet("TLS files").All()
	if len(lines) != 1 || lines[0].ContextMap()["hint"] == "" {
		t.Errorf("%v", lines)
	}

	// Another authority: the server's certificate is no longer trusted.
	savePair(t, dir, other)
	if status, _ := get(); status != 502 {
		t.Errorf("status %d", status)
	}
	if hint, _ := w.logged("upstream_certificate")["hint"].(string); !strings.Contains(hint, "tls.ca") {
		t.Errorf("hint %q", hint)
	}
}

func TestServerThatWantsACertificateIsNamedInTheHint(t *testing.T) {
	own, _ := selfSigned(t)
	server := guarded(t, own, nil)
	dir := t.TempDir()
	ca, _ := savePair(t, dir, own)
	w := start(t, change(sites("a.test", server.URL), func(u *config.Upstream) {
		u.TLS = &config.UpstreamTLS{CA: ca}
	}))
	res, err := w.client(false).Get("https://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	if body(t, res); res.StatusCode != 502 {
		t.Errorf("status %d", res.StatusCode)
	}
	if hint, _ := w.logged("upstream_certificate")["hint"].(string); !strings.Contains(hint, "tls.certificate") {
		t.Errorf("hint %q", hint)
	}
}
