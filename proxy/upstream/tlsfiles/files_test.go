package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate that signed itself and its key, both in PEM.
func pair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// put replaces a file as certificate tools do: by another one.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func place(t *testing.T) (o Options, certificate, key []byte) {
	dir := t.TempDir()
	certificate, key = pair(t, "first")
	o = Options{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client.key")}
	put(t, o.CA, certificate)
	put(t, o.Certificate, certificate)
	put(t, o.Key, key)
	return o, certificate, key
}

func TestFilesThatCannotBeUsedSayWhichAndWhy(t *testing.T) {
	_, other := pair(t, "other")
	for name, c := range map[string]struct {
		spoil func(t *testing.T, o Options)
		part  string
		want  string
	}{
		"no CA":              {func(t *testing.T, o Options) { os.Remove(o.CA) }, "ca", "no such file"},
		"CA is none":         {func(t *testing.T, o Options) { put(t, o.CA, []byte("junk")) }, "ca", "no certificate"},
		"no certificate":     {func(t *testing.T, o Options) { os.Remove(o.Certificate) }, "certificate", "no such file"},
		"no key":             {func(t *testing.T, o Options) { os.Remove(o.Key) }, "key", "no such file"},
		"junk for a key":     {func(t *testing.T, o Options) { put(t, o.Key, []byte("junk")) }, "key", "find"},
		"junk for a cert":    {func(t *testing.T, o Options) { put(t, o.Certificate, []byte("junk")) }, "certificate", "find"},
		"key of another one": {func(t *testing.T, o Options) { put(t, o.Key, other) }, "key", "it is not the key of"},
	} {
		o, _, _ := place(t)
		c.spoil(t, o)
		_, err := Open(o)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Part != c.part || !strings.Contains(err.Error(), c.want) || failed.Hint() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChangeIsReadOnceAndABadOneKeepsWhatWas(t *testing.T) {
	o, _, _ := place(t)
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.Current()
	if err != nil || first.Roots == nil || first.Certificate == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	certificate, key := pair(t, "second")
	put(t, o.Certificate, certificate) // half of the change
	if set, err := f.Current(); set != first || err == nil {
		t.Errorf("%p, %v", set, err)
	}
	if set, err := f.Current(); set != first || err != nil {
		t.Errorf("told twice: %v", err)
	}
	put(t, o.Key, key)
	second, err := f.Current()
	if err != nil || second == first || second.Certificate.Leaf.Subject.CommonName != "second" {
		t.Fatalf("%+v, %v", second, err)
	}
	if again, _ := f.Current(); again != second {
		t.Error("nothing changed, and it was read again")
	}
	if err := os.Remove(o.Key); err != nil {
		t.Fatal(err)
	}
	if set, err := f.Current(); set != second || err == nil {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestNothingNamedIsNothing(t *testing.T) {
	f, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := f.Current(); err != nil || set.Roots != nil || set.Certificate != nil {
		t.Errorf("%+v, %v", set, err)
	}
}
