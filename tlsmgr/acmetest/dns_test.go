package acmetest_test

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// ask puts one question to the World's name server.
func ask(t *testing.T, w *acmetest.World, network, name string, rrtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), rrtype)
	reply, _, err := (&dns.Client{Net: network}).ExchangeContext(t.Context(), m, w.DNS.Addr)
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return reply
}

// summary renders the answer section: type and data of each record.
func summary(m *dns.Msg) string {
	var parts []string
	for _, rr := range m.Answer {
		parts = append(parts, dns.Type(rr.Header().Rrtype).String()+" "+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(parts, ", ")
}

func TestDNSAnswersOverBothProtocols(t *testing.T) {
	w := start(t, acmetest.Options{Zones: []string{"example.com", "sub.example.com", "example.net"}})
	for zone, records := range map[string][]acmetest.Record{
		"example.com": {
			{Type: "TXT", Name: "_acme-challenge.app", Content: `"one"`},
			{Type: "TXT", Name: "_acme-challenge.app", Content: "two", TTL: 60},
			{Type: "A", Name: "@", Content: "192.0.2.1"},
			{Type: "AAAA", Name: "v6", Content: "2001:db8::1"},
			{Type: "CNAME", Name: "_acme-challenge.alias", Content: "target.example.net"},
			{Type: "CNAME", Name: "away", Content: "elsewhere.example"},
			{Type: "CNAME", Name: "broken", Content: "nothing.example.net"},
			{Type: "CNAME", Name: "loop", Content: "loop.example.com"},
			{Type: "MX", Name: "@", Content: "not in the form of the DNS, for lack of a priority"},
		},
		"sub.example.com": {{Type: "TXT", Name: "deep.er", Content: "sub"}},
		"example.net":     {{Type: "TXT", Name: "target", Content: "hit"}, {Type: "TXT", Name: "long", Content: strings.Repeat("x", 300)}},
	} {
		for _, r := range records {
			w.API.SetRecord(zone, r)
		}
	}
	loop := strings.TrimSuffix(strings.Repeat("CNAME loop.example.com., ", 8), ", ")
	for _, test := range []struct {
		name   string
		rrtype uint16
		rcode  int
		answer string
	}{
		{"acme.sallyport.test", dns.TypeA, dns.RcodeSuccess, "A 127.0.0.1"},
		{"api.sallyport.test", dns.TypeA, dns.RcodeSuccess, "A 127.0.0.1"},
		{"NS1.Sallyport.Test", dns.TypeA, dns.RcodeSuccess, "A 127.0.0.1"},
		{"ns2.sallyport.test", dns.TypeA, dns.RcodeSuccess, "A 127.0.0.1"},
		{"acme.sallyport.test", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"sallyport.test", dns.TypeNS, dns.RcodeSuccess, "NS ns1.sallyport.test., NS ns2.sallyport.test."},
		{"other.sallyport.test", dns.TypeA, dns.RcodeNameError, ""},
		{"_acme-challenge.app.example.com", dns.TypeTXT, dns.RcodeSuccess, `TXT "one", TXT "two"`},
		{"_ACME-Challenge.App.Example.COM", dns.TypeTXT, dns.RcodeSuccess, `TXT "one", TXT "two"`},
		{"_acme-challenge.app.example.com", dns.TypeA, dns.RcodeSuccess, ""},
		{"app.example.com", dns.TypeTXT, dns.RcodeSuccess, ""}, // an empty name above an existing one
		{"none.example.com", dns.TypeTXT, dns.RcodeNameError, ""},
		{"example.com", dns.TypeA, dns.RcodeSuccess, "A 192.0.2.1"},
		{"example.com", dns.TypeTXT, dns.RcodeSuccess, ""},
		{"example.com", dns.TypeMX, dns.RcodeServerFailure, ""},
		{"example.com", dns.TypeNS, dns.RcodeSuccess, "NS ns1.sallyport.test., NS ns2.sallyport.test."},
		{"v6.example.com", dns.TypeAAAA, dns.RcodeSuccess, "AAAA 2001:db8::1"},
		{"example.net", dns.TypeSOA, dns.RcodeSuccess, "SOA ns1.sallyport.test. dns.sallyport.test. 3 10000 2400 604800 1"},
		{"_acme-challenge.alias.example.com", dns.TypeTXT, dns.RcodeSuccess, `CNAME target.example.net., TXT "hit"`},
		{"_acme-challenge.alias.example.com", dns.TypeCNAME, dns.RcodeSuccess, `CNAME target.example.net.`},
		{"away.example.com", dns.TypeTXT, dns.RcodeSuccess, `CNAME elsewhere.example.`},
		{"broken.example.com", dns.TypeTXT, dns.RcodeNameError, `CNAME nothing.example.net.`},
		{"loop.example.com", dns.TypeTXT, dns.RcodeSuccess, loop},
		{"deep.er.sub.example.com", dns.TypeTXT, dns.RcodeSuccess, `TXT "sub"`},
		{"long.example.net", dns.TypeTXT, dns.RcodeSuccess, `TXT "` + strings.Repeat("x", 255) + `" "` + strings.Repeat("x", 45) + `"`},
		{"example.org", dns.TypeTXT, dns.RcodeRefused, ""},
		{"badexample.com", dns.TypeTXT, dns.RcodeRefused, ""},
		{"com", dns.TypeNS, dns.RcodeRefused, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := ask(t, w, network, test.name, test.rrtype)
			if m.Rcode != test.rcode || summary(m) != test.answer {
				t.Errorf("%s %s %s: got %s %q, want %s %q", network, test.name, dns.Type(test.rrtype),
					dns.RcodeToString[m.Rcode], summary(m), dns.RcodeToString[test.rcode], test.answer)
			}
			if m.Rcode == dns.RcodeNameError && len(m.Ns) != 1 {
				t.Errorf("%s: no SOA beside NXDOMAIN", test.name)
			}
			if len(m.Answer) > 0 && m.Answer[0].Header().Name != dns.Fqdn(test.name) {
				t.Errorf("%s: the answer is spelt %s", test.name, m.Answer[0].Header().Name)
			}
		}
	}
}

func TestDNSTruncatesLongAnswersOverUDP(t *testing.T) {
	w := start(t, acmetest.Options{})
	for _, c := range []string{"a", "b", "c", "d"} {
		w.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "long", Content: strings.Repeat(c, 200)})
	}
	if m := ask(t, w, "udp", "long.example.com", dns.TypeTXT); !m.Truncated || m.Len() > dns.MinMsgSize {
		t.Errorf("UDP: truncated %v, %d bytes", m.Truncated, m.Len())
	}
	if m := ask(t, w, "tcp", "long.example.com", dns.TypeTXT); m.Truncated || len(m.Answer) != 4 {
		t.Errorf("TCP: truncated %v, %d records", m.Truncated, len(m.Answer))
	}
	texts, err := w.Resolver().LookupTXT(t.Context(), "long.example.com")
	if err != nil || len(texts) != 4 {
		t.Errorf("resolver: %d texts, %v", len(texts), err)
	}
}

func TestDNSPropagation(t *testing.T) {
	w := start(t, acmetest.Options{})
	set := func(name string) {
		w.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: name, Content: "text"})
	}
	visible := func(name string) bool {
		return len(ask(t, w, "udp", name+".example.com", dns.TypeTXT).Answer) > 0
	}
	set("early")
	w.DNS.Hold()
	set("held")
	if !visible("early") || visible("held") {
		t.Errorf("early %v, held %v; want true, false", visible("early"), visible("held"))
	}
	w.DNS.Release()
	set("late")
	if !visible("held") || !visible("late") {
		t.Errorf("after Release: held %v, late %v", visible("held"), visible("late"))
	}
	w.DNS.Delay(time.Hour)
	set("slow")
	if visible("slow") {
		t.Error("a delayed record is visible at once")
	}
	w.DNS.Delay(50 * time.Millisecond)
	made := time.Now()
	set("quick")
	for !visible("quick") { // each round is a question to the server
		if time.Since(made) > 10*time.Second {
			t.Fatal("a delayed record never becomes visible")
		}
	}
	if after := time.Since(made); after < 50*time.Millisecond {
		t.Errorf("a record delayed by 50 ms is visible after %v", after)
	}
}

func TestDNSFailures(t *testing.T) {
	w := start(t, acmetest.Options{})
	w.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "x", Content: "text"})
	w.DNS.Fail(dns.RcodeServerFailure)
	if m := ask(t, w, "udp", "x.example.com", dns.TypeTXT); m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
		t.Errorf("got %s", m)
	}
	if m := ask(t, w, "udp", "acme.sallyport.test", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("a failing zone takes the World's own names with it: %s", m)
	}
	w.DNS.Fail(dns.RcodeSuccess)
	if m := ask(t, w, "udp", "x.example.com", dns.TypeTXT); len(m.Answer) != 1 {
		t.Errorf("after the failure: %s", m)
	}

	w.DNS.ResetQueries()
	w.DNS.Silence(true)
	result := make(chan error, 1)
	go func() {
		client := &dns.Client{Timeout: 200 * time.Millisecond}
		_, _, err := client.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("x.example.com.", dns.TypeTXT), w.DNS.Addr)
		result <- err
	}()
	if err := w.DNS.WaitQuery(t.Context(), func(q acmetest.Query) bool { return q.Rcode == -1 }); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil {
		t.Error("a silent server answered")
	}
	w.DNS.Silence(false)
	if m := ask(t, w, "tcp", "X.example.com", dns.TypeTXT); len(m.Answer) != 1 {
		t.Errorf("after the silence: %s", m)
	}
	want := []acmetest.Query{
		{Network: "udp", Name: "x.example.com.", Type: "TXT", Rcode: -1},
		{Network: "tcp", Name: "X.example.com.", Type: "TXT", Rcode: dns.RcodeSuccess},
	}
	if got := w.DNS.Queries(); !slices.Equal(got, want) {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
}

func TestResolverKnowsOnlyTheWorld(t *testing.T) {
	w := start(t, acmetest.Options{})
	addrs, err := w.Resolver().LookupHost(t.Context(), "api.sallyport.test")
	if err != nil || !slices.Equal(addrs, []string{"127.0.0.1"}) {
		t.Errorf("api.sallyport.test is %v, %v", addrs, err)
	}
	if addrs, err := w.Resolver().LookupHost(t.Context(), "www.example.org."); err == nil {
		t.Errorf("a name that is not ours resolves to %v", addrs)
	}
	if addrs, err := new(net.Resolver).LookupHost(t.Context(), "api.sallyport.test."); err == nil {
		t.Errorf("our name resolves elsewhere, to %v", addrs)
	}
}
