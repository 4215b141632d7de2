package clientip_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/middleware/clientip"
)

const (
	lan      = "10.0.0.2"      // a trusted proxy
	outer    = "192.0.2.80"    // another one
	edge     = "162.158.1.1"   // Cloudflare's
	stranger = "203.0.113.9"   // who asks
	victim   = "198.51.100.77" // whom a spoofing client would like to be
)

func trust() *clientip.Trust {
	return clientip.New(clientip.Options{
		Proxies:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix(outer + "/32"), netip.MustParsePrefix("2001:db8:1::/48")},
		Cloudflare: true,
	})
}

// Per line: what a peer sends, and who is the client by it.
func TestTheClientIsTheFirstFromTheRightThatIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		peer   string
		fields []string
		client string
		sent   string // X-Forwarded-For for the server behind
		secure bool
		err    error
	}{
		"nobody trusted, forged":         {stranger, []string{"X-Forwarded-For: " + victim, "Forwarded: for=" + victim, "Cf-Connecting-Ip: " + victim, "X-Forwarded-Proto: https"}, stranger, stranger, false, nil},
		"nothing said":                   {lan, nil, lan, lan, false, nil},
		"one hop":                        {lan, []string{"X-Forwarded-For: " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"one hop, https":                 {lan, []string{"X-Forwarded-For: " + stranger, "X-Forwarded-Proto: https"}, stranger, stranger + ", " + lan, true, nil},
		"two hops":                       {lan, []string{"X-Forwarded-For: " + stranger + ", " + outer}, stranger, stranger + ", " + outer + ", " + lan, false, nil},
		"forged on the left":             {lan, []string{"X-Forwarded-For: " + victim + ", " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"forged a trusted one":           {lan, []string{"X-Forwarded-For: 10.9.9.9, " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"forged in a line before":        {lan, []string{"X-Forwarded-For: " + victim, "X-Forwarded-For: " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"a line of garbage before":       {lan, []string{"X-Forwarded-For: \x00\"';--", "X-Forwarded-For: " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"empty items":                    {lan, []string{"X-Forwarded-For: ,, " + stranger + " , ,"}, stranger, stranger + ", " + lan, false, nil},
		"all trusted":                    {lan, []string{"X-Forwarded-For: 10.7.7.7, " + outer}, "10.7.7.7", "10.7.7.7, " + outer + ", " + lan, false, nil},
		"with a port":                    {lan, []string{"X-Forwarded-For: " + stranger + ":4711"}, stranger, stranger + ", " + lan, false, nil},
		"IPv6":                           {"2001:db8:1::1", []string{"X-Forwarded-For: 2001:db8:2::7"}, "2001:db8:2::7", "2001:db8:2::7, 2001:db8:1::1", false, nil},
		"IPv6 in brackets":               {lan, []string{"X-Forwarded-For: [2001:db8:2::7]:4711"}, "2001:db8:2::7", "2001:db8:2::7, " + lan, false, nil},
		"IPv4-mapped peer and client":    {"::ffff:" + lan, []string{"X-Forwarded-For: ::ffff:" + stranger}, stranger, stranger + ", " + lan, false, nil},
		"garbage from a trusted proxy":   {lan, []string{"X-Forwarded-For: " + victim + ", localhost"}, lan, lan, false, clientip.ErrMalformed},
		"a zone":                         {lan, []string{"X-Forwarded-For: fe80::1%eth0"}, lan, lan, false, clientip.ErrMalformed},
		"unknown":                        {lan, []string{"X-Forwarded-For: " + victim + ", unknown"}, lan, lan, false, nil},
		"proto of a list":                {lan, []string{"X-Forwarded-For: " + stranger, "X-Forwarded-Proto: https, http"}, stranger, stranger + ", " + lan, false, nil},
		"Forwarded":                      {lan, []string{`Forwarded: for=` + victim + `;proto=http, For="` + stranger + `:80"; proto=https;by=` + lan}, stranger, stranger + ", " + lan, true, nil},
		"Forwarded, IPv6":                {lan, []string{`Forwarded: for="[2001:db8:2::7]:80"`}, "2001:db8:2::7", "2001:db8:2::7, " + lan, false, nil},
		"Forwarded, two hops":            {lan, []string{"Forwarded: for=" + stranger + ";proto=https, for=" + outer + ";proto=http"}, stranger, stranger + ", " + outer + ", " + lan, true, nil},
		"Forwarded hides":                {lan, []string{"Forwarded: for=" + victim + ", for=_hidden"}, lan, lan, false, nil},
		"Forwarded, comma in quotes":     {lan, []string{`Forwarded: for=` + stranger + `;host="a,for=` + victim + `"`}, stranger, stranger + ", " + lan, false, nil},
		"Forwarded, quote never closed":  {lan, []string{`Forwarded: for="x, for=` + stranger}, lan, lan, false, clientip.ErrMalformed},
		"Forwarded, quotes out of step":  {lan, []string{`Forwarded: for="\", for="` + stranger + `"`}, lan, lan, false, clientip.ErrMalformed},
		"Forwarded, for twice":           {lan, []string{"Forwarded: for=" + stranger + ";for=" + victim}, lan, lan, false, clientip.ErrMalformed},
		"both, agreeing":                 {lan, []string{"X-Forwarded-For: " + stranger, "Forwarded: for=" + stranger}, stranger, stranger + ", " + lan, false, nil},
		"a forged Forwarded passed on":   {lan, []string{"X-Forwarded-For: " + stranger, "Forwarded: for=" + victim}, lan, lan, false, clientip.ErrContradiction},
		"a forged XFF passed on":         {lan, []string{"Forwarded: for=" + stranger, "X-Forwarded-For: " + victim}, lan, lan, false, clientip.ErrContradiction},
		"Cloudflare":                     {edge, []string{"Cf-Connecting-Ip: " + stranger, "X-Forwarded-For: " + victim + ", " + stranger, "X-Forwarded-Proto: https"}, stranger, stranger + ", " + edge, true, nil},
		"Cloudflare, IPv6":               {"2606:4700::1", []string{"Cf-Connecting-Ip: 2001:db8:2::7"}, "2001:db8:2::7", "2001:db8:2::7, 2606:4700::1", false, nil},
		"CF field of another trusted":    {lan, []string{"Cf-Connecting-Ip: " + victim, "X-Forwarded-For: " + stranger}, stranger, stranger + ", " + lan, false, nil},
		"CF field twice":                 {edge, []string{"Cf-Connecting-Ip: " + victim, "Cf-Connecting-Ip: " + victim, "X-Forwarded-For: " + stranger}, stranger, stranger + ", " + edge, false, nil},
		"Cloudflare behind a balancer":   {lan, []string{"Cf-Connecting-Ip: " + victim, "X-Forwarded-For: " + stranger + ", " + edge}, stranger, stranger + ", " + edge + ", " + lan, false, nil},
		"X-Real-IP means nothing":        {lan, []string{"X-Real-Ip: " + victim, "True-Client-Ip: " + victim}, lan, lan, false, nil},
		"more hops than anybody has":     {lan, []string{"X-Forwarded-For: " + victim + strings.Repeat(", 10.0.0.3", 32)}, "10.0.0.3", "", false, nil},
		"a long Forwarded of only comma": {lan, []string{"Forwarded: for=" + victim + strings.Repeat(",", 60_000)}, lan, lan, false, nil},
	} {
		h := http.Header{}
		for _, field := range c.fields {
			name, value, _ := strings.Cut(field, ": ")
			h.Add(name, value)
		}
		claim, err := trust().Resolve(netip.MustParseAddr(c.peer), false, h)
		if !errors.Is(err, c.err) || claim.Client != netip.MustParseAddr(c.client) || claim.Secure != c.secure {
			t.Errorf("%s: client %v, secure %v, %v; want %v, %v, %v", name, claim.Client, claim.Secure, err, c.client, c.secure, c.err)
		}
		if got := claim.ForwardedFor(); c.sent != "" && got != c.sent {
			t.Errorf("%s: passed on as %q, want %q", name, got, c.sent)
		}
	}
}

func TestWithoutTrustNothingIsRead(t *testing.T) {
	h := http.Header{"X-Forwarded-For": {victim}}
	for name, none := range map[string]*clientip.Trust{"nil": nil, "empty": clientip.New(clientip.Options{})} {
		claim, err := none.Resolve(netip.MustParseAddr(lan), true, h)
		if err != nil || claim.Client.String() != lan || !claim.Secure || none.Trusted(netip.MustParseAddr(lan)) {
			t.Errorf("%s: %+v, %v", name, claim, err)
		}
	}
	without := clientip.New(clientip.Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	claim, _ := without.Resolve(netip.MustParseAddr(edge), false, http.Header{"Cf-Connecting-Ip": {victim}})
	if claim.Client.String() != edge {
		t.Errorf("Cloudflare is trusted unasked: %+v", claim)
	}
}

func TestTheGatewayIsNoticedOnceAndOnlyIfThereIsNobodyElse(t *testing.T) {
	gateway := netip.MustParseAddr("172.17.0.1")
	ask := func(w *clientip.Watch, address string, ports int) (warned int) {
		for port := range ports {
			if w.Saw(netip.AddrPortFrom(netip.MustParseAddr(address), uint16(1000+port))) {
				warned++
			}
		}
		return warned
	}
	w := clientip.NewWatch(gateway)
	ask(w, "127.0.0.1", 3) // a health check says nothing
	if n := ask(w, "172.17.0.1", 100) + ask(w, "172.17.0.1", 100); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
	w = clientip.NewWatch(gateway)
	for range 1000 {
		if w.Saw(netip.AddrPortFrom(gateway, 7)) {
			t.Fatal("warned of one busy connection")
		}
	}
	w = clientip.NewWatch(gateway)
	ask(w, "172.17.0.1", 5)
	ask(w, "172.17.0.9", 1)
	if n := ask(w, "172.17.0.1", 100); n != 0 {
		t.Error("warned though there was another client")
	}
	for _, none := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.1")} {
		if n := ask(clientip.NewWatch(none), "192.0.2.1", 100); n != 0 {
			t.Errorf("gateway %v: warned", none)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(victim+", "+stranger, "")
	f.Add("", `for="[2001:db8::1]:80";proto=https, for=10.0.0.1`)
	f.Add("unknown, 10.0.0.2", `for="\", for="_x"`)
	f.Fuzz(func(t *testing.T, common, standard string) {
		h := http.Header{}
		if common != "" {
			h["X-Forwarded-For"] = []string{common}
		}
		if standard != "" {
			h["Forwarded"] = []string{standard}
		}
		tr := trust()
		claim, err := tr.Resolve(netip.MustParseAddr(lan), false, h)
		if !claim.Client.IsValid() || claim.Client.Is4In6() || claim.Client.Zone() != "" {
			t.Fatalf("no plain client: %v", claim)
		}
		if err != nil {
			return
		}
		for _, proxy := range claim.Via {
			if !tr.Trusted(proxy) {
				t.Fatalf("%v is not trusted: %v", proxy, claim)
			}
		}
		// Whatever a client puts in front must not change who it is.
		for name := range h {
			h[name] = []string{victim + ", " + h[name][0]}
			if name == "Forwarded" {
				h[name] = []string{"for=" + victim + ", " + standard}
			}
		}
		if len(h) == 1 && !tr.Trusted(claim.Client) {
			again, err := tr.Resolve(netip.MustParseAddr(lan), false, h)
			if err == nil && again.Client != claim.Client {
				t.Fatalf("%v became %v", claim.Client, again.Client)
			}
		}
		// What is passed on reads back as the same.
		back, err := tr.Resolve(netip.MustParseAddr(lan), false, http.Header{"X-Forwarded-For": {claim.ForwardedFor()}})
		if err != nil || back.Client != claim.Client {
			t.Fatalf("%q reads back as %v, %v", claim.ForwardedFor(), back.Client, err)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	tr, peer := trust(), netip.MustParseAddr(lan)
	for name, h := range map[string]http.Header{"stranger": nil, "one_hop": {"X-Forwarded-For": {stranger}}} {
		from := peer
		if h == nil {
			from = netip.MustParseAddr(stranger)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = tr.Resolve(from, true, h)
			}
		})
	}
}
