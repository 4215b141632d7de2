package acmetest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

const goodToken = "good-0123456789012345678901234567890123456789"

// start starts a World with two zones that goodToken may edit.
func start(t *testing.T, opts acmetest.Options) *acmetest.World {
	t.Helper()
	if opts.Zones == nil {
		opts.Zones = []string{"example.com", "example.net"}
	}
	opts.Log = testLog{t}
	w, err := acmetest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.API.AddToken(acmetest.Token{Value: goodToken, Zones: opts.Zones})
	return w
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// client speaks ACME to a World and solves DNS-01 through its API with libdns/cloudflare.
type client struct {
	acmez.Client
	provider cloudflare.Provider
	account  acme.Account
}

// newClient registers an account.
func newClient(t *testing.T, w *acmetest.World) *client {
	t.Helper()
	key := newKey(t)
	c := &client{provider: cloudflare.Provider{APIToken: goodToken, HTTPClient: rewriting{w.HTTPClient(), w.API.URL}}}
	c.Client = acmez.Client{
		Client: &acme.Client{
			Directory: w.DirectoryURL, HTTPClient: w.HTTPClient(), PollInterval: 10 * time.Millisecond, UserAgent: "acmetest",
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeDNS01: c},
	}
	account, err := c.NewAccount(t.Context(), acme.Account{PrivateKey: key, TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	c.account = account
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *client) record(challenge acme.Challenge) (zone string, record libdns.Record) {
	name := challenge.DNS01TXTRecordName()
	labels := strings.Split(name, ".")
	zone = strings.Join(labels[len(labels)-2:], ".") + "."
	return zone, libdns.TXT{Name: libdns.RelativeName(name+".", zone), Text: challenge.DNS01KeyAuthorization()}
}

// Present implements acmez.Solver.
func (c *client) Present(ctx context.Context, challenge acme.Challenge) error {
	zone, record := c.record(challenge)
	_, err := c.provider.AppendRecords(ctx, zone, []libdns.Record{record})
	return err
}

// CleanUp implements acmez.Solver.
func (c *client) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	zone, record := c.record(challenge)
	_, err := c.provider.DeleteRecords(ctx, zone, []libdns.Record{record})
	return err
}

// rewriting sends to the stand-in what libdns/cloudflare has for the real API, whose URL it does not let us choose.
type rewriting struct {
	client *http.Client
	api    string
}

func (c rewriting) Do(r *http.Request) (*http.Response, error) {
	to, err := url.Parse(c.api)
	if err != nil {
		return nil, err
	}
	r.URL.Host, r.Host = to.Host, to.Host
	return c.client.Do(r)
}

// obtain gets a certificate and verifies it.
func (c *client) obtain(ctx context.Context, w *acmetest.World, key *ecdsa.PrivateKey, name string) (*x509.Certificate, error) {
	chains, err := c.ObtainCertificateForSANs(ctx, c.account, key, []string{name})
	if err != nil {
		return nil, err
	}
	leaf, rest := pem.Decode(chains[0].ChainPEM)
	cert, err := x509.ParseCertificate(leaf.Bytes)
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	intermediates.AppendCertsFromPEM(rest)
	_, err = cert.Verify(x509.VerifyOptions{
		DNSName: strings.Replace(name, "*", "any", 1), Roots: w.IssuingRoots(), Intermediates: intermediates,
	})
	return cert, err
}

func TestObtainOrdinaryAndWildcardCertificate(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	for _, name := range []string{"app.example.com", "*.example.net", "example.com"} {
		cert, err := c.obtain(t.Context(), w, newKey(t), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(cert.DNSNames, []string{name}) {
			t.Errorf("certificate is for %v, want %s", cert.DNSNames, name)
		}
		if got := cert.NotAfter.Sub(cert.NotBefore); got < 89*24*time.Hour || got > 90*24*time.Hour {
			t.Errorf("certificate is valid for %v, want 90 days", got)
		}
	}
	var ordered []string
	for _, o := range w.ACME.Orders() {
		if o.Status != http.StatusCreated {
			t.Errorf("order for %v: status %d", o.Names, o.Status)
		}
		ordered = append(ordered, o.Names...)
	}
	if want := []string{"app.example.com", "*.example.net", "example.com"}; !slices.Equal(ordered, want) {
		t.Errorf("ordered %v, want %v", ordered, want)
	}
	if n := len(w.ACME.Issued()); n != 3 {
		t.Errorf("%d certificates recorded, want 3", n)
	}
	for _, zone := range []string{"example.com", "example.net"} {
		if left := w.API.Records(zone); len(left) > 0 {
			t.Errorf("records left in %s: %v", zone, left)
		}
	}
	tcp := func(q acmetest.Query) bool { return q.Network == "tcp" && q.Name == "_acme-challenge.app.example.com." }
	if !slices.ContainsFunc(w.DNS.Queries(), tcp) {
		t.Error("the authority asked no question over TCP")
	}
}

func TestFiftyParallelOrders(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	key := newKey(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			zone := []string{"example.com", "example.net"}[i%2]
			if _, err := c.obtain(ctx, w, key, fmt.Sprintf("app%d.%s", i, zone)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("50 certificates in %v", time.Since(began))
	if n := len(w.ACME.Issued()); n != 50 {
		t.Errorf("%d certificates issued, want 50", n)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	if _, err := c.obtain(t.Context(), w, newKey(t), "app.example.com"); err != nil {
		t.Fatal(err)
	}
	stacks := func() string {
		all := make([]byte, 4<<20)
		return string(all[:runtime.Stack(all, true)])
	}
	owners := []string{"letsencrypt/pebble", "miekg/dns", "net/http.(*Server)", "net/http.(*conn)"}
	for _, owner := range owners {
		if !strings.Contains(stacks(), owner) {
			t.Errorf("no goroutine of %s while a World runs: this test tests nothing", owner)
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, owner := range owners {
		if left := stacks(); strings.Contains(left, owner) {
			t.Errorf("a goroutine of %s is left:\n%s", owner, left)
		}
	}
}
