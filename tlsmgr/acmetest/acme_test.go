package acmetest_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

func TestShortValidity(t *testing.T) {
	for _, validity := range []time.Duration{10 * time.Second, 15 * time.Second, time.Minute, 30 * 24 * time.Hour} {
		t.Run(validity.String(), func(t *testing.T) {
			w := start(t, acmetest.Options{Validity: validity, RenewalPoll: 2 * time.Second})
			c := newClient(t, w)
			before := time.Now()
			cert, err := c.obtain(t.Context(), w, newKey(t), "app.example.com")
			if err != nil {
				t.Fatal(err)
			}
			// A second is inclusive at both ends (RFC 5280 §4.1.2.5), and times are cut to whole ones.
			if left := cert.NotAfter.Sub(before); left > validity || left < validity-3*time.Second {
				t.Errorf("valid for %v from now, want about %v", left, validity)
			}
			info, err := c.GetRenewalInfo(t.Context(), cert)
			if err != nil {
				t.Fatal(err)
			}
			if !info.SuggestedWindow.Start.After(cert.NotBefore) || !info.SuggestedWindow.End.Before(cert.NotAfter) {
				t.Errorf("renewal window %v lies outside %v to %v", info.SuggestedWindow, cert.NotBefore, cert.NotAfter)
			}
			if info.RetryAfter == nil || time.Until(*info.RetryAfter) > 3*time.Second {
				t.Errorf("asks to be asked again at %v, want in 2 s", info.RetryAfter)
			}
		})
	}
	if w, err := acmetest.Start(acmetest.Options{Validity: time.Millisecond}); err == nil {
		w.Close()
		t.Error("a validity of a millisecond is accepted")
	}
}

func TestRenewalWindowCanBeSetToNow(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	cert, err := c.obtain(t.Context(), w, newKey(t), "app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := w.ACME.SetRenewalWindow(cert, now.Add(-2*time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	info, err := c.GetRenewalInfo(t.Context(), cert)
	if err != nil {
		t.Fatal(err)
	}
	if !info.SelectedTime.Before(now) {
		t.Errorf("told to renew at %v, want in the past", info.SelectedTime)
	}
	if err := w.ACME.SetRenewalWindow(&x509.Certificate{SerialNumber: big.NewInt(7)}, now, now); err == nil {
		t.Error("a certificate of somebody else gets a renewal window")
	}
}

// One serial number in 256 begins with a set bit: clients then write a zero byte
// before it, as RFC 9773 section 4.1 wants, and Pebble does not.
func TestSerialNumbersAreFoundAsClientsWriteThem(t *testing.T) {
	for _, digits := range []string{"f252315d052506", "80", "7f", "01ff", "7fffffffffffffff", "ff"} {
		number, ok := new(big.Int).SetString(digits, 16)
		if !ok {
			t.Fatal(digits)
		}
		der, err := asn1.Marshal(number)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := acmetest.SpelledInDER(hex.EncodeToString(number.Bytes())), hex.EncodeToString(der[2:]); got != want {
			t.Errorf("%s: %s, DER is %s", digits, got, want)
		}
	}
}

func TestRenewalReplacesAndNeedsAChallengeEachTime(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	key := newKey(t)
	var previous *x509.Certificate
	for round := range 3 {
		w.API.ResetRequests()
		csr, err := acmez.NewCSR(key, []string{"app.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		params, err := acmez.OrderParametersFromCSR(c.account, csr)
		if err != nil {
			t.Fatal(err)
		}
		params.Replaces = previous
		if _, err := c.ObtainCertificate(t.Context(), params); err != nil {
			t.Fatal(err)
		}
		issued := w.ACME.Issued()
		previous = issued[len(issued)-1]
		if !slices.ContainsFunc(w.API.Requests(), func(r acmetest.Request) bool { return r.Method == "POST" }) {
			t.Errorf("round %d needed no challenge", round)
		}
		// Pebble leaves it to chance whether it reuses an authorization, so look for one.
		account := c.account.Location[strings.LastIndex(c.account.Location, "/")+1:]
		if acmetest.HasReusableAuthorization(w.ACME, account, "app.example.com") {
			t.Errorf("round %d left an authorization that can be reused", round)
		}
	}
	orders := w.ACME.Orders()
	if len(orders) != 3 || orders[0].Replaces != "" || orders[1].Replaces == "" || orders[1].Replaces == orders[2].Replaces {
		t.Errorf("orders: %+v", orders)
	}
	for _, o := range orders {
		if o.Status != http.StatusCreated {
			t.Errorf("order for %v replacing %q: status %d", o.Names, o.Replaces, o.Status)
		}
	}
}

// TestImpatientClientDoesNotFreezePebble gives up on an authorization while it is being validated.
func TestImpatientClientDoesNotFreezePebble(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	c.PollTimeout = 50 * time.Millisecond
	w.DNS.Silence(true)
	if _, err := c.obtain(t.Context(), w, newKey(t), "app.example.com"); err == nil {
		t.Fatal("issued although the name server was silent")
	}
	deactivation := func(r acmetest.Request) bool {
		return strings.Contains(r.Path, "/authZ/") && r.Status == http.StatusBadRequest
	}
	if !slices.ContainsFunc(w.ACME.Requests(), deactivation) {
		t.Error("the client did not give up on its authorization: this test tests nothing")
	}
	w.DNS.Silence(false)
	c.PollTimeout = 0
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.obtain(ctx, w, newKey(t), "app.example.com"); err != nil {
		t.Error(err)
	}
}

func TestFailedValidationIsReported(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	w.DNS.Hold() // the record is made, but does not propagate
	_, err := c.obtain(t.Context(), w, newKey(t), "app.example.com")
	if problem, ok := errors.AsType[acme.Problem](err); !ok || problem.Type != acme.ProblemTypeUnauthorized {
		t.Errorf("got %v, want unauthorized", err)
	}
	if n := len(w.ACME.Issued()); n != 0 {
		t.Errorf("%d certificates issued", n)
	}
}

func TestACMEOutage(t *testing.T) {
	w := start(t, acmetest.Options{})
	c := newClient(t, w)
	newOrder := func(r *http.Request) bool { return r.URL.Path == "/order-plz" }
	w.ACME.FailNext(acmetest.Failure{Status: 429, RetryAfter: time.Hour, Match: newOrder})
	_, err := c.obtain(t.Context(), w, newKey(t), "app.example.com")
	if problem, ok := errors.AsType[acme.Problem](err); !ok || problem.Type != acme.ProblemTypeRateLimited {
		t.Errorf("got %v, want rateLimited", err)
	}
	if _, err := c.obtain(t.Context(), w, newKey(t), "app.example.com"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.ACME.WaitOrder(ctx, func(o acmetest.Order) bool { return slices.Equal(o.Names, []string{"app.example.com"}) }); err != nil {
		t.Error(err)
	}
	if err := w.ACME.WaitIssued(ctx, func(c *x509.Certificate) bool { return c.DNSNames[0] == "app.example.com" }); err != nil {
		t.Error(err)
	}
	if n := len(w.ACME.Orders()); n != 1 {
		t.Errorf("%d orders reached the authority, want 1", n)
	}
}

func TestRootsAreNotInterchangeable(t *testing.T) {
	w := start(t, acmetest.Options{})
	issuing := x509.NewCertPool()
	if !issuing.AppendCertsFromPEM(w.IssuingRootPEM()) || !issuing.Equal(w.IssuingRoots()) {
		t.Error("IssuingRootPEM and IssuingRoots differ")
	}
	servers := x509.NewCertPool()
	if !servers.AppendCertsFromPEM(w.RootPEM) || !servers.Equal(w.Roots()) {
		t.Error("RootPEM and Roots differ")
	}
	client := w.HTTPClient()
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = w.IssuingRoots()
	if resp, err := client.Get(w.DirectoryURL); err == nil {
		resp.Body.Close()
		t.Error("the ACME server is trusted through the root of issued certificates")
	}
}

// TestWorldsStartInParallelAndLeaveTheEnvironment also shows that Worlds do not wait for each other's goroutines.
func TestWorldsStartInParallelAndLeaveTheEnvironment(t *testing.T) {
	var log bytes.Buffer
	outer, err := acmetest.Start(acmetest.Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w, err := acmetest.Start(acmetest.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, variable := range []string{"PEBBLE_VA_NOSLEEP", "PEBBLE_WFE_NONCEREJECT", "PEBBLE_AUTHZREUSE"} {
		if value, ok := os.LookupEnv(variable); ok {
			t.Errorf("%s=%s is left in the environment", variable, value)
		}
	}
	if err := outer.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Disabling random VA sleeps", "Configured to reject 0% of good nonces", "authz reuse for each identifier 0%"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("pebble did not say %q:\n%s", want, log.String())
		}
	}
}
