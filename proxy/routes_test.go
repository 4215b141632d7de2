package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
)

// parsed is the configuration of a text, in which %s stand for servers. Its
// limits are those of the harness.
func parsed(t testing.TB, text string, servers ...any) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", fmt.Appendf(nil, text, servers...))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Limits = limits()
	return cfg
}

// ask sends a request with a target exactly as it is written, and returns the
// response with its body read.
func (w *world) ask(h2 bool, method, target string, fields ...string) (*http.Response, string) {
	w.t.Helper()
	if !h2 {
		text := method + " " + target + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"
		for _, field := range fields {
			text += field + "\r\n"
		}
		res := answer(w.t, w.say("a.test", text+"\r\n"), method)
		return res, body(w.t, res)
	}
	req, err := http.NewRequest(method, "https://a.test/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.URL.Opaque = target // which the client does not look at
	if rest, ok := strings.CutPrefix(target, "//"); ok {
		req.URL = &url.URL{Scheme: "https", Host: "a.test", Path: "//" + rest, RawPath: "//" + rest}
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Add(name, value)
	}
	res, err := w.client(true).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, body(w.t, res)
}

// applications are the ways in which servers make a path of a target.
var applications = map[string]func(string) string{
	"decodes":                      decode,
	"decodes, then cleans":         func(p string) string { return path.Clean(decode(p)) },
	"cleans, then decodes":         func(p string) string { return decode(path.Clean(p)) },
	"drops parameters":             func(p string) string { return decode(dropParameters(p)) },
	"drops parameters, and cleans": func(p string) string { return path.Clean(decode(dropParameters(p))) },
	"merges slashes":               func(p string) string { return decode(merge(p)) },
	"takes \\ for a slash":         func(p string) string { return path.Clean(strings.ReplaceAll(decode(p), `\`, "/")) },
	"ends at NUL":                  func(p string) string { before, _, _ := strings.Cut(decode(p), "\x00"); return before },
}

func decode(p string) string {
	plain, err := url.PathUnescape(p)
	if err != nil {
		return p
	}
	return plain
}

func dropParameters(p string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

func merge(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// A route that guards /admin/ guards it whatever the application behind makes
// of paths: what reaches it by the other route is nothing under /admin/ to any.
func TestNoSpellingOfAPathGetsPastAGuardedRoute(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /admin/, respond: {status: 403, body: guarded}}
      - {path: /, proxy: %s}
`, backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.RequestURI) })))
		reached := 0
		for _, target := range []string{
			"/admin", "/admin/", "/admin/x?y", "/%61dmin", "/%61%64%6d%69%6E/x", "/admin;x", "/admin;x=y/z", "/;x/admin", "//admin", "//admin/", "///admin//", "/x//../admin",
			"/./admin", "/x/../admin", "/x/%2e%2e/admin", "/%2e/admin", "/.%2e/x/..", "/x/./../admin/.", "/a/..%2fadmin", "/a%2f..%2fadmin", "/admin%2f", "/admin%2Fx", "/%2fadmin", "/%2Fadmin",
			"/x/..;/admin", "/x/..;a=b/admin", "/..;/admin", "/x/%2e%2e;/admin", `/a\..\admin`, `/\admin`, "/x/..%5cadmin", "/%5cadmin", "/admin%5c", "/admin%00", "/admin%00.png", "/admin%3bx",
			"/x%2f../admin", "/x/.;/../admin", "/admin/..;/admin", "/admin/%2e%2e/x", "/public/..//admin", "/%2561dmin", "/admin%20", "/a%2Fb/c%2Fd", "/adminx", "/x/admin", "/x;admin", "/x//y",
		} {
			res, text := w.ask(h2, "GET", target)
			switch res.StatusCode {
			case 403, 400:
				continue
			case 200:
				reached++
			default:
				t.Errorf("%s: status %d", target, res.StatusCode)
			}
			uri, _, _ := strings.Cut(text, "?")
			for name, read := range applications {
				if p := read(uri); p == "/admin" || strings.HasPrefix(p, "/admin/") {
					t.Errorf("%s arrived as %s, which to an application that %s is %s", target, uri, name, p)
				}
			}
		}
		if reached < 8 {
			t.Errorf("only %d requests got through: too much is refused", reached)
		}
	})
}

// What was matched is what is forwarded.
func TestNormalPathIsForwarded(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /api/, proxy: %[1]s}
      - {path: /, proxy: %[1]s}
`, backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.RequestURI) })))
	overBoth(t, func(t *testing.T, h2 bool) {
		for target, want := range map[string]string{
			"/api/v4/projects/group%2Fproject?x=%2e%2e/": "/api/v4/projects/group%2Fproject?x=%2e%2e/",
			"/x/../api/%7e;a=b//c":                       "/api/%7e;a=b//c",
			"/api/%2e/x/%2E%2E/y/.":                      "/api/y/",
			"/a?":                                        "/a?",
			"/\xc3\xa4/../[x]":                           "/[x]",
		} {
			if res, got := w.ask(h2, "GET", target); res.StatusCode != 200 || got != want {
				t.Errorf("%s: %d, arrived as %s, want %s", target, res.StatusCode, got, want)
			}
		}
	})
	if _, got := w.ask(false, "GET", "https://a.test/x/../y%2f?z"); got != "/y%2f?z" {
		t.Errorf("the absolute form arrived as %s", got)
	}
	if res, _ := w.ask(false, "OPTIONS", "*"); res.StatusCode != 200 {
		t.Errorf("OPTIONS *: %d", res.StatusCode)
	}
}

func TestTargetsAreRewritten(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    strip_prefix: /site
    routes:
      - {path: /strip/, strip_prefix: /strip/, proxy: %[1]s}
      - {path: /add/, add_prefix: /v 1/, proxy: %[1]s}
      - {path: /both/, strip_prefix: /both, add_prefix: /other, proxy: %[1]s}
      - {path: /to, rewrite: "/index.php{path}", proxy: %[1]s}
      - {path: /query, rewrite: "/q?p={path}&{query}&h={header.X-H}", proxy: %[1]s}
      - {path: /name, rewrite: "/n/{query.name}/{header.X-H}", proxy: %[1]s}
      - {path_regexp: "^/users/([^/]+)/(.*)$", rewrite: "/u/{capture.2}?id={capture.1}", proxy: %[1]s}
      - {path: /old/, rewrite_regexp: {match: "^/old/(.*)x$", replace: "/new/{capture.1}"}, proxy: %[1]s}
      - {path: /site/, proxy: %[1]s}
      - {path: /, proxy: %[1]s}
`, backend(t, func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s %s", r.RequestURI, r.Header.Get("X-Forwarded-Host"))
	})))
	overBoth(t, func(t *testing.T, h2 bool) {
		for target, want := range map[string]string{
			"/strip": "/", "/strip/": "/", "/strip/a%2fb?x": "/a%2fb?x", "/%73trip/y": "/y", "/strip//evil": "//evil",
			"/add/x?y": "/v%201/add/x?y", "/both/x": "/other/x", "/both": "/other/",
			"/to?a=b": "/index.php/to?a=b", "/query?a=b": "/q?p=/query&a=b&h=h%20%2F",
			"/name?name=a/../b%3Fc%23d%0d": "/n/a%2F..%2Fb%3Fc%23d/h%20%2F",
			"/users/j%c3%b6rg/a%20b/c%2Fd": "/u/a%20b/c%2Fd?id=j%C3%B6rg",
			"/old/a/x":                     "/new/a/", "/old/a/y": "/old/a/y",
			"/site/z": "/z", "/sitex": "/sitex", "/other": "/other",
		} {
			res, got := w.ask(h2, "GET", target, "X-H: h /")
			if strings.Contains(want, "..") {
				if res.StatusCode != 400 {
					t.Errorf("%s: %d %s", target, res.StatusCode, got)
				}
				continue
			}
			if res.StatusCode != 200 || got != want+" a.test" {
				t.Errorf("%s: %d, arrived as %s, want %s", target, res.StatusCode, got, want)
			}
		}
	})
}

// A client cannot leave the prefix that its requests are given.
func TestRewrittenPathStaysUnderItsPrefix(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test: {tls: internal, proxy: %s, add_prefix: /tenant}
`, backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.RequestURI) })))
	overBoth(t, func(t *testing.T, h2 bool) {
		for _, target := range []string{"/../x", "/a/../../x", "/%2e%2e/x", "/..%2fx", "/..%5cx", `/..\x`, "/..;/x", "/a/..//..//x", "/.%2e"} {
			res, got := w.ask(h2, "GET", target)
			if res.StatusCode == 200 && !strings.HasPrefix(path.Clean(decode(got)), "/tenant/") || res.StatusCode != 200 && res.StatusCode != 400 {
				t.Errorf("%s: %d, arrived as %s", target, res.StatusCode, got)
			}
		}
	})
}

func TestRedirectsAndAnswersOfRoutes(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /www/, redirect: "https://www.a.test{uri}"}
      - {path: /moved, redirect: {to: "/new?from={path}", status: 301}}
      - {path: /kept, redirect: {to: "https://{host}/x", status: 308}}
      - {path_regexp: "^/to/(.*)$", redirect: "/{capture.1}"}
      - {path: /search, redirect: "https://s.test/?q={query.q}#top"}
      - {path: /health, respond: ok}
      - {path: /gone, respond: 410}
      - {path: /none, respond: 204}
      - {path: /json, respond: {body: '{"id": "{request_id}", "x": {{1}', headers: {Content-Type: application/json, X-Who: "{client_ip}"}}}
      - {path: /page, respond: {status: 404, body: "<p>{query.x}", headers: {content-type: text/html}}}
`))
	overBoth(t, func(t *testing.T, h2 bool) {
		for _, c := range []struct {
			method, target, location string
			status                   int
		}{
			{"GET", "/www/a%2fb?c", "https://www.a.test/www/a%2fb?c", 302},
			{"POST", "/www/", "https://www.a.test/www/", 307},
			{"GET", "/moved", "/new?from=/moved", 301},
			{"PUT", "/kept", "https://a.test/x", 308},
			{"GET", "/to/x%20y/%C3%A4", "/x%20y/%C3%A4", 302},
			{"GET", "/to//evil.test", "", 400}, // to some /to/evil.test, which is the same route, but see below
			{"GET", "/search?q=a%26b%2F%0d%0aSet-Cookie:x", "https://s.test/?q=a&b%2FSet-Cookie:x#top", 302},
			{"GET", "/nowhere", "", 404},
		} {
			res, text := w.ask(h2, c.method, c.target)
			if c.target == "/to//evil.test" {
				if location := res.Header.Get("Location"); res.StatusCode != 302 || location != "/evil.test" {
					t.Errorf("%s leads to %q", c.target, location)
				}
				continue
			}
			if location := res.Header.Get("Location"); res.StatusCode != c.status || location != c.location {
				t.Errorf("%s %s: %d to %q, want %d to %q\n%s", c.method, c.target, res.StatusCode, location, c.status, c.location, text)
			}
		}
		for target, want := range map[string]string{
			"/health": "200 text/plain; charset=utf-8 ok", "/gone": "410  ", "/none": "204  ", "/page?x=%3Cscript%3E": "404 text/html <p>&lt;script&gt;",
		} {
			res, text := w.ask(h2, "GET", target)
			if got := fmt.Sprintf("%d %s %s", res.StatusCode, res.Header.Get("Content-Type"), text); got != want {
				t.Errorf("%s: %q, want %q", target, got, want)
			}
		}
		res, text := w.ask(h2, "GET", "/json")
		if res.Header.Get("Content-Type") != "application/json" || res.Header.Get("X-Who") != "127.0.0.1" || len(text) != len(`{"id": "", "x": {1}`)+32 {
			t.Errorf("%v %q", res.Header, text)
		}
		if res, text := w.ask(h2, "HEAD", "/health"); res.ContentLength != 2 || text != "" {
			t.Errorf("HEAD: length %d, body %q", res.ContentLength, text)
		}
	})
}

// Texts of the configuration that are not good are found before they serve.
func TestPrepareFindsWhatIsWrongWithTexts(t *testing.T) {
	for route, want := range map[string][2]string{
		`redirect: "https://{hots}/"`:                                 {`unknown placeholder {hots}`, "did you mean {host}?"},
		`redirect: "{query.next}"`:                                    {"begins neither with https:// nor with a slash", ""},
		`redirect: "//evil.test{uri}"`:                                {"begins with two slashes", ""},
		`redirect: "https://a.test{query.x}"`:                         {"lets the client choose the host", ""},
		`redirect: "https://{header.X}/"`:                             {"lets the client choose the host", ""},
		`redirect: "{scheme}://{host}.a.test{uri}", path: /ok`:        {"", ""},
		`redirect: "https://{capture.1}.a.test/"`:                     {"lets the client choose the host", ""},
		`respond: {body: "{remote_ip}"}`:                              {"unknown placeholder {remote_ip}", "did you mean {client_ip}?"},
		`respond: {headers: {X-A: "{header.}"}}`:                      {"unknown placeholder {header.}", ""},
		`respond: "{capture.x}"`:                                      {"a group has a number", "write {capture.1}"},
		`respond: "{host"`:                                            {"has a { without its }", "write {{"},
		`respond: 200, rewrite: "x{path}"`:                            {"does not begin with a slash", ""},
		`respond: 200, rewrite: "/../{path}"`:                         {"is not a path", ""},
		`respond: 200, rewrite_regexp: {match: x, replace: "{uirs}"}`: {"unknown placeholder {uirs}", "did you mean {uri}?"},
	} {
		cfg := parsed(t, "sites:\n  a.test:\n    tls: internal\n    routes:\n      - {%s}\n", route)
		_, err := proxy.New(proxy.Options{}).Prepare(cfg)
		switch {
		case want[0] == "" && err != nil:
			t.Errorf("%s: %v", route, err)
		case want[0] != "" && (err == nil || !strings.Contains(err.Error(), want[0]) || !strings.Contains(err.Error(), want[1]) || !strings.Contains(err.Error(), "sallyport.yaml:5:")):
			t.Errorf("%s: %v\nwant %s, %s", route, err, want[0], want[1])
		}
	}
}

// What several routes inherit is wrong once, at the site.
func TestInheritedMistakeIsReportedOnceAtTheSite(t *testing.T) {
	cfg := parsed(t, `
sites:
  a.test:
    tls: internal
    rewrite: "/{hots}"
    routes: [{path: /a, respond: 200}, {path: /b, respond: 200}, {path: /c, respond: 200, rewrite: "/{hst}"}]
`)
	_, err := proxy.New(proxy.Options{}).Prepare(cfg)
	if err == nil || strings.Count(err.Error(), "{hots}") != 2 || !strings.Contains(err.Error(), "sallyport.yaml:5:14") || !strings.Contains(err.Error(), "routes[2].rewrite has the unknown") {
		t.Errorf("%v", err)
	}
}

func TestPlainHTTPRedirectsServesOrRefusesByRoute(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /.well-known/, http: serve, respond: "challenge {scheme}"}
      - {path: /api/, http: refuse, respond: secret}
      - {path: /, respond: page}
  b.test: {tls: internal, http: serve, respond: all}
`))
	c := w.client(false)
	for url, want := range map[string]string{
		"http://a.test/.well-known/x": "200 challenge http", "http://a.test/api/x": "403 ", "http://a.test/": "301 https://a.test/",
		"http://a.test/.well-known/../api/": "403 ", "http://b.test/": "200 all", "http://a.test//api/": "400 ", "http://c.test/": "404 ",
	} {
		res := get(t, c, url)
		text := body(t, res)
		got := fmt.Sprint(res.StatusCode, " ")
		switch {
		case res.StatusCode == 200:
			got += text
		case res.Header.Get("Location") != "":
			got += res.Header.Get("Location")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	if text := body(t, get(t, c, "https://a.test/.well-known/x")); text != "challenge https" {
		t.Errorf("over TLS: %s", text)
	}
}

// An answer of our own to a WebSocket over HTTP/2 must not open it.
func TestFixedAnswerOpensNoTunnel(t *testing.T) {
	w := start(t, over3(parsed(t, "sites:\n  a.test: {tls: internal, respond: ok}\n")))
	for version, over := range w.sockets() {
		_, res, err := over.dial(t, t.Context())
		if err == nil || res == nil || res.StatusCode != 501 {
			t.Errorf("%s: %v, %v", version, res, err)
		}
	}
}

func TestRoutesShareThePoolOfAnUpstream(t *testing.T) {
	var peers []string
	done := make(chan struct{}, 1)
	done <- struct{}{}
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes: [{path: /x, proxy: %[1]s}, {path: /, proxy: %[1]s}]
`, backend(t, func(_ http.ResponseWriter, r *http.Request) {
		<-done
		peers = append(peers, r.RemoteAddr)
		done <- struct{}{}
	})))
	c := w.client(false)
	for _, path := range []string{"/x", "/y", "/x", "/z"} {
		body(t, get(t, c, "https://a.test"+path))
	}
	<-done
	if slices.Sort(peers); len(slices.Compact(peers)) != 1 {
		t.Errorf("connections from %v", peers)
	}
}
