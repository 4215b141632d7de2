package tlsmgr

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// pair is a self-signed certificate and its key as PEM.
type pair struct {
	certificate, key []byte
	leaf             *x509.Certificate
}

func newPair(t testing.TB, until time.Time, names ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		leaf:        leaf,
	}
}

func write(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateFilesAreReadAgainAndNeverMismatched(t *testing.T) {
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	later := time.Now().Add(24 * time.Hour)
	first, second, foreign := newPair(t, later, "old.example.com"), newPair(t, later, "old.example.com"), newPair(t, later, "other.example.com")
	write(t, certificate, first.certificate)
	write(t, key, first.key)

	log := newLogbook()
	m, err := New(Options{Logger: zap.New(log), FilePoll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, manager: m, log: log}
	settings := Settings{Storage: filepath.Join(dir, "storage"), Plan: NewPlan([]PlannedSite{
		{Name: "old.example.com", Issuer: IssuerFile, CertificateFile: certificate, KeyFile: key},
	}, "", zoneIndex(nil))}
	r.apply(settings)
	serves := func(want pair) {
		t.Helper()
		got, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "old.example.com"})
		if err != nil || got == nil || !got.Leaf.Equal(want.leaf) {
			t.Fatalf("not the right certificate is served: %v\n%s", err, log)
		}
	}
	serves(first)
	stop := r.run()

	const refused = "changed certificate files cannot be used"
	write(t, certificate, second.certificate) // the writer is half way
	log.await(t, 1, refused, "old.example.com")
	serves(first)
	r.apply(settings) // a reload at that moment
	serves(first)
	write(t, key, second.key)
	log.await(t, 1, "certificate files reloaded", "old.example.com")
	serves(second)

	write(t, certificate, foreign.certificate)
	write(t, key, foreign.key)
	for len(log.find(refused, "old.example.com")) < 2 || !strings.Contains(r.status("old.example.com").LastError, "not for old.example.com") {
		log.await(t, 2, refused, "old.example.com")
	}
	serves(second)
	if status := r.status("old.example.com"); status.State != StateFailing || status.Hint == "" {
		t.Errorf("status of files that are of no use: %+v", status)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	r.awaitState("old.example.com", func(s Status) bool { return strings.Contains(s.LastError, key) })
	serves(second)
	write(t, certificate, first.certificate)
	write(t, key, first.key)
	r.awaitState("old.example.com", func(s Status) bool { return s.State == StateServing })
	serves(first)
	stop()
}

func TestMissingCertificateFilesAreNoReasonNotToStart(t *testing.T) {
	dir := t.TempDir()
	good, bad := newPair(t, time.Now().Add(time.Hour), "good.test"), newPair(t, time.Now().Add(time.Hour), "bad.test")
	write(t, filepath.Join(dir, "c"), good.certificate)
	write(t, filepath.Join(dir, "k"), good.key)
	log := newLogbook()
	m, err := New(Options{Logger: zap.New(log), FilePoll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, manager: m, log: log}
	file := func(name string) string { return filepath.Join(dir, name) }
	r.apply(Settings{Storage: file("storage"), Plan: NewPlan([]PlannedSite{
		{Name: "good.test", Issuer: IssuerFile, CertificateFile: file("c"), KeyFile: file("k")},
		{Name: "bad.test", Issuer: IssuerFile, CertificateFile: file("c2"), KeyFile: file("k2")},
	}, "", zoneIndex(nil))})
	if got, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "good.test"}); err != nil || got == nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "bad.test"}); err == nil || !strings.Contains(err.Error(), "c2") {
		t.Errorf("the missing one: %v", err)
	}
	log.await(t, 1, "certificate files cannot be used", "bad.test")
	r.run()
	write(t, file("k2"), bad.key)
	write(t, file("c2"), bad.certificate)
	r.awaitState("bad.test", func(s Status) bool { return s.State == StateServing })
}
