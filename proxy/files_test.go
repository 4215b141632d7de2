package proxy_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a folder with files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFilesThroughTheProxy(t *testing.T) {
	root := folder(t, map[string]string{
		"index.html": "home", "css/a.css": "css", "admin/secret.txt": "SECRET", ".env": "SECRET", "docs/index.html": "docs", "list/a.txt": "a",
	})
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /admin/, respond: 403}
      - {path: /static/, strip_prefix: /static, files: {root: %[1]s, browse: true}}
      - {path: /, files: {root: %[1]s, try: [$path, $path/, /index.html]}}
`, root))
	for _, h2 := range []bool{false, true} {
		for _, c := range []struct {
			target   string
			status   int
			body     string
			location string
		}{
			{"/", 200, "home", ""},
			{"/css/a.css", 200, "css", ""},
			{"/static/css/a.css", 200, "css", ""},
			{"/static/docs", 301, "", "./docs/"}, // what was stripped does not show
			{"/docs", 301, "", "./docs/"},
			{"/some/where", 200, "home", ""}, // a single-page application
			{"/static/some/where", 404, "", ""},
			{"/.env", 200, "home", ""},
			{"/static/.env", 404, "", ""},
			// No spelling leads past the route that guards a folder.
			{"/admin/secret.txt", 403, "", ""},
			{"/%61dmin/secret.txt", 403, "", ""},
			{"/./admin/secret.txt", 403, "", ""},
			{"/css/../admin/secret.txt", 403, "", ""},
			{"/css/%2e%2e/admin/secret.txt", 403, "", ""},
			{"//admin/secret.txt", 404, "", ""},
			{"/admin%2fsecret.txt", 404, "", ""},
			{"/css%2f..%2fadmin/secret.txt", 404, "", ""},
			{"/css/..%5cadmin/secret.txt", 404, "", ""},
			{"/admin;x/secret.txt", 400, "", ""},
		} {
			res, text := w.ask(h2, "GET", c.target)
			// What the edge refuses before any route is 400.
			refused := c.status == 404 && res.StatusCode == 400
			if !refused && (res.StatusCode != c.status || c.status == 200 && text != c.body || res.Header.Get("Location") != c.location) {
				t.Errorf("h2 %v, %s: %d %q to %q, want %d %q", h2, c.target, res.StatusCode, text, res.Header.Get("Location"), c.status, c.body)
			}
			if strings.Contains(text, "SECRET") {
				t.Fatalf("h2 %v, %s gave away what it must not", h2, c.target)
			}
		}
		res, text := w.ask(h2, "GET", "/static/list/")
		if res.StatusCode != 200 || !strings.Contains(text, `href="./a.txt"`) {
			t.Errorf("h2 %v: a listing: %d %s", h2, res.StatusCode, text)
		}
		res, _ = w.ask(h2, "POST", "/css/a.css", "Content-Length: 0")
		if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("h2 %v: POST: %d", h2, res.StatusCode)
		}
		res, text = w.ask(h2, "GET", "/css/a.css", "Range: bytes=1-")
		if res.StatusCode != 206 || text != "ss" {
			t.Errorf("h2 %v: a range: %d %q", h2, res.StatusCode, text)
		}
	}
}

func TestAReloadKeepsAFolderAndClosesItWhenItIsGone(t *testing.T) {
	root := folder(t, map[string]string{"a.txt": "a"})
	text := "sites: {a.test: {tls: internal, files: %s}}"
	w := start(t, parsed(t, text, root))
	w.ask(false, "GET", "/a.txt")
	w.commit(parsed(t, text, root))
	if res, got := w.ask(false, "GET", "/a.txt"); res.StatusCode != 200 || got != "a" {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	w.commit(parsed(t, text, filepath.Join(root, "missing")))
	if res, _ := w.ask(false, "GET", "/a.txt"); res.StatusCode != 500 {
		t.Errorf("a folder that is not there: %d", res.StatusCode)
	}
	if line := w.logged("files_root"); line["hint"] == nil {
		t.Errorf("logged %v", line)
	}
}

func TestPHPThroughTheProxyKnowsTheClientAndNothingForged(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "fpm.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		_ = fcgi.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			env := fcgi.ProcessEnv(r)
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("X-Tls", fmt.Sprint(r.TLS != nil))
			fmt.Fprintf(w, "%s %s %s|%s|%s|%s", r.Method, r.URL.RequestURI(), filepath.Base(env["SCRIPT_FILENAME"]), strings.Split(r.RemoteAddr, ":")[0],
				r.Header.Get("X-Forwarded-For"), r.Header.Get("Proxy"))
		}))
	}()
	root := folder(t, map[string]string{"index.php": "SOURCE", "a.php": "SOURCE", "photo.jpg": "picture", "a.php.bak": "SOURCE"})
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    php: {root: %s, server: "unix:%s", env: {APP: prod}}
`, root, socket))
	for _, h2 := range []bool{false, true} {
		for target, want := range map[string]string{
			"/":                     "GET / index.php|127.0.0.1|127.0.0.1|",
			"/a.php?x=1":            "GET /a.php?x=1 a.php|127.0.0.1|127.0.0.1|",
			"/pretty/link":          "GET /pretty/link index.php|127.0.0.1|127.0.0.1|",
			"/photo.jpg/a.php":      "GET /photo.jpg/a.php index.php|127.0.0.1|127.0.0.1|",
			"/photo.jpg/../a.php/x": "GET /a.php/x a.php|127.0.0.1|127.0.0.1|", // as it was matched
			"/photo.jpg":            "picture",
		} {
			res, text := w.ask(h2, "GET", target, "X-Forwarded-For: 6.6.6.6", "Proxy: http://evil.test", "X-Real-IP: 6.6.6.6")
			if res.StatusCode != 200 || text != want {
				t.Errorf("h2 %v, %s: %d %q, want %q", h2, target, res.StatusCode, text, want)
			}
		}
		if res, text := w.ask(h2, "GET", "/a.php.bak"); res.StatusCode != 404 || strings.Contains(text, "SOURCE") {
			t.Errorf("a copy of a source: %d %q", res.StatusCode, text)
		}
		res, err := w.client(h2).Post("https://a.test/a.php", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		if text := body(t, res); res.StatusCode != 200 || !strings.HasPrefix(text, "POST /a.php") || res.Header.Get("X-Tls") != "true" {
			t.Errorf("h2 %v: POST: %d %q %v", h2, res.StatusCode, text, res.Header)
		}
	}
	_ = listener.Close()
	res, _ := w.ask(true, "GET", "/a.php")
	line := w.logged("upstream_refused")
	if res.StatusCode != 502 || line["server"] != "unix:"+socket || line["site"] != "a.test" {
		t.Errorf("a server that is gone: %d, logged %v", res.StatusCode, line)
	}
}

func TestPagesOfTheSitesOwn(t *testing.T) {
	root := folder(t, map[string]string{
		"404.html": `<p>nothing here, {{.RequestID}} {{.Host}}</p>`, "5xx.html": "<p>broken {{.Status}} {{.Text}}</p>", "default.txt": "default",
	})
	api := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(404)
		fmt.Fprint(w, "the application's own")
	})
	w := start(t, parsed(t, `
upstreams: {gone: {servers: ["unix:/nowhere/x"], hold: 0s}}
sites:
  a.test:
    tls: internal
    errors: {pages: {404: %[1]s/404.html, 5xx: %[1]s/5xx.html, default: %[1]s/default.txt}}
    routes:
      - {path: /files/, strip_prefix: /files, files: %[1]s}
      - {path: /gone, proxy: gone}
      - {path: /api/, proxy: %[2]s}
      - {path: /shown/, proxy: %[2]s, errors: {intercept: true, pages: {404: %[1]s/404.html}}}
`, root, api))
	for _, h2 := range []bool{false, true} {
		const browser, script, program = "Accept: text/html,*/*", "Accept: */*", "Accept: application/json"
		for _, c := range []struct {
			target, accept string
			status         int
			want           string
		}{
			{"/files/missing", browser, 404, "<p>nothing here, "},
			{"/files/missing", script, 404, "<p>nothing here, "},
			{"/files/missing", program, 404, `{"type":"about:blank","title":"Not Found","status":404`},
			{"/gone", browser, 502, "<p>broken 502 Bad Gateway</p>"},
			{"/no/route", browser, 404, "<p>nothing here, "}, // of no route: the site's
			{"/api/x", browser, 404, "the application's own"},
			{"/shown/x", browser, 404, "<p>nothing here, "},
			{"/shown/x", script, 404, "the application's own"},
			{"/shown/x", program, 404, "the application's own"},
		} {
			res, text := w.ask(h2, "GET", c.target, c.accept)
			if res.StatusCode != c.status || !strings.HasPrefix(text, c.want) {
				t.Errorf("h2 %v, %s, %s: %d %q, want %d %q", h2, c.target, c.accept, res.StatusCode, text, c.status, c.want)
			}
			if strings.HasPrefix(c.want, "<p>nothing") && !strings.HasSuffix(text, " a.test</p>") {
				t.Errorf("%s: %q", c.target, text)
			}
			if c.accept == program && c.status == 404 && strings.HasPrefix(c.want, "{") {
				var told struct {
					RequestID string `json:"request_id"`
				}
				if err := json.Unmarshal([]byte(text), &told); err != nil || len(told.RequestID) != 32 || res.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%v %q %v", err, text, res.Header)
				}
			}
			if strings.HasPrefix(c.target, "/shown/") && c.accept == browser && (res.Header.Get("Etag") != "" || res.Header.Get("Retry-After") != "77") {
				t.Errorf("h2 %v, %s: fields of what was dropped: %v", h2, c.target, res.Header)
			}
		}
		if res, text := w.ask(h2, "HEAD", "/shown/x", browser); res.StatusCode != 404 || text != "" || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("HEAD: %d %q %v", res.StatusCode, text, res.Header)
		}
		if res, text := w.ask(h2, "POST", "/files/404.html", "Content-Length: 0"); res.StatusCode != 405 || text != "default" {
			t.Errorf("the default: %d %q", res.StatusCode, text)
		}
	}
	changed := filepath.Join(root, "404.html")
	if err := os.WriteFile(changed, []byte("<p>another</p>"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a changed page is read", func() bool { _, text := w.ask(true, "GET", "/files/x"); return text == "<p>another</p>" })
	if err := os.WriteFile(changed, []byte("<p>{{.Secret}}</p>"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a bad page is complained of", func() bool {
		_, text := w.ask(true, "GET", "/files/x")
		return w.logs.FilterMessageSnippet("a page cannot be used").Len() > 0 && text == "<p>another</p>"
	})
}

func TestMaintenanceClosesTheSiteWhileAFileExists(t *testing.T) {
	root := folder(t, map[string]string{"a.txt": "open"})
	closed := filepath.Join(t.TempDir(), "closed.html")
	text := `
sites:
  a.test:
    tls: internal
    maintenance: {file: %s, allow: [%s], retry_after: 10m}
    files: %s
`
	w := start(t, parsed(t, text, closed, "192.0.2.1", root))
	if res, got := w.ask(true, "GET", "/a.txt"); res.StatusCode != 200 || got != "open" {
		t.Fatalf("%d %q", res.StatusCode, got)
	}
	if err := os.WriteFile(closed, []byte("<p>back soon, {{.Text}}</p>"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the site is closed", func() bool {
		res, got := w.ask(true, "GET", "/a.txt", "X-Forwarded-For: 192.0.2.1") // which makes nobody one of the allowed
		return res.StatusCode == 503 && got == "<p>back soon, Service Unavailable</p>" && res.Header.Get("Retry-After") == "600"
	})
	if res, got := w.ask(false, "GET", "/a.txt", "Accept: application/json"); res.StatusCode != 503 || !strings.HasPrefix(got, "{") || res.Header.Get("Retry-After") != "600" {
		t.Errorf("%d %q %v", res.StatusCode, got, res.Header)
	}
	for _, entry := range w.logs.All() {
		if entry.ContextMap()["cause"] == "maintenance" && entry.Level > 0 {
			t.Errorf("what is meant to be is logged as %v", entry.Level)
		}
	}
	w.commit(parsed(t, text, closed, "127.0.0.0/8", root))
	eventually(t, "allowed clients are served", func() bool { res, _ := w.ask(true, "GET", "/a.txt"); return res.StatusCode == 200 })
	w.commit(parsed(t, text, closed, "192.0.2.1", root))
	if err := os.Remove(closed); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the site is open again", func() bool { res, _ := w.ask(true, "GET", "/a.txt"); return res.StatusCode == 200 })
}
