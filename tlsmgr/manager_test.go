package tlsmgr

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

func TestOrdinaryAndWildcardNamesAreObtainedOnceAndServed(t *testing.T) {
	stdout := captureStdout(t)
	r := newRig(t, acmetest.Options{})
	// The wildcard and its base are proven by two records of one name.
	r.apply(r.settings("app.example.com", "apps.example.net", "*.apps.example.net", "covered.apps.example.net"))
	stop := r.run()
	for _, name := range []string{"app.example.com", "apps.example.net", "*.apps.example.net"} {
		r.log.await(t, 1, "certificate obtained", name)
	}
	r.serves("app.example.com")
	r.serves("APP.Example.com")
	r.serves("apps.example.net")
	r.serves("covered.apps.example.net")
	r.serves("any.apps.example.net")
	if _, err := r.handshake("a.b.apps.example.net"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name two labels below a wildcard: %v, want the alert unrecognized_name", err)
	}
	stop()

	if orders := r.orders(); len(orders) != 3 || orders["covered.apps.example.net"] != 0 || orders["app.example.com"] != 1 {
		t.Errorf("orders %v, want one for each name that is not covered", orders)
	}
	for _, request := range r.world.API.Requests() {
		for header := range request.Header {
			if strings.HasPrefix(header, "X-Auth") {
				t.Errorf("%s %s carries %s", request.Method, request.Path, header)
			}
		}
	}
	for _, zone := range []string{"example.com", "example.net"} {
		if left := r.world.API.Records(zone); len(left) != 0 {
			t.Errorf("records left in %s: %v", zone, left)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(r.storage, "journal", "*")); len(left) != 0 {
		t.Errorf("journal entries left: %v", left)
	}
	// One line per step for people: three certificates, nothing else.
	if lines := strings.Count(r.log.String(), "\n"); lines != 3 {
		t.Errorf("%d lines above debug level, want 3:\n%s", lines, r.log)
	}
	for _, token := range []string{tokenCom, tokenNet} {
		if strings.Contains(r.log.everything(), token) {
			t.Error("a token is in the log")
		}
	}
	if text := stdout(); text != "" {
		t.Errorf("something was printed to standard output, perhaps a question: %q", text)
	}
}

// captureStdout redirects standard output until the returned function, which
// returns what was written, is called. certmagic asks its questions there.
func captureStdout(t *testing.T) func() string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	real := os.Stdout
	os.Stdout = file
	restore := func() { os.Stdout = real }
	t.Cleanup(restore)
	return func() string {
		restore()
		content, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		return string(content)
	}
}

func TestRestartServesFromStorageWithoutAnyCall(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	before := r.serves("app.example.com")
	stop()

	r.world.API.ResetRequests()
	r.world.ACME.ResetRequests()
	r.fresh()
	r.apply(r.settings("app.example.com"))
	if after := r.serves("app.example.com"); !after.Equal(before) { // before Run
		t.Error("another certificate is served after the restart")
	}
	stop = r.run()
	r.awaitState("app.example.com", func(s Status) bool { return s.NextAttempt.After(time.Now().Add(time.Hour)) })
	stop()
	if calls := append(r.world.API.Requests(), r.world.ACME.Requests()...); len(calls) != 0 {
		t.Errorf("%d calls after a restart, want none: %v", len(calls), calls)
	}
}

func TestRenewalUnderHandshakesDropsNone(t *testing.T) {
	r := newRig(t, acmetest.Options{Validity: 10 * time.Second})
	r.adjust = func(s *Settings) { s.ACME.ARI, s.ACME.RenewalWindowRatio = false, 0.8 }
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")

	done, serials := make(chan struct{}), make(map[string]bool)
	var failures []error
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			leaf, err := r.handshake("app.example.com")
			if err != nil {
				failures = append(failures, err)
			} else {
				serials[leaf.SerialNumber.String()] = true
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	r.log.await(t, 3, "certificate renewed", "app.example.com")
	close(done)
	clients.Wait()
	stop()
	if len(failures) > 0 {
		t.Errorf("%d handshakes failed, the first: %v", len(failures), failures[0])
	}
	if len(serials) < 3 {
		t.Errorf("%d certificates were served, want at least 3", len(serials))
	}
}

func TestAdviceToRenewNowIsFollowed(t *testing.T) {
	r := newRig(t, acmetest.Options{RenewalPoll: time.Second})
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	stop()
	first := r.serves("app.example.com")
	past := time.Now().Add(-time.Hour)
	if err := r.world.ACME.SetRenewalWindow(first, past.Add(-time.Hour), past); err != nil {
		t.Fatal(err)
	}

	r.fresh()
	r.apply(r.settings("app.example.com"))
	stop = r.run()
	r.log.await(t, 1, "certificate renewed", "app.example.com")
	stop()
	orders := r.world.ACME.Orders()
	last := orders[len(orders)-1]
	if id, err := acme.ARIUniqueIdentifier(first); err != nil || last.Replaces != id {
		t.Errorf("the renewal replaces %q, want %q (%v)", last.Replaces, id, err)
	}
	if len(orders) != 2 {
		t.Errorf("%d orders, want 2", len(orders))
	}
}

func TestRevokedTokenKeepsServingAndHealsByANewOne(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com", "app.example.net"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	r.log.await(t, 1, "certificate obtained", "app.example.net")
	stop()

	r.world.API.RevokeToken(tokenCom)
	ordered := len(r.world.ACME.Orders())
	r.fresh()
	r.apply(r.settings("app.example.com", "app.example.net"))
	r.run()
	if err := r.manager.Renew("app.example.com"); err != nil {
		t.Fatal(err)
	}
	failure := r.log.await(t, 1, "certificate not renewed", "app.example.com")
	for field, want := range map[string]any{"credential": "com", "zone": "example.com", "attempt": int64(1)} {
		if failure.fields[field] != want {
			t.Errorf("failure: %s is %v, want %v", field, failure.fields[field], want)
		}
	}
	if hint, _ := failure.fields["hint"].(string); hint == "" {
		t.Errorf("failure without a cure: %s", failure.text)
	}
	if wait, _ := failure.fields["retry_in_s"].(float64); wait < 1 || wait > 10 {
		t.Errorf("retry in %v s, want about 5", wait)
	}
	r.serves("app.example.com")
	if state := r.status("app.example.com").State; state != StateFailing {
		t.Errorf("state is %s, want %s", state, StateFailing)
	}
	if now := len(r.world.ACME.Orders()); now != ordered {
		t.Errorf("%d orders went to the CA with a token known to be dead", now-ordered)
	}

	r.world.API.AddToken(acmetest.Token{Value: tokenNew, Zones: []string{"example.com"}})
	mended := time.Now()
	r.writeToken(tokenNew)
	r.log.await(t, 1, "certificate renewed", "app.example.com")
	if took := time.Since(mended); took > 10*time.Second {
		t.Errorf("healing took %v", took)
	}
	status := r.status("app.example.com")
	if status.State != StateServing || status.LastError != "" || status.Attempts != 0 {
		t.Errorf("after healing: %+v", status)
	}
	for i, l := range r.log.find("certificate not renewed", "app.example.com") {
		if l.fields["attempt"] != int64(i+1) {
			t.Errorf("line %d is of attempt %v: each attempt must be logged once", i+1, l.fields["attempt"])
		}
	}
	if strings.Contains(r.log.everything(), tokenCom) || strings.Contains(r.log.everything(), tokenNew) {
		t.Error("a token is in the log")
	}
}

func TestFiftyNamesOverTwoZonesInThirtySeconds(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("n%d.example.com", i), fmt.Sprintf("n%d.example.net", i))
	}
	r.apply(r.settings(names...))
	start := time.Now()
	stop := r.run()
	r.log.await(t, 50, "certificate obtained", "")
	took := time.Since(start)
	for _, name := range names {
		r.serves(name)
	}
	stop()
	t.Logf("50 certificates in %v", took.Round(time.Millisecond))
	if took > 30*time.Second {
		t.Errorf("50 names took %v", took)
	}
	for name, n := range r.orders() {
		if n != 1 {
			t.Errorf("%d orders for %s", n, name)
		}
	}
	verifies := 0
	for _, request := range r.world.API.Requests() {
		if strings.Contains(request.Path, "/user/tokens/verify") {
			verifies++
		}
	}
	if verifies > 2 {
		t.Errorf("the two credentials were checked %d times", verifies)
	}
}

func TestNameWithoutCertificateGetsAnAlertAndOneLogLine(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.world.API.RevokeToken(tokenCom)
	r.apply(r.settings("app.example.com"))
	if _, err := r.handshake("app.example.com"); err == nil {
		t.Fatal("a handshake without certificate succeeded")
	}
	if l := r.log.await(t, 1, "handshake refused", "app.example.com"); l.fields["state"] != string(StateWaiting) {
		t.Errorf("before Run: %s", l.text)
	}
	r.run()
	r.log.await(t, 1, "certificate not obtained", "app.example.com")
	_, err := r.handshake("app.example.com")
	if err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("client got %v, want an alert", err)
	}
	missing, ok := errors.AsType[*NotReadyError](err)
	if !ok {
		t.Fatalf("%v is no NotReadyError", err)
	}
	if missing.Status.State != StateFailed && missing.Status.State != StateObtaining || missing.Hint() == "" {
		t.Errorf("not ready: %+v", missing.Status)
	}
	if lines := r.log.find("handshake refused", "app.example.com"); len(lines) != 1 {
		t.Errorf("%d lines for two handshakes within a minute, want 1", len(lines))
	}
	for _, name := range []string{"unknown.example.com", "other.test"} {
		if _, err := r.handshake(name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v, want the alert unrecognized_name", name, err)
		}
	}
	if certificate, err := r.manager.GetCertificate(&tls.ClientHelloInfo{}); certificate != nil || err != nil {
		t.Errorf("without SNI: %v, %v; want neither", certificate, err)
	}
}

// awaitState waits until the status of a name satisfies ok.
func (r *rig) awaitState(name string, ok func(Status) bool) {
	r.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !ok(r.status(name)) {
		select {
		case <-ticker.C:
		case <-deadline:
			r.t.Fatalf("%s stays %+v\n%s", name, r.status(name), r.log)
		}
	}
}
