package header_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/header"
)

// through sends a request through middleware to an application that answers
// with the given fields, and returns what the client and the application see.
func through(t testing.TB, m func(http.Handler) http.Handler, r *http.Request, answer http.Header) (*httptest.ResponseRecorder, *http.Request) {
	t.Helper()
	x := exchange.New(r)
	var seen *http.Request
	w := httptest.NewRecorder()
	m(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		for name, values := range answer {
			w.Header()[name] = values
		}
		x.Head(r, 200, w.Header())
		w.WriteHeader(200)
	})).ServeHTTP(w, exchange.With(r, x))
	if seen == nil {
		x.Head(r, w.Code, w.Header())
	}
	return w, seen
}

func get(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "https://a.test/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// fieldsOf turns pairs into fields.
func fieldsOf(pairs ...string) (fields []header.Field) {
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, header.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return fields
}

type path struct{}

func (path) Expand(r *http.Request) string { return "at " + r.URL.Path }

func TestRulesRunInTheirOrder(t *testing.T) {
	m := header.Response(header.Rules{
		Remove:  []string{"Server", "X-Debug-*"},
		Set:     fieldsOf("X-A", "ours", "X-Two", "1", "X-Two", "2"),
		Add:     fieldsOf("Link", "</b>", "X-New", "n"),
		Default: fieldsOf("Cache-Control", "no-store", "X-A", "never"),
	})
	answer := http.Header{
		"Server": {"app"}, "X-Debug-Sql": {"select"}, "X-Debug": {"stays"}, "X-A": {"theirs"}, "Link": {"</a>"}, "Content-Length": {"0"},
	}
	w, _ := through(t, m, get(), answer)
	want := http.Header{
		"X-Debug": {"stays"}, "X-A": {"ours"}, "X-Two": {"1", "2"}, "Link": {"</a>", "</b>"}, "X-New": {"n"},
		"Cache-Control": {"no-store"}, "Content-Length": {"0"},
	}
	if fmt.Sprint(w.Header()) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", w.Header(), want)
	}
	if len(answer["Link"]) != 1 {
		t.Error("the application's slice was changed")
	}
	w, _ = through(t, m, get(), http.Header{"Cache-Control": {"max-age=1"}})
	if got := w.Header().Get("Cache-Control"); got != "max-age=1" {
		t.Errorf("a default replaced the application's: %q", got)
	}
}

func TestARoutesRulesDoNotClobberItsSites(t *testing.T) {
	site := header.Rules{
		Remove:  []string{"Server"},
		Set:     fieldsOf("X-Frame-Options", "DENY", "X-Kept", "site"),
		Add:     fieldsOf("Vary", "Cookie"),
		Default: fieldsOf("Cache-Control", "no-store", "X-Gone", "site"),
	}
	route := header.Rules{
		Remove:  []string{"X-Gone"},
		Set:     fieldsOf("X-Frame-Options", "SAMEORIGIN"),
		Add:     fieldsOf("Vary", "Origin"),
		Default: fieldsOf("Cache-Control", "max-age=1"),
	}
	w, _ := through(t, header.Response(header.Merge(site, route)), get(), http.Header{"Server": {"x"}, "X-Gone": {"app"}})
	want := http.Header{
		"X-Frame-Options": {"SAMEORIGIN"}, "X-Kept": {"site"}, "Vary": {"Cookie", "Origin"}, "Cache-Control": {"max-age=1"},
	}
	if fmt.Sprint(w.Header()) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", w.Header(), want)
	}
	if len(site.Set) != 2 || len(site.Default) != 2 {
		t.Error("merging changed the site's own rules")
	}
}

func TestAValueMadeOfARequestCannotEndItsField(t *testing.T) {
	r := get()
	r.URL.Path = "/a\r\nSet-Cookie: evil=1\x00\x7f"
	rules := header.Rules{Set: []header.Field{{Name: "X-Path", Template: path{}}}}
	w, _ := through(t, header.Response(rules), r, nil)
	if got := w.Header()["X-Path"]; len(got) != 1 || got[0] != "at /a  Set-Cookie: evil=1" {
		t.Errorf("%q", got)
	}
	_, seen := through(t, header.Request(rules), r, nil)
	if got := seen.Header.Get("X-Path"); strings.ContainsAny(got, "\r\n\x00") {
		t.Errorf("towards the application: %q", got)
	}
}

func TestAForgedRequestFieldIsReplacedAndARemovedOneIsGone(t *testing.T) {
	rules := header.Rules{Remove: []string{"X-Admin", "Remote-*"}, Set: fieldsOf("X-Tier", "public")}
	_, seen := through(t, header.Request(rules), get("X-Tier", "internal", "X-Tier", "two", "x-admin", "1", "Remote-User", "root"), nil)
	if fmt.Sprint(seen.Header) != "map[X-Tier:[public]]" {
		t.Errorf("%v", seen.Header)
	}
}

func TestNamesThatAreTheProxysBusinessAreRefused(t *testing.T) {
	for _, c := range []struct {
		name             string
		request, pattern bool
		want             string // "" is refused
	}{
		{"x-a", true, false, "X-A"}, {"X-*", false, true, "X-*"}, {"X-*", false, false, "X-*"}, {"*", false, true, "*"},
		{"", false, false, ""}, {"a b", false, false, ""}, {"a\r\nb", false, false, ""}, {"naïve", false, false, ""}, {"a:", false, false, ""},
		{"connection", false, false, ""}, {"Transfer-Encoding", true, false, ""}, {"content-length", false, true, ""}, {"Trailer", false, false, ""},
		{"host", true, false, ""}, {"Host", false, false, "Host"}, {"X-Forwarded-For", true, false, ""}, {"X-Forwarded-Port", true, false, "X-Forwarded-Port"},
		{"X-Request-Id", true, false, ""}, {"X-Request-Id", false, false, "X-Request-Id"}, {"Expect", true, false, ""},
	} {
		got, err := header.Name(c.name, c.request, c.pattern)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.name, got, err, c.want)
		}
		if err != nil {
			if hinted, ok := err.(interface{ Hint() string }); !ok || hinted.Hint() == "" {
				t.Errorf("%q is refused without a hint", c.name)
			}
		}
	}
	if header.Value("a\tb") != nil || header.Value("a\nb") == nil {
		t.Error("values are not checked")
	}
}

func TestSecurityFieldsYieldToTheApplications(t *testing.T) {
	o := header.SecurityOptions{HSTS: 3600e9, Subdomains: true, NoSniff: true, Frames: "self", ReferrerPolicy: "no-referrer", ContentPolicy: "default-src 'self'"}
	m := header.Security(o)
	w, _ := through(t, m, get(), nil)
	want := http.Header{
		"Strict-Transport-Security": {"max-age=3600; includeSubDomains"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"},
		"X-Frame-Options": {"SAMEORIGIN"}, "Content-Security-Policy": {"default-src 'self'", "frame-ancestors 'self'"},
	}
	if fmt.Sprint(w.Header()) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", w.Header(), want)
	}
	own := http.Header{
		"Strict-Transport-Security": {"max-age=1"}, "X-Content-Type-Options": {"own"}, "Referrer-Policy": {"origin"},
		"Content-Security-Policy": {"img-src *; Frame-Ancestors https://b.test"},
	}
	w, _ = through(t, m, get(), own)
	if fmt.Sprint(w.Header()) != fmt.Sprint(own) {
		t.Errorf("the application's fields became %v", w.Header())
	}
	o.Override = true
	w, _ = through(t, header.Security(o), get(), own)
	want["Content-Security-Policy"] = []string{"default-src 'self'", "frame-ancestors 'self'"}
	if fmt.Sprint(w.Header()) != fmt.Sprint(want) {
		t.Errorf("override: got  %v\nwant %v", w.Header(), want)
	}
	o.ContentPolicy = ""
	w, _ = through(t, header.Security(o), get(), own)
	if got := w.Header()["Content-Security-Policy"]; fmt.Sprint(got) != "[img-src * frame-ancestors 'self']" {
		t.Errorf("override: %q", got)
	}
}

func TestStrictTransportSecurityOnlyWhereItIsMeant(t *testing.T) {
	m := header.Security(header.SecurityOptions{HSTS: 3600e9})
	for _, c := range []struct {
		url  string
		want bool
	}{
		{"https://a.test/", true}, {"http://a.test/", false}, {"https://localhost:8443/", false}, {"https://app.localhost/", false},
		{"https://127.0.0.1/", false}, {"https://[::1]:1/", false}, {"https://notlocalhost/", true}, {"https://a.test:443/", true}, {"https://web1/", true},
	} {
		w, _ := through(t, m, httptest.NewRequest("GET", c.url, nil), nil)
		if got := w.Header().Get("Strict-Transport-Security") != ""; got != c.want {
			t.Errorf("%s: %v", c.url, got)
		}
	}
}

func TestCookiesGetFlagsAndKeepTheRest(t *testing.T) {
	rules := []header.CookieRule{{Name: "lang*"}, {Name: "embed", SameSite: "None"}, {Secure: true, HTTPOnly: true, SameSite: "Lax"}}
	for _, c := range []struct{ url, in, want string }{
		{"https://a.test/", "id=1; Path=/", "id=1; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"http://a.test/", "id=1; Path=/;", "id=1; Path=/; HttpOnly; SameSite=Lax"},
		{"https://a.test/", "id=a;SECURE;samesite=Strict;httpOnly", "id=a;SECURE;samesite=Strict;httpOnly"},
		{"https://a.test/", `id="secure; x"; Expires=Wed, 21 Oct 2026 07:28:00 GMT`, `id="secure; x"; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; HttpOnly; SameSite=Lax`},
		{"https://a.test/", "language=de", "language=de"},
		{"https://a.test/", "__Host-lang=1; Path=/", "__Host-lang=1; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"https://a.test/", "embed=1", "embed=1; Secure; SameSite=None"},
		{"http://a.test/", "embed=1", "embed=1"},
		{"https://a.test/", "nonsense", "nonsense"},
		{"https://a.test/", "id=1; Path=/secure", "id=1; Path=/secure; Secure; HttpOnly; SameSite=Lax"},
	} {
		answer := http.Header{"Set-Cookie": {c.in, "language=x"}}
		w, _ := through(t, header.Cookies(rules), httptest.NewRequest("GET", c.url, nil), answer)
		if got := w.Header()["Set-Cookie"]; !slices.Equal(got, []string{c.want, "language=x"}) {
			t.Errorf("%s\n got %q\nwant %q", c.in, got, c.want)
		}
		if answer["Set-Cookie"][0] != c.in {
			t.Error("the application's slice was changed")
		}
	}
	w, _ := through(t, header.Cookies([]header.CookieRule{{Name: "__secure-*", HTTPOnly: true}, {Name: "__Secure-*", HTTPOnly: true}}), get(), http.Header{"Set-Cookie": {"__Secure-a=1"}})
	if got := w.Header().Get("Set-Cookie"); got != "__Secure-a=1; Secure; HttpOnly" {
		t.Errorf("%q", got)
	}
	for _, bad := range []header.CookieRule{{}, {SameSite: "lax"}, {Name: "a b", Secure: true}} {
		if bad.Check() == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}

func BenchmarkRules(b *testing.B) {
	for _, c := range []struct {
		name  string
		rules header.Rules
	}{
		{"constant", header.Rules{Remove: []string{"Server"}, Set: fieldsOf("X-A", "1", "X-B", "2"), Default: fieldsOf("X-C", "3")}},
		{"placeholder", header.Rules{Set: []header.Field{{Name: "X-Path", Template: path{}}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := header.Request(c.rules)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r, w := get(), httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				r.Header["Server"] = nil
				h.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkSecurity(b *testing.B) {
	m := header.Security(header.SecurityOptions{HSTS: 3600e9, NoSniff: true, Frames: "self", ReferrerPolicy: "no-referrer"})
	r := get()
	x := exchange.New(r)
	r = exchange.With(r, x)
	m(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), r)
	h := make(http.Header, 16)
	b.ReportAllocs()
	for b.Loop() {
		clear(h)
		x.Head(r, 200, h)
	}
}
