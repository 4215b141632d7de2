package cloudflare_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	library "github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

func TestFindTakesTheLongestZone(t *testing.T) {
	s := newSetup(t)
	for name, want := range map[string][2]string{
		"example.com":            {"example.com", "com"},
		"APP.Example.COM.":       {"example.com", "com"},
		"*.example.com":          {"example.com", "com"},
		"a.b.example.com":        {"example.com", "com"},
		"sub.example.com":        {"sub.example.com", "com"},
		"*.sub.example.com":      {"sub.example.com", "com"},
		"xsub.example.com":       {"example.com", "com"},
		"a.example.net":          {"example.net", "net"},
		"badexample.com":         {},
		"com":                    {},
		"example.org":            {},
		"":                       {},
		".":                      {},
		"example.com.evil.test":  {},
		"example.com..":          {},
		"*.*.example.com":        {"example.com", "com"},
		"_acme-challenge.x.com.": {},
	} {
		zone, credential, ok := s.Find(name)
		if zone != want[0] || credential != want[1] || ok != (want[0] != "") {
			t.Errorf("%q: got %q, %q, %v, want %q", name, zone, credential, ok, want)
		}
	}
}

func TestChallengeRecordsComeAndGo(t *testing.T) {
	s := newSetup(t)
	s.world.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "_acme-challenge.example.com", Content: `"somebody else's"`})
	apex, wildcard := challenge("example.com", "apex"), challenge("example.com", "wildcard") // as acmez gives *.example.com
	for _, c := range []acme.Challenge{apex, wildcard} {
		if err := s.Present(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	foreign := "_acme-challenge.example.com somebody else's"
	s.expectTXT("example.com", foreign, "_acme-challenge.example.com "+apex.DNS01KeyAuthorization(), "_acme-challenge.example.com "+wildcard.DNS01KeyAuthorization())
	s.expectJournal(apex, wildcard)
	if ttl := s.world.API.Records("example.com")[1].TTL; ttl != 60 {
		t.Errorf("TTL %d, want 60", ttl)
	}
	for _, c := range []acme.Challenge{apex, wildcard} {
		if err := s.Wait(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CleanUp(t.Context(), apex); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com", foreign, "_acme-challenge.example.com "+wildcard.DNS01KeyAuthorization())
	s.expectJournal(wildcard)
	if err := s.CleanUp(t.Context(), wildcard); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com", foreign)
	s.expectJournal()
	// One zone lookup serves all: Wait takes the name servers from it.
	want := []string{
		"GET /zones 200", "POST /zones/ID/dns_records 200", "POST /zones/ID/dns_records 200",
		"GET /zones/ID/dns_records 200", "DELETE /zones/ID/dns_records/ID 200", "GET /zones/ID/dns_records 200", "DELETE /zones/ID/dns_records/ID 200",
	}
	if got := s.calls(); !slices.Equal(got, want) {
		t.Errorf("calls\n got %q\nwant %q", got, want)
	}
	for _, r := range s.world.API.Requests() {
		if r.Proto != "HTTP/1.1" || r.Token != tokenCom || r.Header.Get("X-Auth-Key") != "" || r.Header.Get("X-Auth-Email") != "" {
			t.Errorf("request %+v", r)
		}
	}
}

// A relative name that ends in the zone's name would be taken for a complete one.
func TestZoneNameTwiceInTheName(t *testing.T) {
	s := newSetup(t)
	c := challenge("example.com.example.com", "twice")
	if err := errors.Join(s.Present(t.Context(), c), s.Wait(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com", "_acme-challenge.example.com.example.com "+c.DNS01KeyAuthorization())
	if err := s.CleanUp(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com")
}

func TestObtainCertificates(t *testing.T) {
	s := newSetup(t)
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	client := acmez.Client{
		Client:           &acme.Client{Directory: s.world.DirectoryURL, HTTPClient: s.world.HTTPClient(), PollInterval: 10 * time.Millisecond},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeDNS01: s.Mux},
	}
	account, err := client.NewAccount(t.Context(), acme.Account{PrivateKey: newKey(), TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"app.example.com"}, {"*.example.net"}, {"example.com", "*.example.com", "a.sub.example.com"}} {
		if _, err := client.ObtainCertificateForSANs(t.Context(), account, newKey(), names); err != nil {
			t.Errorf("%v: %v", names, err)
		}
	}
	for _, zone := range []string{"example.com", "sub.example.com", "example.net"} {
		s.expectTXT(zone)
	}
	s.expectJournal()
}

func TestLostAnswerToCreateIsNoFailure(t *testing.T) {
	for name, f := range map[string]acmetest.Failure{
		"connection": {Drop: true, After: true},
		"502":        {Status: http.StatusBadGateway, HTML: true, After: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			f.Match = method("POST", "/dns_records")
			s.world.API.FailNext(f)
			c := challenge("app.example.com", "key")
			if err := s.Present(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			s.expectTXT("example.com", "_acme-challenge.app.example.com "+c.DNS01KeyAuthorization())
			if got := s.calls(); !strings.HasSuffix(got[len(got)-1], "400") { // 81058
				t.Errorf("calls %q", got)
			}
		})
	}
}

func TestRecordThatIsGoneIsDeleted(t *testing.T) {
	for name, f := range map[string]acmetest.Failure{
		"81044": {Status: http.StatusNotFound, Code: 81044, Match: func(r *http.Request) bool { return r.Method == "DELETE" }},
		"404":   {Status: http.StatusNotFound, Code: 1, Match: func(r *http.Request) bool { return r.Method == "DELETE" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			c := challenge("app.example.com", "key")
			if err := s.Present(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			s.world.API.FailNext(f)
			if err := s.CleanUp(t.Context(), c); err != nil {
				t.Error(err)
			}
			s.expectJournal()
		})
	}
}

// rewriting is how libdns is led to the stand-in without our client.
type rewriting struct{ *acmetest.World }

func (c rewriting) Do(r *http.Request) (*http.Response, error) {
	r.URL.Host = strings.TrimSuffix(strings.TrimPrefix(c.API.URL, "https://"), "/client/v4")
	return c.HTTPClient().Do(r)
}

// A 404 is about the record only when a record was to be deleted.
func TestZoneThatIsNotFoundIsNotTakenForADeletedRecord(t *testing.T) {
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.world.API.FailNext(acmetest.Failure{Status: http.StatusNotFound, Code: 7003, Match: method("GET", "/dns_records")})
	if err := s.CleanUp(t.Context(), c); err == nil {
		t.Error("no error")
	}
	s.expectJournal(c)
}

func TestFailedLookupIsNotTakenForADeletedRecord(t *testing.T) {
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	fail := acmetest.Failure{Status: http.StatusForbidden, Code: 10000, Message: "Authentication error", Match: method("GET", "/dns_records")}

	// The library by itself does take it for that. Should this fail one day, the
	// error sink is not needed any more.
	s.world.API.FailNext(fail)
	deleted, err := (&library.Provider{APIToken: tokenCom, HTTPClient: rewriting{s.world}}).DeleteRecords(t.Context(), "example.com",
		[]libdns.Record{libdns.TXT{Name: "_acme-challenge.app", Text: c.DNS01KeyAuthorization()}})
	if err != nil || len(deleted) != 0 {
		t.Errorf("libdns: %v, %v", deleted, err)
	}

	s.world.API.FailNext(fail)
	err = s.CleanUp(t.Context(), c)
	id := strings.Split(s.world.API.Requests()[1].Path, "/")[4]
	expect(t, err, `deleting challenge record _acme-challenge.app.example.com (kept in the journal): credential "com": zone "example.com": `+
		`the token is not allowed to do this (GET /zones/`+id+`/dns_records: status 403, code 10000 "Authentication error")`,
		"give the token Zone:DNS:Edit on example.com: https://dash.cloudflare.com/profile/api-tokens")
	s.expectJournal(c)
	s.expectTXT("example.com", "_acme-challenge.app.example.com "+c.DNS01KeyAuthorization())

	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	s.expectJournal()
	s.expectTXT("example.com")
}

func TestCleanUpWorksWhenTheOrderWasCancelled(t *testing.T) {
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait returned %v", err)
	}
	if err := s.CleanUp(ctx, c); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com")
	s.expectJournal()
}

func TestRefusedCreateLeavesNothingBehind(t *testing.T) {
	s := newSetup(t)
	s.world.API.AddToken(acmetest.Token{Value: tokenCom, Zones: []string{"example.com"}, Permissions: acmetest.ZoneRead | acmetest.DNSRead})
	c := challenge("app.example.com", "key")
	err := s.Present(t.Context(), c)
	if e, ok := errors.AsType[*cloudflare.APIError](err); !ok || e.Codes[0].Code != 10000 || cloudflare.Temporary(err) {
		t.Errorf("got %v", err)
	}
	s.expectJournal()
	s.world.API.ResetRequests()
	if err := s.CleanUp(t.Context(), c); err != nil {
		t.Error(err)
	}
	if got := s.calls(); len(got) > 0 {
		t.Errorf("a clean-up of nothing made calls: %q", got)
	}
}

// A zone that was deleted and added again has another id.
func TestZoneIsLookedUpAnewAfterARefusal(t *testing.T) {
	s := newSetup(t)
	if err := s.Present(t.Context(), challenge("a.example.com", "a")); err != nil {
		t.Fatal(err)
	}
	s.world.API.FailNext(acmetest.Failure{Status: http.StatusNotFound, Code: 7003, Match: method("POST", "/dns_records")})
	if err := s.Present(t.Context(), challenge("b.example.com", "b")); err == nil {
		t.Fatal("no error")
	}
	s.world.API.ResetRequests()
	if err := s.Present(t.Context(), challenge("b.example.com", "b")); err != nil {
		t.Fatal(err)
	}
	if got, want := s.calls(), []string{"GET /zones 200", "POST /zones/ID/dns_records 200"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestPresentErrorsNameZoneAndCure(t *testing.T) {
	s := newSetup(t)
	expect(t, s.Present(t.Context(), challenge("app.example.org", "key")),
		`name "app.example.org" is in no zone of any credential`, "list its zone under cloudflare, with a token that covers it")

	s.world.API.AddToken(acmetest.Token{Value: tokenCom, Zones: []string{"example.net"}})
	expect(t, s.Present(t.Context(), challenge("app.example.com", "key")),
		`creating challenge record _acme-challenge.app.example.com: credential "com": zone "example.com": the token does not reach this zone`,
		"give the token Zone:Zone:Read and Zone:DNS:Edit on example.com at https://dash.cloudflare.com/profile/api-tokens, or list the zone under the credential whose token covers it")

	s.world.API.RevokeToken(tokenNet)
	expect(t, s.Present(t.Context(), challenge("app.example.net", "key")),
		`creating challenge record _acme-challenge.app.example.net: credential "net": zone "example.net": the token is not accepted: revoked, expired, or not allowed to do this `+
			`(GET /zones: status 403, code 9109 "Invalid access token")`,
		"give the token Zone:Zone:Read on example.net at https://dash.cloudflare.com/profile/api-tokens; if it is no longer listed there, put a new one into token_file "+s.net)
}

func TestUnwritableJournalStopsTheRecord(t *testing.T) {
	s := newSetup(t, func(o *cloudflare.Options) {
		o.Journal = new(cloudflare.FullJournal)
	})
	err := s.Present(t.Context(), challenge("app.example.com", "key"))
	if err == nil || !strings.HasPrefix(err.Error(), "challenge record _acme-challenge.app.example.com: not created, because it could not be journalled: ") {
		t.Errorf("got %v", err)
	}
	if got := s.calls(); len(got) > 0 {
		t.Errorf("calls %q", got)
	}
}

func TestSweepDeletesOnlyWhatTheJournalNames(t *testing.T) {
	s := newSetup(t)
	ours, live := challenge("app.example.com", "ours"), challenge("app.example.com", "live")
	name := "_acme-challenge.app.example.com"
	set := func(kind, name, content string) {
		s.world.API.SetRecord("example.com", acmetest.Record{Type: kind, Name: name, Content: content})
	}
	set("TXT", name, `"`+ours.DNS01KeyAuthorization()+`"`)
	set("TXT", name, `"another program's"`)
	set("TXT", name, `"`+ours.DNS01KeyAuthorization()+`x"`) // contains ours
	set("TXT", "other.example.com", `"`+ours.DNS01KeyAuthorization()+`"`)
	set("A", name, "192.0.2.1")
	for _, r := range []cloudflare.Record{
		{Zone: "example.com", Name: name, Value: ours.DNS01KeyAuthorization()},
		{Zone: "example.com", Name: "_acme-challenge.gone.example.com", Value: "gone"},
		{Zone: "example.org", Name: "_acme-challenge.example.org", Value: "of a zone that is not configured any more"},
	} {
		if err := s.journal.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Present(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.expectTXT("example.com", name+" another program's", name+" "+ours.DNS01KeyAuthorization()+"x",
		"other.example.com "+ours.DNS01KeyAuthorization(), name+" 192.0.2.1", name+" "+live.DNS01KeyAuthorization())
	records, _ := s.journal.Load(t.Context())
	if len(records) != 2 || records[0].Zone != "example.org" || records[1].Value != live.DNS01KeyAuthorization() {
		t.Errorf("journal has %+v", records)
	}

	// What cannot be deleted now is kept, and does not stop the rest.
	if err := s.journal.Add(t.Context(), cloudflare.Record{Zone: "example.net", Name: "_acme-challenge.example.net", Value: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := s.CleanUp(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	s.world.API.RevokeToken(tokenNet)
	err := s.Sweep(t.Context())
	if e, ok := errors.AsType[*cloudflare.APIError](err); !ok || e.Credential != "net" {
		t.Errorf("got %v", err)
	}
	if records, _ := s.journal.Load(t.Context()); len(records) != 2 {
		t.Errorf("journal has %+v", records)
	}
}

func TestSlowZoneHoldsUpNoOther(t *testing.T) {
	s := newSetup(t)
	s.world.API.FailNext(acmetest.Failure{Hang: true, Match: func(r *http.Request) bool { return r.URL.Query().Get("name") == "example.com" }})
	ctx, cancel := context.WithCancel(t.Context())
	slow := make(chan error, 1)
	go func() { slow <- s.Present(ctx, challenge("app.example.com", "slow")) }()
	if err := s.world.API.WaitRequest(t.Context(), func(r acmetest.Request) bool { return strings.Contains(r.Path, "name=example.com") }); err != nil {
		t.Fatal(err)
	}
	// Another zone of the same credential, and another credential.
	for _, name := range []string{"a.sub.example.com", "a.example.net"} {
		if err := s.Present(t.Context(), challenge(name, "fast")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancel()
	if err := <-slow; !errors.Is(err, context.Canceled) {
		t.Errorf("slow one: %v", err)
	}
}

func TestTokenRotatedInTheMiddleOfAnOrder(t *testing.T) {
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.world.API.FailNext(acmetest.Failure{Hang: true, Match: method("POST", "/dns_records")})
	ctx, cancel := context.WithCancel(t.Context())
	underWay := make(chan error, 1)
	go func() { underWay <- s.Present(ctx, challenge("app.example.com", "under way")) }()
	posts := 0
	if err := s.world.API.WaitRequest(t.Context(), func(r acmetest.Request) bool {
		if r.Method == "POST" && r.Status == 0 {
			posts++
		}
		return posts > 0
	}); err != nil {
		t.Fatal(err)
	}
	s.write(s.com, tokenNew)
	s.world.API.AddToken(acmetest.Token{Value: tokenNew, Zones: []string{"example.com", "sub.example.com"}, Account: true})
	s.world.API.RevokeToken(tokenCom)
	s.world.API.ResetRequests()
	// The rest of the order uses the new token, and looks the zone up anew.
	if err := errors.Join(s.Wait(t.Context(), c), s.CleanUp(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.world.API.Requests() {
		if r.Token != tokenNew {
			t.Errorf("%s %s with the old token", r.Method, r.Path)
		}
	}
	if got := s.calls()[0]; got != "GET /zones 200" {
		t.Errorf("first call %s", got)
	}
	s.expectTXT("example.com")
	cancel()
	if err := <-underWay; !errors.Is(err, context.Canceled) {
		t.Errorf("the one under way: %v", err)
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	s := newSetup(t)
	s.PanicWith(struct{ Token string }{tokenCom})
	c := challenge("app.example.com", "key")
	expect(t, s.Present(t.Context(), c), "creating the challenge record: panic: value of type struct { Token string }", "")
	s.expectJournal(c)
	expect(t, s.CleanUp(t.Context(), c), "deleting the challenge record: panic: value of type struct { Token string }", "")
	expect(t, s.Sweep(t.Context()), "sweeping left-over records: panic: value of type struct { Token string }", "")
	if !strings.Contains(s.log.String(), `"msg":"panic recovered"`) {
		t.Errorf("log:\n%s", s.log)
	}
}
