package tlsmgr

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/config/secret"
	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

func TestApplyWhileRunningAddsAndRemovesNames(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("a.example.com", "b.example.com"))
	r.run()
	r.log.await(t, 1, "certificate obtained", "a.example.com")
	r.log.await(t, 1, "certificate obtained", "b.example.com")
	before := r.serves("a.example.com")

	r.apply(r.settings("a.example.com", "c.example.com"))
	if after := r.serves("a.example.com"); !after.Equal(before) {
		t.Error("the name that stayed has another certificate")
	}
	if _, err := r.handshake("b.example.com"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("the removed name: %v, want the alert unrecognized_name", err)
	}
	r.log.await(t, 1, "certificate obtained", "c.example.com")
	if r.orders()["a.example.com"] != 1 {
		t.Error("the name that stayed was ordered again")
	}

	r.apply(r.settings("b.example.com")) // back again: from the storage
	r.serves("b.example.com")
}

func TestApplyBreaksOffTheOrderOfARemovedName(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.world.DNS.Hold() // the challenge record never becomes visible
	r.apply(r.settings("a.example.com"))
	stop := r.run()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	created := func(q acmetest.Request) bool { return q.Method == "POST" && q.Status == 200 }
	if err := r.world.API.WaitRequest(ctx, created); err != nil {
		t.Fatal(err)
	}
	r.apply(r.settings())
	deleted := func(q acmetest.Request) bool { return q.Method == "DELETE" && q.Status == 200 }
	if err := r.world.API.WaitRequest(ctx, deleted); err != nil {
		t.Fatalf("the record of the order was not removed: %v", err)
	}
	r.world.DNS.Release()
	stop()
	if failures := r.log.find("certificate not obtained", ""); len(failures) > 0 {
		t.Errorf("a removed name was logged as a failure: %s", failures[0].text)
	}
}

func TestCertificateOfChangedIssuerIsServedUntilTheNewOneIsThere(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	internal := r.settingsOf(PlannedSite{Name: "app.example.com", Issuer: IssuerInternal})
	r.apply(internal)
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(r.storage, "localca", "root.pem"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no root of the internal CA", err)
	}
	if _, err := handshake(r.manager, "app.example.com", roots); err != nil {
		t.Fatalf("internal certificate before Run: %v", err)
	}
	r.run()
	r.world.ACME.FailNext(acmetest.Failure{Status: 503, Times: -1})
	r.apply(r.settings("app.example.com"))
	r.log.await(t, 1, "certificate not renewed; the one there is", "app.example.com")
	if _, err := handshake(r.manager, "app.example.com", roots); err != nil {
		t.Errorf("the old certificate is not served while the new one cannot be had: %v", err)
	}
	r.world.ACME.ClearFailures()
	if err := r.manager.Renew("app.example.com"); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	r.serves("app.example.com")
}

func TestNameStaysServedWhenAWildcardComesToCoverItAndGoesAgain(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	own := r.serves("app.example.com")

	r.world.ACME.FailNext(acmetest.Failure{Status: 503, Times: -1})
	r.apply(r.settings("app.example.com", "*.example.com"))
	r.log.await(t, 1, "certificate not obtained", "*.example.com")
	if !r.serves("app.example.com").Equal(own) {
		t.Error("the covered name lost its certificate before the wildcard had one")
	}
	stop()
	r.fresh() // and across a restart
	r.apply(r.settings("app.example.com", "*.example.com"))
	if !r.serves("app.example.com").Equal(own) {
		t.Error("the covered name is not served after a restart")
	}
	r.world.ACME.ClearFailures()
	r.run()
	r.log.await(t, 1, "certificate obtained", "*.example.com")
	wild := r.serves("app.example.com")
	if wild.DNSNames[0] != "*.example.com" {
		t.Errorf("served %v, want the wildcard", wild.DNSNames)
	}

	r.apply(r.settings("new.example.com")) // was covered, has nothing of its own yet
	if _, err := r.handshake("new.example.com"); err != nil {
		t.Errorf("a name that the wildcard covered is not served any more: %v", err)
	}
	if _, err := r.handshake("other.example.com"); err == nil {
		t.Error("the removed wildcard is still served")
	}
}

func TestCredentialMendedInTheConfigurationResubmitsItsNamesOnly(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.world.API.RevokeToken(tokenCom)
	r.world.API.RevokeToken(tokenNet)
	r.apply(r.settings("app.example.com", "app.example.net"))
	r.run()
	r.log.await(t, 2, "certificate not obtained", "app.example.com") // so that the next pause is 15 s
	r.log.await(t, 2, "certificate not obtained", "app.example.net")

	r.world.API.AddToken(acmetest.Token{Value: tokenNew, Zones: []string{"example.com"}})
	settings := r.settings("app.example.com", "app.example.net")
	settings.Cloudflare.Credentials[0].Source = cloudflare.Inline(secret.New(tokenNew))
	mended := time.Now()
	r.apply(settings)
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	if took := time.Since(mended); took > 8*time.Second {
		t.Errorf("the mended credential was tried after %v", took)
	}
	if status := r.status("app.example.net"); status.State != StateFailed || status.Attempts != 2 {
		t.Errorf("the other credential's name lost its state: %+v", status)
	}
}

func TestUnusableSettingsLeaveTheOldOnesInForce(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com"))
	r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")

	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := r.settings("other.example.com")
	bad.Storage = blocked
	if err := r.manager.Apply(bad); err == nil || cureOf(err) == "" && !strings.Contains(err.Error(), blocked) {
		t.Errorf("storage in a file: %v", err)
	}
	bad = r.settingsOf(PlannedSite{Name: "x.localhost", Issuer: IssuerInternal})
	if err := os.MkdirAll(filepath.Join(r.storage, "localca"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.storage, "localca", "root.pem"), []byte("junk"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.manager.Apply(bad); err == nil || cureOf(err) == "" {
		t.Errorf("damaged internal CA: %v", err)
	}
	r.serves("app.example.com")
	if all := r.manager.Status(); len(all) != 1 || all[0].State != StateServing {
		t.Errorf("status after refused settings: %+v", all)
	}
}

func TestLeftOverRecordsAreSweptAndForeignOnesAreLeft(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	const value = "x1x2x3x4x5x6x7x8x9x0x1x2x3x4x5x6x7x8x9x0abc"
	ours := r.world.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "_acme-challenge.old.example.com", Content: `"` + value + `"`})
	foreign := r.world.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "_acme-challenge.old.example.com", Content: `"somebody else's"`})

	settings := r.settings("app.example.com")
	r.apply(settings)
	kept := journal{store: r.manager.store, logger: r.manager.logger}
	left := cloudflare.Record{Zone: "example.com", Name: "_acme-challenge.old.example.com", Value: value, Created: time.Now()}
	if err := kept.Add(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	stop := r.run()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	deleted := func(q acmetest.Request) bool { return q.Method == "DELETE" && strings.HasSuffix(q.Path, ours.ID) }
	if err := r.world.API.WaitRequest(ctx, deleted); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	stop()
	records := r.world.API.Records("example.com")
	if len(records) != 1 || records[0].ID != foreign.ID {
		t.Errorf("records after the sweep: %v, want only the foreign one", records)
	}
}

// panicking is a solver that panics while it has to.
type panicking struct {
	acmez.Solver
	calm *bool
}

func (p panicking) Present(ctx context.Context, challenge acme.Challenge) error {
	if !*p.calm {
		*p.calm = true
		panic([]libdns.Record{libdns.TXT{Text: tokenCom}})
	}
	return p.Solver.Present(ctx, challenge)
}

func (p panicking) Wait(ctx context.Context, challenge acme.Challenge) error {
	return p.Solver.(acmez.Waiter).Wait(ctx, challenge)
}

func TestPanicInTheSolverIsAFailedAttempt(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	calm := false
	r.manager.newSolver = func(mux *cloudflare.Mux) acmez.Solver { return panicking{mux, &calm} }
	r.apply(r.settings("app.example.com"))
	r.run()
	failure := r.log.await(t, 1, "certificate not obtained", "app.example.com")
	if text, _ := failure.fields["error"].(string); !strings.Contains(text, "panic") {
		t.Errorf("error %q, want the panic", text)
	}
	r.log.await(t, 1, "certificate obtained", "app.example.com") // at the retry
	if strings.Contains(r.log.everything(), tokenCom) {
		t.Error("the value of a panic, which may hold a secret, is in the log")
	}
}

func TestStorageThatCannotBeWrittenFailsBeforeTheOrder(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com"))
	if err := os.RemoveAll(r.storage); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.storage, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	failure := r.log.await(t, 1, "certificate not obtained", "app.example.com")
	if hint, _ := failure.fields["hint"].(string); !strings.Contains(hint, r.storage) {
		t.Errorf("the hint does not name the storage: %s", failure.text)
	}
	if orders := r.orders(); len(orders) != 0 {
		t.Errorf("orders %v with a storage that cannot keep them", orders)
	}
	if err := os.Remove(r.storage); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, 1, "certificate obtained", "app.example.com")
}

func TestDamagedStoredCertificateIsReplaced(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	stop()
	files, err := filepath.Glob(filepath.Join(r.storage, "certificates", "*", "app.example.com", "*.crt"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.fresh()
	r.apply(r.settings("app.example.com"))
	r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	r.log.await(t, 1, "stored certificate is of no use", "app.example.com")
	r.serves("app.example.com")
}

func TestOrderWithoutContactAddressAsksNobody(t *testing.T) {
	stdout := captureStdout(t)
	r := newRig(t, acmetest.Options{})
	r.adjust = func(s *Settings) { s.ACME.Email = "" }
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	failure := r.log.await(t, 1, "certificate not obtained", "app.example.com")
	stop()
	if hint, _ := failure.fields["hint"].(string); !strings.Contains(hint, "acme.email") {
		t.Errorf("hint %q", hint)
	}
	if text := stdout(); text != "" {
		t.Errorf("asked on standard output: %q", text)
	}
}
