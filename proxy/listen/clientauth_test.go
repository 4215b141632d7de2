package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// authority is a CA of clients.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// client issues a certificate for a use.
func (a *authority) client(t testing.TB, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ann"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// proven answers with how many chains of the client's certificate were verified,
// and whether the session was resumed.
func proven(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.VerifiedChains) > 0 {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	if r.TLS.DidResume {
		_, _ = io.WriteString(w, " resumed")
	}
}

// fetch asks a server name over TCP or QUIC, with a new connection.
func (r *running) fetch(t *testing.T, overQUIC bool, config *tls.Config) string {
	t.Helper()
	config = config.Clone()
	config.InsecureSkipVerify = true
	var transport http.RoundTripper = &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	if overQUIC {
		h3 := &http3.Transport{TLSClientConfig: config}
		defer h3.Close()
		transport = h3
	}
	res, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + r.https)
	if err != nil {
		return "refused"
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return string(body)
}

func TestAClientsCertificateIsWhatTheNameWants(t *testing.T) {
	staff, others := newAuthority(t, "staff"), newAuthority(t, "others")
	policies := map[string]*ClientAuth{
		"must.test": NewClientAuth(staff.pool(), true),
		"may.test":  NewClientAuth(staff.pool(), false),
	}
	r := run(t, Options{HTTP3: true, ClientAuth: func(name string) *ClientAuth { return policies[name] }}, proven)
	with := func(name string, certificates ...tls.Certificate) *tls.Config {
		config := &tls.Config{ServerName: name}
		if len(certificates) > 0 { // sent even if the server's list of authorities does not have its own
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
		}
		return config
	}
	good, foreign, wrong := staff.client(t, x509.ExtKeyUsageClientAuth), others.client(t, x509.ExtKeyUsageClientAuth), staff.client(t, x509.ExtKeyUsageServerAuth)
	for _, overQUIC := range []bool{false, true} {
		for _, c := range []struct {
			what   string
			config *tls.Config
			want   string
		}{
			{"none wanted", with("a.test"), ""},
			{"none wanted, one there", with("a.test", good), ""},
			{"must, good", with("must.test", good), "ann"},
			{"must, none", with("must.test"), "refused"},
			{"must, of another authority", with("must.test", foreign), "refused"},
			{"must, for servers", with("must.test", wrong), "refused"},
			{"may, good", with("may.test", good), "ann"},
			{"may, none", with("may.test"), ""},
			{"may, of another authority", with("may.test", foreign), "refused"},
		} {
			if got := r.fetch(t, overQUIC, c.config); got != c.want {
				t.Errorf("QUIC %v, %s: %q, want %q", overQUIC, c.what, got, c.want)
			}
		}
	}
}

// stubborn is a client that resumes its session wherever it goes.
type stubborn struct{ state *tls.ClientSessionState }

func (s *stubborn) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }
func (s *stubborn) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		s.state = state
	}
}

// TestASessionIsNotResumedUnderAnotherPolicy begins a session under each name
// and tries to resume it under each other.
func TestASessionIsNotResumedUnderAnotherPolicy(t *testing.T) {
	staff := newAuthority(t, "staff")
	good := staff.client(t, x509.ExtKeyUsageClientAuth)
	policies := map[string]*ClientAuth{
		"one.test": NewClientAuth(staff.pool(), true), // the same authorities: only the names keep them apart
		"two.test": NewClientAuth(staff.pool(), true),
		"may.test": NewClientAuth(staff.pool(), false),
	}
	r := run(t, Options{HTTP3: true, ClientAuth: func(name string) *ClientAuth { return policies[name] }}, proven)
	names := []string{"one.test", "two.test", "may.test", "a.test"}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, begun := range names {
			for _, resumed := range names {
				cache := &stubborn{}
				config := &tls.Config{ClientSessionCache: cache, MaxVersion: version, ServerName: begun, Certificates: []tls.Certificate{good}}
				r.fetch(t, false, config)
				config.ServerName = resumed
				got := r.fetch(t, false, config)
				want := "ann"
				if resumed == "a.test" {
					want = ""
				}
				if begun == resumed {
					want += " resumed"
				}
				if cache.state == nil || got != want {
					t.Errorf("TLS %x, begun with %s, then %s: %q, want %q", version, begun, resumed, got, want)
				}
			}
		}
	}
}

func TestNewAuthoritiesEndOldSessions(t *testing.T) {
	staff, others := newAuthority(t, "staff"), newAuthority(t, "others")
	var policy atomic.Pointer[ClientAuth]
	policy.Store(NewClientAuth(staff.pool(), true))
	r := run(t, Options{ClientAuth: func(string) *ClientAuth { return policy.Load() }}, proven)
	config := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "a.test", Certificates: []tls.Certificate{staff.client(t, x509.ExtKeyUsageClientAuth)}}
	r.fetch(t, false, config)
	if got := r.fetch(t, false, config); got != "ann resumed" {
		t.Fatalf("got %q", got)
	}
	policy.Store(NewClientAuth(others.pool(), true))
	if got := r.fetch(t, false, config); got != "refused" {
		t.Errorf("got %q", got)
	}
}
