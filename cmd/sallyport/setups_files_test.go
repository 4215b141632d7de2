package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// plant writes files and the folders that they are in.
func plant(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A single-page application: each address is the page, but a script that is
// missing is not, and the API sees its own paths.
func testSinglePage(t *testing.T, world *acmetest.World) {
	const host = "app.example.com"
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		if r.Method == "POST" {
			digest(t, w, r)
			return
		}
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, r.RequestURI)
	})
	root := shortDir(t)
	script := strings.Repeat("export default 1\n", 100)
	plant(t, root, map[string]string{
		"index.html": "<!doctype html><title>app</title>", "favicon.svg": "<svg/>", ".env": "SECRET=1", "assets/.git/config": "x",
		"assets/app.1a2b.js": script, "assets/app.1a2b.js.br": "as brotli", "assets/app.1a2b.js.gz": "as gzip",
	})
	s := runSetup(t, world, "spa", 2, "http://api:8080", server, "/srv/app", root)
	s.over(host, func(v *visit) {
		for _, target := range []string{"/", "/users/7/edit?tab=1", "/deep/link"} {
			res := v.wants("GET", target, 200, "<!doctype html><title>app</title>")
			if res.Header.Get("Content-Type") != "text/html; charset=utf-8" || res.Header.Get("Content-Security-Policy") == "" {
				v.t.Errorf("%s: %v", target, res.Header)
			}
		}
		asset := v.wants("GET", "/assets/app.1a2b.js", 200, "as brotli", "Accept-Encoding: gzip, deflate, br, zstd")
		if asset.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || asset.Header.Get("Content-Encoding") != "br" ||
			!strings.HasPrefix(asset.Header.Get("Content-Type"), "text/javascript") || asset.Header.Get("X-Content-Type-Options") != "nosniff" {
			v.t.Errorf("asset: %v", asset.Header)
		}
		v.wants("GET", "/assets/app.1a2b.js", 200, script)
		v.wants("GET", "/assets/missing.js", 404, "")
		v.wants("GET", "/api/users?page=2&q=a%2Fb", 200, "/users?page=2&q=a%2Fb")
		v.wants("GET", "/api/missing", 404, "/missing")
		v.uploads("POST", "/api/upload", 1<<20, false)
		v.tooLarge("POST", "/api/upload", 11<<20)
		for _, target := range []string{"/.env", "/%2eenv", "/assets/.git/config", "/assets/..%2f.env", "/assets/%2e%2e/.env", "/.env%00.html", `/assets\..\.env`, "/etc/passwd", "/assets/../../etc/passwd"} {
			if _, text := v.ask("GET", target, ""); strings.Contains(text, "SECRET") || strings.Contains(text, "root:") || text == "x" {
				v.t.Errorf("%s: %q", target, text)
			}
		}
	})
	s.over("www.example.com", func(v *visit) {
		for target, want := range map[string]string{"/a%2Fb?c=d": "https://app.example.com/a%2Fb?c=d", "//evil.example/x": "https://app.example.com//evil.example/x"} {
			if res := v.wants("GET", target, 308, ""); res.Header.Get("Location") != want {
				v.t.Errorf("%s is at %q", target, res.Header.Get("Location"))
			}
		}
	})
}

// wordpress is what is on the disk of a WordPress, as far as it matters.
var wordpress = map[string]string{
	"index.php":                         "<?php require 'front.php';",
	"front.php":                         `<?php header('Link: <https://blog.example.com/wp-json/>'); echo "page ", $_SERVER['REQUEST_URI'];`,
	"wp-login.php":                      "<?php echo 'login';",
	"xmlrpc.php":                        "<?php echo 'never';",
	"wp-config.php":                     "<?php $secret = 'DB_PASSWORD';",
	"wp-config.php~":                    "<?php $secret = 'DB_PASSWORD';",
	"wp-admin/index.php":                `<?php echo "admin ", $_SERVER['HTTPS'], " ", $_SERVER['REMOTE_ADDR'], " ", $_SERVER['HTTP_HOST'], " ", is_null($_SERVER['HTTP_PROXY'] ?? null) ? 'no proxy' : 'PROXY';`,
	"wp-admin/async-upload.php":         `<?php echo hash('sha256', file_get_contents('php://input'));`,
	"wp-content/themes/x/style.css":     "body{}",
	"wp-content/uploads/2026/cat.jpg":   "jpeg <?php echo 'run';",
	"wp-content/uploads/2026/shell.php": "<?php echo 'run';",
	".htaccess":                         "RewriteEngine On",
}

// testWordPress runs against a FastCGI server of the standard library, and
// again with a real PHP-FPM where there is one.
func testWordPress(t *testing.T, world *acmetest.World) {
	root := shortDir(t)
	plant(t, root, wordpress)
	t.Run("stand-in", func(t *testing.T) {
		socket := filepath.Join(shortDir(t), "fpm.sock")
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		var logins atomic.Int32
		go func() { _ = fcgi.Serve(listener, standInPHP(t, root, &logins)) }()
		exerciseWordPress(t, world, root, socket)
		if n := logins.Load(); n < 5 || n > 6 {
			t.Errorf("%d logins of 5 a minute", n)
		}
	})
	t.Run("PHP-FPM", func(t *testing.T) { exerciseWordPress(t, world, root, startFPM(t)) })
}

// standInPHP answers as the scripts of wordpress would.
func standInPHP(t *testing.T, root string, logins *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := fcgi.ProcessEnv(r)
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		switch script := strings.TrimPrefix(given["SCRIPT_FILENAME"], root); script {
		case "/index.php":
			w.Header().Set("Link", "<https://blog.example.com/wp-json/>")
			_, _ = io.WriteString(w, "page "+r.URL.RequestURI())
		case "/wp-login.php":
			if r.Method == "POST" {
				logins.Add(1)
			}
			_, _ = io.WriteString(w, "login")
		case "/wp-config.php":
		case "/wp-admin/index.php":
			proxy, https := "no proxy", "off"
			if r.Header.Get("Proxy") != "" {
				proxy = "PROXY"
			}
			if r.TLS != nil {
				https = "on"
			}
			_, _ = fmt.Fprintf(w, "admin %s %s %s %s", https, strings.Split(r.RemoteAddr, ":")[0], r.Host, proxy)
		case "/wp-admin/async-upload.php":
			digest(t, w, r)
		default:
			t.Errorf("%s was run for %s", given["SCRIPT_FILENAME"], r.URL)
		}
	})
}

// startFPM starts a real PHP-FPM, or skips the test where there is none.
func startFPM(t *testing.T) (socket string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/sbin/php-fpm*")
	if len(found) == 0 {
		t.Skip("php-fpm is not installed (Debian: apt-get install php-fpm)")
	}
	dir := shortDir(t)
	conf := fmt.Sprintf("[global]\nerror_log = %[1]s/log\ndaemonize = no\n[www]\nlisten = %[1]s/s\npm = static\npm.max_children = 2\n", dir)
	conf += "php_admin_value[post_max_size] = 64M\n"
	arguments := []string{"-n", "-F", "-y", filepath.Join(dir, "conf")}
	if os.Getuid() == 0 {
		conf += "user = root\ngroup = root\n"
		arguments = append(arguments, "-R")
	}
	writeFile(t, filepath.Join(dir, "conf"), conf)
	cmd := exec.Command(found[0], arguments...)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended }) // which ends its workers too
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		if conn, err := net.Dial("unix", filepath.Join(dir, "s")); err == nil {
			_ = conn.Close()
			return filepath.Join(dir, "s")
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("php-fpm ended")
		case <-end:
			t.Fatal("php-fpm does not listen")
		}
	}
}

func exerciseWordPress(t *testing.T, world *acmetest.World, root, socket string) {
	const host = "blog.example.com"
	s := runSetup(t, world, "wordpress", 1, "/var/www/wordpress", root, "/run/php/php-fpm.sock", socket)
	s.over(host, func(v *visit) {
		for _, target := range []string{"/", "/2026/11/hello-world/?utm=a%2Fb", "/tag/caf%C3%A9/"} {
			if res := v.wants("GET", target, 200, "page "+target); res.Header.Get("Link") == "" {
				v.t.Errorf("%s: %v", target, res.Header)
			}
		}
		v.wants("GET", "/wp-admin/", 200, "admin on 127.0.0.1 blog.example.com no proxy", "Proxy: http://evil.example")
		v.uploads("POST", "/wp-admin/async-upload.php", 4<<20, true)
		v.tooLarge("POST", "/wp-admin/async-upload.php", 65<<20)
		if res := v.wants("GET", "/wp-content/themes/x/style.css", 200, "body{}"); !strings.HasPrefix(res.Header.Get("Content-Type"), "text/css") {
			v.t.Errorf("%v", res.Header)
		}
		v.wants("GET", "/wp-content/uploads/2026/cat.jpg", 200, wordpress["wp-content/uploads/2026/cat.jpg"])
		v.refused("/xmlrpc.php", "/%78mlrpc.php", "/xmlrpc.php/x", "/wp-content/uploads/2026/shell.php", "/wp-content/uploads/2026/shell.%70hp", "/wp-content/uploads/x/../2026/SHELL.PHP")
		for _, target := range []string{"/wp-content/uploads/2026/cat.jpg/x.php", "/wp-content/uploads/2026/cat.jpg%00.php", "/wp-config.php", "/wp-config.php~", "/.htaccess", "/wp-content/uploads/2026/shell.php/x", "//xmlrpc.php"} {
			if _, text := v.ask("GET", target, ""); text == "run" || text == "never" || strings.Contains(text, "DB_PASSWORD") || strings.Contains(text, "RewriteEngine") {
				v.t.Errorf("%s: %q", target, text)
			}
		}
		v.wants("GET", "/wp-login.php", 200, "login")
		for range 4 {
			v.ask("POST", "/wp-login.php", "log=admin&pwd=x")
		}
	})
}
