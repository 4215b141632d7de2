package tlsmgr

import (
	"crypto/tls"
	"fmt"
	"testing"
)

// managerServing returns a manager that serves names with certificates of no content.
func managerServing(t testing.TB, names ...string) *Manager {
	t.Helper()
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var slots []*slot
	for _, name := range names {
		s := &slot{name: name}
		s.certificate.Store(&tls.Certificate{Certificate: [][]byte{[]byte(name)}})
		slots = append(slots, s)
	}
	m.names.Store(newSnapshot(slots))
	return m
}

func TestGetCertificateFindsNames(t *testing.T) {
	m := managerServing(t, "app.example.com", "*.example.com", "*.localhost", "localhost")
	for name, want := range map[string]string{
		"app.example.com":   "app.example.com",
		"APP.example.COM":   "app.example.com",
		"app.example.com.":  "app.example.com",
		"other.example.com": "*.example.com",
		"example.com":       "",
		"a.b.example.com":   "",
		"x.localhost":       "*.localhost",
		"localhost":         "localhost",
		".example.com":      "",
		"com":               "",
		".":                 "",
		"":                  "",
	} {
		certificate, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		got := ""
		if certificate != nil {
			got = string(certificate.Certificate[0])
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestGetCertificateDoesNotAllocate(t *testing.T) {
	m := managerServing(t, "app.example.com", "*.example.com")
	for _, name := range []string{"app.example.com", "other.example.com", "unknown.example.net"} {
		hello := &tls.ClientHelloInfo{ServerName: name}
		if n := testing.AllocsPerRun(100, func() { _, _ = m.GetCertificate(hello) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkGetCertificate(b *testing.B) {
	names := []string{"*.wild.example.com"}
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	m := managerServing(b, names...)
	for kind, name := range map[string]string{"exact": "n5000.example.com", "wildcard": "any.wild.example.com", "unknown": "other.example.net"} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			hello := &tls.ClientHelloInfo{ServerName: name}
			for b.Loop() {
				if _, err := m.GetCertificate(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
