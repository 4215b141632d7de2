package fastcgi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/fastcgi"
	"github.com/sallyport/sallyport/proxy/static"
)

// application makes a folder as PHP applications have it.
func application(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"index.php":                    "SOURCE",
		"info.php":                     "SOURCE",
		"wp-admin/index.php":           "SOURCE",
		"wp-config.php~":               "SOURCE",
		"wp-config.php.bak":            "SOURCE",
		"UPPER.PHP":                    "SOURCE",
		"old.phtml":                    "SOURCE",
		".hidden.php":                  "SOURCE",
		".git/x.php":                   "SOURCE",
		"uploads/photo.jpg":            "picture <?php SOURCE",
		"uploads/dir.php/readme.txt":   "readme",
		"uploads/dir.php/real.php":     "SOURCE",
		"style.css":                    "css",
		"docs/index.html":              "docs",
		"with space/ü.php":             "SOURCE",
		"uploads/photo.jpg.php.txt":    "SOURCE",
		"wp-includes/images/blank.gif": "gif",
	} {
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside.php")
	if err := os.WriteFile(outside, []byte("SOURCE"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "linked.php")); err != nil {
		t.Fatal(err)
	}
	return root
}

func php(t testing.TB, root, server string) http.Handler {
	t.Helper()
	files, err := static.New(static.Options{
		Root: root, Index: []string{"index.php", "index.html"}, Try: []string{"$path", "$path/", "/index.php"}, Hidden: []string{".*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(files.Close)
	action, err := fastcgi.NewPHP(fastcgi.PHPOptions{Files: files, Root: root},
		through(t, fastcgi.New(fastcgi.Options{Server: server}), func(err error) { t.Error(err) }))
	if err != nil {
		t.Fatal(err)
	}
	return action
}

func TestWhichScriptAPathMeans(t *testing.T) {
	server := responder(t, func(w http.ResponseWriter, r *http.Request) {
		env := fcgi.ProcessEnv(r)
		script := strings.TrimPrefix(env["SCRIPT_FILENAME"], env["DOCUMENT_ROOT"])
		info := strings.TrimPrefix(env["DOCUMENT_URI"], script) // package fcgi keeps PATH_INFO to itself
		fmt.Fprintf(w, "run %s|%s|%s|%s", filepath.Base(env["DOCUMENT_ROOT"]), script, info, r.URL.RequestURI())
	})
	root := application(t)
	front := httptest.NewServer(php(t, root, server))
	defer front.Close()
	base := filepath.Base(root)
	run := func(script, info, uri string) string {
		return "run " + base + "|" + script + "|" + info + "|" + uri
	}
	for _, c := range []struct{ target, want string }{
		{"/", run("/index.php", "", "/")},
		{"/info.php?x=1", run("/info.php", "", "/info.php?x=1")},
		{"/info.php/a/b%20c", run("/info.php", "/a/b c", "/info.php/a/b%20c")},
		{"/info.php/", run("/info.php", "/", "/info.php/")},
		{"/2026/11/hello-world/?p=1", run("/index.php", "", "/2026/11/hello-world/?p=1")},
		{"/wp-admin/", run("/wp-admin/index.php", "", "/wp-admin/")},
		{"/wp-admin", "redirect ./wp-admin/"},
		{"/with%20space/%C3%BC.php", run("/with space/ü.php", "", "/with%20space/%C3%BC.php")},
		{"/uploads/dir.php/real.php", run("/uploads/dir.php/real.php", "", "/uploads/dir.php/real.php")},
		{"/%69nfo.php", run("/info.php", "", "/%69nfo.php")},
		// Files beside the scripts.
		{"/style.css", "css"},
		{"/docs/", "docs"},
		{"/uploads/photo.jpg", "picture <?php SOURCE"},
		{"/uploads/dir.php/readme.txt", "readme"},
		// Nothing that is no script is run: the application answers.
		{"/uploads/photo.jpg/a.php", run("/index.php", "", "/uploads/photo.jpg/a.php")},
		{"/uploads/photo.jpg/.php", run("/index.php", "", "/uploads/photo.jpg/.php")},
		{"/missing.php", run("/index.php", "", "/missing.php")},
		{"/missing.php/x", run("/index.php", "", "/missing.php/x")},
		{"/linked.php", run("/index.php", "", "/linked.php")},
		{"/.hidden.php", run("/index.php", "", "/.hidden.php")},
		{"/.git/x.php", run("/index.php", "", "/.git/x.php")},
		{"/.hidden.php/x", run("/index.php", "", "/.hidden.php/x")},
		{strings.Repeat("/a.php", 500), run("/index.php", "", strings.Repeat("/a.php", 500))},
		// Nothing gives a source away.
		{"/wp-config.php~", "404"},
		{"/wp-config.php.bak", "404"},
		{"/UPPER.PHP", "404"},
		{"/old.phtml", "404"},
		{"/uploads/photo.jpg.php.txt", "404"},
		// Paths that could be read in two ways.
		{"/uploads/photo.jpg%00.php", "404"},
		{"/info.php%2Fx", "404"},
		{"/..%2finfo.php", "404"},
		{"//info.php", "404"},
		{"/%2e/info.php", "404"},
		{"/info.php/../../x", "404"},
		{"/x%5cinfo.php", "404"},
	} {
		got := fetch(t, front, "GET", c.target)
		if got != c.want {
			t.Errorf("%.60s: %.120s, want %.120s", c.target, got, c.want)
		}
	}
	if got := fetch(t, front, "POST", "/wp-admin/"); got != run("/wp-admin/index.php", "", "/wp-admin/") {
		t.Errorf("POST: %s", got)
	}
	if got := fetch(t, front, "POST", "/style.css"); got != "405" {
		t.Errorf("POST to a file: %s", got)
	}
}

// fetch returns the body, "redirect LOCATION", or the status of a failure.
func fetch(t testing.TB, front *httptest.Server, method, target string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = target // as it is
	if strings.HasPrefix(target, "//") {
		r.URL.Opaque, r.URL.Path = "", target
	}
	if path, query, ok := strings.Cut(target, "?"); ok {
		r.URL.Opaque, r.URL.RawQuery = path, query
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	switch {
	case res.StatusCode >= 400:
		return fmt.Sprint(res.StatusCode)
	case res.StatusCode >= 300:
		return "redirect " + res.Header.Get("Location")
	}
	return string(body)
}
