package routing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestHostNormalisation(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "A.TEST": "a.test", "a.test:443": "a.test", "a.test:": "a.test", "a.test.": "a.test",
		"A.Test.:8443": "a.test", "localhost": "localhost", "my_app.test": "my_app.test", "127.0.0.1:80": "127.0.0.1",
		"[::1]": "::1", "[::1]:443": "::1", "[2001:DB8:0:0::1]": "2001:db8::1",
		strings.Repeat("a", 63) + ".test": strings.Repeat("a", 63) + ".test",
	} {
		var buf HostBuffer
		if got, ok := Host(&buf, in); !ok || string(got) != want {
			t.Errorf("%q became %q, %t", in, got, ok)
		}
	}
	for _, in := range []string{
		"", ".", "..", ":443", "a..test", ".a.test", "a.test..", "a.test:x", "a.test:65536", "a.test:443:443", "a.test:-1", "a test", "a.test ",
		"a/b", "a@b", "a,b", "a%2eb", "ü.test", "a\x00b", "*.test", "::1", "[::1", "[::1]x", "[::1]:x", "[127.0.0.1]", "[fe80::1%25eth0]", "[a.test]",
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "aa",
	} {
		var buf HostBuffer
		if got, ok := Host(&buf, in); ok {
			t.Errorf("%q was accepted as %q", in, got)
		}
	}
}

// FuzzHost: whatever is accepted is its own canonical form, and neither case,
// port nor a final dot matters.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"a.test", "A.test:443", "a.test.", "[::1]:1", "[2001:DB8::1]", "..", "*.a", "a_b", "xn--a", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var buf, again HostBuffer
		out, ok := Host(&buf, in)
		if !ok {
			return
		}
		text := string(out)
		if strings.ContainsAny(text, "/@%*, \t\r\n\x00#?\\") || text != strings.ToLower(text) || text == "" {
			t.Fatalf("%q became %q", in, text)
		}
		if strings.Contains(text, ":") {
			text = "[" + text + "]"
		}
		for _, variant := range []string{text, strings.ToUpper(text), text + ":8443"} {
			if same, ok := Host(&again, variant); !ok || string(same) != string(out) {
				t.Fatalf("%q became %q, but %q became %q", in, out, variant, same)
			}
		}
	})
}

// place is a site that has no more than a name.
type place struct{ name string }

func (p *place) Name() string { return p.name }

func testHosts(t testing.TB, names ...string) *Hosts[*place] {
	t.Helper()
	r := NewHosts[*place](len(names))
	for _, group := range names {
		all := strings.Fields(group)
		s := &place{name: all[0]}
		for _, name := range all {
			if err := r.Add(name, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

func TestExactNameWinsOverWildcardAndWildcardIsOneLabel(t *testing.T) {
	r := testHosts(t, "a.test alias.test", "*.apps.test", "x.apps.test", "*.test")
	for host, want := range map[string]string{
		"a.test": "a.test", "ALIAS.test:443": "a.test", "x.apps.test": "x.apps.test", "y.apps.test": "*.apps.test",
		"apps.test": "*.test", "b.test": "*.test", "y.z.apps.test": "", "test": "", "other": "", "[::1]": "",
	} {
		s, err := r.Of(&http.Request{Host: host})
		switch {
		case want == "" && !errors.Is(err, ErrUnknown):
			t.Errorf("%s: %v, %v", host, s, err)
		case want != "" && (err != nil || s.name != want):
			t.Errorf("%s: %v, %v", host, s, err)
		}
	}
}

func TestHostMustBeOfTheSiteThatTheHandshakeWasFor(t *testing.T) {
	r := testHosts(t, "a.test alias.test", "*.apps.test", "x.apps.test", "b.test")
	for _, c := range []struct {
		sni, host string
		want      error
	}{
		{"a.test", "a.test", nil},
		{"a.test", "A.test:8443", nil},
		{"a.test", "alias.test", nil},
		{"one.apps.test", "two.apps.test", nil},
		{"one.apps.test", "x.apps.test", ErrMisdirected}, // the same certificate perhaps, but another site
		{"a.test", "b.test", ErrMisdirected},
		{"a.test", "unknown.test", ErrMisdirected},
		{"unknown.test", "a.test", ErrMisdirected},
		{"unknown.test", "unknown.test", ErrMisdirected},
		{"", "a.test", nil},
		{"", "unknown.test", ErrUnknown},
		{"a.test", "", ErrHost},
		{"a.test", "a.test, b.test", ErrHost},
	} {
		_, err := r.Of(&http.Request{Host: c.host, TLS: &tls.ConnectionState{ServerName: c.sni}})
		if err != c.want {
			t.Errorf("SNI %q, Host %q: got %v, want %v", c.sni, c.host, err, c.want)
		}
	}
}

func TestNameTwiceIsRefused(t *testing.T) {
	r := testHosts(t, "a.test")
	if err := r.Add("A.test.", &place{name: "b"}); err == nil {
		t.Error("a name was given to two sites")
	}
	if err := r.Add("a b", &place{name: "b"}); err == nil {
		t.Error("not a name, and accepted")
	}
}

func manySites(t testing.TB, n int) *Hosts[*place] {
	names := []string{"*.wild.test"}
	for i := range n {
		names = append(names, fmt.Sprintf("site%d.test", i))
	}
	return testHosts(t, names...)
}

// routed are requests of every kind that the table sees.
func routed() []*http.Request {
	over := func(sni, host string) *http.Request {
		return &http.Request{Host: host, TLS: &tls.ConnectionState{ServerName: sni}}
	}
	return []*http.Request{
		over("site0.test", "site0.test"), over("site0.test", "SITE0.test:8443"), over("a.wild.test", "b.wild.test"),
		over("", "[2001:db8::1]:443"), over("site0.test", "nobody.test"),
	}
}

func TestRoutingAllocatesNothing(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		r := manySites(t, n)
		for _, req := range routed() {
			if allocs := testing.AllocsPerRun(100, func() { _, _ = r.Of(req) }); allocs != 0 {
				t.Errorf("%d sites, %s: %v allocations", n, req.Host, allocs)
			}
		}
	}
}

func BenchmarkHosts(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		r := manySites(b, n)
		for _, req := range routed()[:3] {
			b.Run(fmt.Sprintf("sites=%d/host=%s", n, req.Host), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = r.Of(req)
				}
			})
		}
	}
}
