package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

// built returns the site that a configuration of one site makes, and whatever
// is wrong with it.
func built(t testing.TB, text string) (*site, error) {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	p := New(Options{})
	s, more := p.routes(&Generation{pools: map[string]*pool{}, kept: kept{}}, cfg, &cfg.Sites[0])
	return s, more.Err()
}

// asked makes a request as it is when a route is looked for.
func asked(t testing.TB, s *site, method, uri string) (*exchange.Exchange, *http.Request, error) {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI = uri
	x := exchange.New(r)
	var err error
	if r.URL, err = url.ParseRequestURI(uri); err != nil { // as servers do
		return x, r, target.ErrEscape
	}
	return x, r, target.Settle(r, s.merge)
}

// taken returns the number of the route that a request gets, or what refuses it.
func taken(t testing.TB, s *site, method, uri string, adjust func(*exchange.Exchange, *http.Request)) string {
	t.Helper()
	x, r, err := asked(t, s, method, uri)
	if err != nil {
		return err.(*exchange.Refusal).Label
	}
	if adjust != nil {
		adjust(x, r)
	}
	found, err := s.find(x, r)
	if err != nil {
		return err.(*exchange.Refusal).Label
	}
	for i, each := range s.routes {
		if each == found {
			return fmt.Sprint(i)
		}
	}
	return "?"
}

func TestEachConditionDecides(t *testing.T) {
	s, err := built(t, `
sites:
  a.localhost:
    routes:
      - {path: [/one, /two/], respond: 200}
      - {path: /m, methods: [GET, PURGE], respond: 200}
      - {path: /h, headers: {x-kind: a, Accept: "~json", Cookie: "*"}, respond: 200}
      - {path: /host, headers: {Host: "~^a"}, respond: 200}
      - {path: /q, query: {v: "2", "a b": "*", r: "~^x+$"}, respond: 200}
      - {path: /c, client_ip: [10.0.0.0/8, "2001:db8::/32", 192.0.2.1], respond: 200}
      - {path: /n, not: {methods: POST, client_ip: 10.0.0.0/8}, respond: 200}
      - {path_regexp: "^/r/([0-9]+)$", respond: 200}
`)
	if err != nil {
		t.Fatal(err)
	}
	from := func(address string) func(*exchange.Exchange, *http.Request) {
		return func(x *exchange.Exchange, _ *http.Request) { x.Client = netip.MustParseAddr(address) }
	}
	with := func(lines ...string) func(*exchange.Exchange, *http.Request) {
		return func(_ *exchange.Exchange, r *http.Request) {
			for _, line := range lines {
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Add(name, value)
			}
		}
	}
	const none = "route_unknown"
	for _, c := range []struct {
		method, uri string
		adjust      func(*exchange.Exchange, *http.Request)
		want        string
	}{
		{"GET", "/one", nil, "0"}, {"GET", "/two/x?y", nil, "0"}, {"GET", "/three", nil, none}, {"OPTIONS", "*", nil, none},
		{"GET", "/m", nil, "1"}, {"HEAD", "/m", nil, "1"}, {"PURGE", "/m", nil, "1"}, {"POST", "/m", nil, none}, {"get", "/m", nil, none},
		{"GET", "/h", with("X-Kind: a", "Accept: application/json", "Cookie: c=d"), "2"},
		{"GET", "/h", with("X-Kind: b", "X-Kind: a", "Accept: text/html, application/json", "Cookie: c=d"), "2"},
		{"GET", "/h", with("X-Kind: ab", "Accept: application/json", "Cookie: c=d"), none},
		{"GET", "/h", with("X-Kind: a", "Accept: application/json"), none},
		{"GET", "/host", func(_ *exchange.Exchange, r *http.Request) { r.Host = "a.localhost" }, "3"},
		{"GET", "/host", func(_ *exchange.Exchange, r *http.Request) { r.Host = "b.localhost" }, none},
		{"GET", "/q?a+b&v=2&r=xx", nil, "4"}, {"GET", "/q?r=%78&%61%20b=1&v=1&v=2", nil, "4"}, {"GET", "/q?v=2&a+b", nil, none}, {"GET", "/q", nil, none},
		{"GET", "/c", from("10.255.0.1"), "5"}, {"GET", "/c", from("2001:db8::1"), "5"}, {"GET", "/c", from("192.0.2.1"), "5"},
		{"GET", "/c", from("192.0.2.2"), none}, {"GET", "/c", from("2001:db9::1"), none},
		{"GET", "/n", from("10.0.0.1"), "6"}, {"POST", "/n", from("192.0.2.1"), "6"}, {"POST", "/n", from("10.0.0.1"), none},
		{"GET", "/r/42", nil, "7"}, {"GET", "/r/4x", nil, none}, {"GET", "/r/%34", nil, "7"},
	} {
		if got := taken(t, s, c.method, c.uri, c.adjust); got != c.want {
			t.Errorf("%s %s: route %s, want %s", c.method, c.uri, got, c.want)
		}
	}
	x, r, _ := asked(t, s, "GET", "/r/4%32")
	if _, err := s.find(x, r); err != nil || fmt.Sprint(x.Captures) != "[/r/42 42]" {
		t.Errorf("captures %q, %v", x.Captures, err)
	}
}

const guarded = `
sites:
  a.localhost:
    routes:
      - {path: /admin/, respond: 403}
      - {path_regexp: "(?i)^/secret.*x$", respond: 403}
      - {path: /a%2Fb, respond: 200}
      - {path: /public/, respond: 200}
      - {path: /, respond: 200}
`

// What one application would take for the guarded path and another would not
// is let through to neither.
func TestPathsThatAreReadInTwoWaysDoNotChooseARoute(t *testing.T) {
	s, err := built(t, guarded)
	if err != nil {
		t.Fatal(err)
	}
	const refused = "path_ambiguous"
	for uri, want := range map[string]string{
		"/admin": "0", "/admin/": "0", "/admin/x": "0", "/%61dmin/x": "0", "/%61%64%6D%69%6e": "0", "/x/../admin/y": "0", "/./admin": "0", "/x/%2e%2e/admin": "0",
		"/admin?x=/../public": "0", "http://a.localhost/admin": "0", "/administrator": "4", "/public/admin": "3",
		"/admin;x": refused, "/admin;x/y": refused, "/;/admin": refused, "//admin": refused, "///admin/x": refused, "/admin//x": "0", "/public//admin": "3",
		"/admin%2Fx": refused, "/admin%2f": refused, "/%2fadmin": refused, "/admin%5cx": refused, `/admin\x`: refused, "/x;y=z/w": "4", "/admin/x;y": "0",
		"/a%2Fb": refused, "/a%2fb": refused, "/a/b": "4", "/group%2Fproject": "4", "/public/group%2Fproject": "3", "/public%2fx": refused,
		"/a/..%2fadmin": refused, "/..;/admin": refused, "/public/..;/admin": refused, "/public/..%5cadmin": refused, "/public/%2e%2e%2fadmin": refused,
		"/%2e%2e/admin": "path_above_root", "/../admin": "path_above_root", "/admin%00": "path_invalid", "/admin%": "path_invalid", "/admin%zz": "path_invalid",
		"/SECRETx": "1", "/secret%0ax": "1", "/secret/..x": "1", "/": "4", "//": "4", "/%41dmin": "4",
	} {
		if got := taken(t, s, "GET", uri, nil); got != want {
			t.Errorf("%s: route %s, want %s", uri, got, want)
		}
	}
	if got := taken(t, s, "OPTIONS", "*", nil); got != "4" {
		t.Errorf("OPTIONS *: route %s", got)
	}
	if got := taken(t, s, "GET", "*", nil); got != "target_invalid" {
		t.Errorf("GET *: %s", got)
	}
}

func TestSiteSaysHowItsApplicationReadsPaths(t *testing.T) {
	for option, want := range map[string][3]string{
		"merge_slashes: true":     {"path_ambiguous", "0", "path_ambiguous"},
		"path_parameters: strip":  {"0", "path_ambiguous", "path_ambiguous"},
		"path_parameters: keep":   {"4", "path_ambiguous", "path_ambiguous"},
		"encoded_slashes: keep":   {"path_ambiguous", "path_ambiguous", "4"},
		"encoded_slashes: decode": {"path_ambiguous", "path_ambiguous", "0"},
	} {
		s, err := built(t, guarded+"    "+option+"\n")
		if err != nil {
			t.Fatal(err)
		}
		for i, uri := range [...]string{"/admin;x", "//admin//y", "/admin%2fx"} {
			if got := taken(t, s, "GET", uri, nil); got != want[i] {
				t.Errorf("%s: %s: route %s, want %s", option, uri, got, want[i])
			}
		}
	}
}

// FuzzRoute: whatever an application makes of a path, by decoding it, it is
// under the guarded one only if the proxy took it for that or refused it.
func FuzzRoute(f *testing.F) {
	for _, seed := range []string{"/admin", "/%61dmin/", "//admin", "/admin;x", "/x/..%2fadmin", "/..;/admin", `/a\..\admin`, "/%2fadmin", "/a/%2e%2e/admin", "/.//admin"} {
		f.Add(seed)
	}
	s, err := built(f, guarded)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !strings.HasPrefix(uri, "/") || target.Check(uri) != nil {
			return
		}
		x, r, err := asked(t, s, "GET", uri)
		if err != nil {
			return
		}
		found, err := s.find(x, r)
		if err != nil || found == s.routes[0] {
			return
		}
		path, _, _ := strings.Cut(r.RequestURI, "?")
		for reading := range target.Readings(path, target.Habits{}) {
			for _, read := range [...]string{reading, strings.ReplaceAll(reading, "%2F", "/"), strings.ReplaceAll(reading, `\`, "/")} {
				if read == "/admin" || strings.HasPrefix(read, "/admin/") {
					t.Fatalf("%q is %q to some, and got the route %q", uri, read, found.name)
				}
			}
		}
	})
}
