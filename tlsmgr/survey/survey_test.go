package survey_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/survey"
)

func startWorld(t *testing.T) (*acmetest.World, *survey.Survey) {
	t.Helper()
	w, err := acmetest.Start(acmetest.Options{Zones: []string{"example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, survey.New(survey.Options{Resolver: w.Resolver(), Servers: []string{w.DNS.Addr}, Roots: w.Roots()})
}

func TestDirectoryTellsTheClockAndWhatTheCAWants(t *testing.T) {
	w, s := startWorld(t)
	d, err := s.Directory(t.Context(), w.DirectoryURL)
	if err != nil {
		t.Fatal(err)
	}
	if d.Date.IsZero() || d.Skew() != 0 || len(d.CAAIdentities) == 0 {
		t.Errorf("%+v, skew %v", d, d.Skew())
	}
	if _, err := s.Directory(t.Context(), w.API.URL); err == nil {
		t.Error("what is no directory is one")
	}
	if _, err := survey.New(survey.Options{Resolver: w.Resolver()}).Directory(t.Context(), w.DirectoryURL); err == nil {
		t.Error("a CA is believed without a root")
	}
}

func TestSkewIsWhatTheWayDoesNotExplain(t *testing.T) {
	asked := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	for _, c := range []struct {
		date string
		want time.Duration
	}{
		{"03:04:05", 0}, {"03:04:06", 0}, {"03:04:07", 0}, {"03:04:04", 1600 * time.Millisecond}, {"03:05:08", -time.Minute}, {"01:04:05", 2*time.Hour + 600*time.Millisecond},
	} {
		date, err := time.Parse("2006-01-02 15:04:05", "2026-01-02 "+c.date)
		if err != nil {
			t.Fatal(err)
		}
		d := survey.Directory{Date: date, Asked: asked, Answered: asked.Add(2400 * time.Millisecond)}
		if got := d.Skew(); got != c.want {
			t.Errorf("%s: %v, want %v", c.date, got, c.want)
		}
	}
	if (survey.Directory{Asked: asked, Answered: asked}).Skew() != 0 {
		t.Error("a CA that does not tell its time is wrong")
	}
}

// TestCAAIsReadAsACADoes goes through the cases of RFC 8659 and RFC 8657.
func TestCAAIsReadAsACADoes(t *testing.T) {
	for _, c := range []struct {
		records  []string // NAME VALUE
		name     string
		allowed  bool
		policyOf string
	}{
		{nil, "a.example.test", true, ""},
		{[]string{`example.test 0 issue "ca.test"`}, "a.b.example.test", true, "example.test"},
		{[]string{`example.test 0 issue "CA.test"`}, "example.test", true, "example.test"},
		{[]string{`example.test 0 issue "other.test"`}, "a.example.test", false, "example.test"},
		{[]string{`example.test 0 issue ";"`}, "a.example.test", false, "example.test"},
		{[]string{`example.test 0 issue "other.test"`, `example.test 0 issue "ca.test"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 0 issue "other.test"`, `a.example.test 0 issue "ca.test"`}, "a.example.test", true, "a.example.test"},
		{[]string{`example.test 0 issue "ca.test"`, `a.example.test 0 issue "other.test"`}, "*.a.example.test", false, "a.example.test"},
		{[]string{`example.test 0 issue "ca.test"`, `example.test 0 issuewild ";"`}, "*.example.test", false, "example.test"},
		{[]string{`example.test 0 issue "ca.test"`, `example.test 0 issuewild ";"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 0 issue ";"`, `example.test 0 issuewild "ca.test"`}, "*.example.test", true, "example.test"},
		{[]string{`example.test 0 issuewild "other.test"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 0 iodef "mailto:a@example.test"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 128 unheard "x"`, `example.test 0 issue "ca.test"`}, "a.example.test", false, "example.test"},
		{[]string{`example.test 0 unheard "x"`, `example.test 0 issue "ca.test"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 0 issue "ca.test; validationmethods=dns-01"`}, "a.example.test", true, "example.test"},
		{[]string{`example.test 0 issue "ca.test; accounturi=https://ca.test/1; validationmethods=http-01,tls-alpn-01"`}, "a.example.test", false, "example.test"},
	} {
		w, s := startWorld(t)
		for _, record := range c.records {
			var name string
			_, _ = fmt.Sscan(record, &name)
			w.API.SetRecord("example.test", acmetest.Record{Type: "CAA", Name: name, Content: record[len(name)+1:]})
		}
		policy, err := s.CAA(t.Context(), c.name)
		if err != nil {
			t.Fatalf("%q: %v", c.records, err)
		}
		wildcard := c.name[0] == '*'
		if got := policy.Allows([]string{"ca.test"}, wildcard, "dns-01"); got != c.allowed || policy.Name != c.policyOf {
			t.Errorf("%q for %s: allowed %t by %q, want %t by %q", c.records, c.name, got, policy.Name, c.allowed, c.policyOf)
		}
	}
}

func TestADNSThatDoesNotAnswerIsNoPermission(t *testing.T) {
	w, s := startWorld(t)
	w.DNS.Fail(2)
	if p, err := s.CAA(t.Context(), "a.example.test"); err == nil {
		t.Errorf("SERVFAIL is %+v", p)
	}
	w.DNS.Fail(0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Alias(ended, "a.example.test"); err == nil {
		t.Error("an ended context has an answer")
	}
}

func TestAliasIsTheFirstLink(t *testing.T) {
	w, s := startWorld(t)
	w.API.SetRecord("example.test", acmetest.Record{Type: "CNAME", Name: "_acme-challenge.example.test", Content: "X.Elsewhere.test"})
	for name, want := range map[string]string{"_acme-challenge.example.test": "x.elsewhere.test", "_acme-challenge.a.example.test": ""} {
		if got, err := s.Alias(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
