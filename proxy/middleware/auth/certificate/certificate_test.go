package certificate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/auth/certificate"
)

func sign(t *testing.T, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(255)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func authority(t *testing.T, name string) *x509.Certificate {
	return sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(1000 * time.Hour)})
}

func write(t *testing.T, path, kind string, list ...*x509.Certificate) string {
	t.Helper()
	var text []byte
	for _, c := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: c.Raw})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask sends a request over a connection on which these chains were verified; nil
// is one without TLS.
func ask(h http.Handler, chains *[][]*x509.Certificate) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Subject", "CN=admin")
	if r.TLS = nil; chains != nil {
		r.TLS = &tls.ConnectionState{VerifiedChains: *chains}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, exchange.With(r, exchange.New(r)))
	return w
}

var tell = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s", exchange.Of(r).User, r.Header["X-Subject"])
})

func TestAConnectionThatIsNoLongerGoodEnoughIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ca.pem")
		old, next := authority(t, "old"), authority(t, "next")
		write(t, path, "CERTIFICATE", old)
		leaf := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ann"}, NotAfter: time.Now().Add(time.Hour)})
		chains := &[][]*x509.Certificate{{leaf, old}}
		gate := func(require bool) (*certificate.Gate, http.Handler) {
			g, err := certificate.New(certificate.Options{Files: path, Require: require}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			return g, g.Wrap(tell, []certificate.Field{{Name: "X-Subject", What: certificate.Subject}})
		}
		strictGate, strict := gate(true)
		_, lenient := gate(false)
		expect := func(what string, h http.Handler, chains *[][]*x509.Certificate, status int, body string) {
			t.Helper()
			w := ask(h, chains)
			if w.Code != status || status == 200 && w.Body.String() != body {
				t.Errorf("%s: %d %q, want %d %q", what, w.Code, w.Body, status, body)
			}
			if closes := w.Header().Get("Connection") == "close"; closes != (status == 421) {
				t.Errorf("%s: Connection %q", what, w.Header().Get("Connection"))
			}
		}
		none := &[][]*x509.Certificate{}
		expect("good", strict, chains, 200, "ann [CN=ann]")
		expect("none", strict, none, 421, "")
		expect("no TLS", strict, nil, 403, "")
		expect("none needed", lenient, none, 200, " []")
		expect("no TLS needed", lenient, nil, 200, " []")
		expect("another authority", strict, &[][]*x509.Certificate{{leaf, next}}, 421, "")
		expect("another, none needed", lenient, &[][]*x509.Certificate{{leaf, next}}, 421, "")

		before := strictGate.Roots()
		time.Sleep(2 * time.Second)
		if strictGate.Roots() != before {
			t.Error("the pool changes without the file")
		}
		write(t, path, "CERTIFICATE", old, next)
		time.Sleep(2 * time.Second)
		expect("both count", strict, chains, 200, "ann [CN=ann]")
		if strictGate.Roots() == before {
			t.Error("the pool does not change with the file")
		}
		write(t, path, "CERTIFICATE", next)
		time.Sleep(2 * time.Second)
		expect("the old one does not", strict, chains, 421, "")
		write(t, path, "CERTIFICATE")
		time.Sleep(2 * time.Second)
		expect("an empty file changes nothing", strict, &[][]*x509.Certificate{{leaf, next}}, 200, "ann [CN=ann]")
		time.Sleep(time.Hour)
		expect("expired since", strict, &[][]*x509.Certificate{{leaf, next}}, 421, "")
	})
}

func TestFilesOfSomethingElseAreRefused(t *testing.T) {
	dir := t.TempDir()
	leaf := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ann"}, BasicConstraintsValid: true})
	for path, want := range map[string]string{
		write(t, dir+"/leaf", "CERTIFICATE", leaf): "CN=ann is not an authority's",
		write(t, dir+"/key", "PRIVATE KEY", leaf):  "holds a PRIVATE KEY",
		write(t, dir+"/empty", "CERTIFICATE"):      "no certificate",
		dir + "/none":                              "no such file",
		write(t, dir+"/good", "CERTIFICATE", authority(t, "a")) + "\n" + dir + "/leaf": "leaf: ",
	} {
		if _, err := certificate.New(certificate.Options{Files: path}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatASignerPutIntoACertificateCannotBecomeAnotherField(t *testing.T) {
	c := sign(t, &x509.Certificate{
		Subject:  pkix.Name{CommonName: "ann\r\nRemote-User: admin", Organization: []string{"Ä, B"}},
		DNSNames: []string{"a.test"}, EmailAddresses: []string{"a,b@a.test", "ann@a.test"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, NotAfter: time.Now().Add(time.Hour),
	})
	root := authority(t, "root")
	path := write(t, filepath.Join(t.TempDir(), "ca"), "CERTIFICATE", root)
	gate, err := certificate.New(certificate.Options{Files: path}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	var fields []certificate.Field
	for _, what := range []certificate.What{certificate.Subject, certificate.CommonName, certificate.Fingerprint, certificate.Serial, certificate.Names, certificate.Certificate} {
		fields = append(fields, certificate.Field{Name: http.CanonicalHeaderKey("X-" + string(what)), What: what})
	}
	h := gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{
			"X-Subject": `CN=ann\0D\0ARemote-User: admin,O=Ä\, B`, "X-Common_name": `ann\0D\0ARemote-User: admin`, "X-Serial": "ff", "X-Names": "a.test,ann@a.test,192.0.2.1",
		} {
			if got := r.Header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if got := r.Header["X-Fingerprint"][0]; len(got) != 64 {
			t.Errorf("fingerprint %q", got)
		}
		if got := r.Header["X-Certificate"][0]; !strings.HasPrefix(got, ":MII") || !strings.HasSuffix(got, ":") {
			t.Errorf("certificate %q", got)
		}
	}), fields)
	ask(h, &[][]*x509.Certificate{{c, root}})
}
