package fastcgi_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/fastcgi"
)

// fpm starts a real PHP-FPM, or skips the test where there is none.
func fpm(t testing.TB, root string) (server string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/sbin/php-fpm*")
	if len(found) == 0 {
		t.Skip("php-fpm is not installed (Debian: apt-get install php-fpm)")
	}
	dir, err := os.MkdirTemp("", "fpm") // short: a socket's path has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	conf := fmt.Sprintf("[global]\nerror_log = %[1]s/log\ndaemonize = no\n[www]\nlisten = %[1]s/s\npm = static\npm.max_children = 2\nphp_admin_flag[display_errors] = off\nphp_admin_flag[log_errors] = on\n", dir)
	arguments := []string{"-n", "-F", "-y", filepath.Join(dir, "conf")}
	if os.Getuid() == 0 {
		conf += "user = root\ngroup = root\n"
		arguments = append(arguments, "-R")
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(found[0], arguments...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended }) // which ends its workers too
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return "unix:" + socket
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("php-fpm ended: %s", output.String())
		case <-end:
			t.Fatal("php-fpm does not listen")
		}
	}
}

func TestARealPHPFPMServesAPage(t *testing.T) {
	root := application(t)
	for name, code := range map[string]string{
		"index.php":            `<?php echo "front ", $_SERVER["REQUEST_URI"], " https=", $_SERVER["HTTPS"] ?? "", " ", php_sapi_name();`,
		"info.php":             `<?php header("X-Script: yes"); http_response_code(404); echo $_SERVER["PATH_INFO"] ?? "", "|", getenv("HTTP_PROXY") === false ? "none" : "httpoxy", "|", $_GET["a"] ?? "", "|", $_SERVER["REMOTE_ADDR"], "|", $_SERVER["SCRIPT_NAME"];`,
		"upload.php":           `<?php echo strlen(file_get_contents("php://input")), " ", md5(file_get_contents("php://input"));`,
		"form.php":             `<?php echo $_POST["x"] ?? "nothing", " ", $_FILES["f"]["size"] ?? "";`,
		"move.php":             `<?php header("Location: /elsewhere?x=1");`,
		"fail.php":             `<?php throw new Exception("told to stderr");`,
		"stream.php":           `<?php while (ob_get_level()) ob_end_flush(); for ($i = 0; $i < 3; $i++) { echo "piece $i\n"; flush(); }`,
		"cookies.php":          `<?php setcookie("a", "1"); setcookie("b", "2"); echo $_COOKIE["c"];`,
		"uploads/photo.jpg":    `<?php echo "EXECUTED";`,
		"wp-admin/index.php":   `<?php echo "admin";`,
		"uploads/dir.php/x.gz": `x`,
	} {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := fpm(t, root)
	front := httptest.NewServer(php(t, root, server))
	defer front.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	do := func(method, target, body string, fields ...string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(context.Background(), method, front.URL+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header, text.String()
	}
	big := strings.Repeat("0123456789abcdef", 200_000)
	for _, c := range []struct {
		method, target, body string
		fields               []string
		status               int
		want                 string
	}{
		{"GET", "/pretty/link?p=1", "", nil, 200, "front /pretty/link?p=1 https= fpm-fcgi"},
		{"GET", "/info.php/a%20b?a=c", "", []string{"Proxy", "http://evil.example"}, 404, "/a b|none|c|127.0.0.1|/info.php"},
		{"POST", "/upload.php", big, []string{"Content-Type", "application/octet-stream"}, 200, "3200000 "},
		{"POST", "/form.php", "x=hello", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, "hello "},
		{"GET", "/move.php", "", nil, 302, ""},
		{"GET", "/stream.php", "", nil, 200, "piece 0\npiece 1\npiece 2\n"},
		{"GET", "/cookies.php", "", []string{"Cookie", "c=3"}, 200, "3"},
		{"GET", "/wp-admin/", "", nil, 200, "admin"},
		{"HEAD", "/index.php", "", nil, 200, ""},
		{"GET", "/uploads/photo.jpg/a.php", "", nil, 200, "front /uploads/photo.jpg/a.php https= fpm-fcgi"},
		{"GET", "/uploads/photo.jpg", "", nil, 200, `<?php echo "EXECUTED";`},
	} {
		status, header, got := do(c.method, c.target, c.body, c.fields...)
		if status != c.status || got != c.want && c.target != "/upload.php" || c.target == "/upload.php" && !strings.HasPrefix(got, "3200000 ") {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.target, status, got, c.status, c.want)
		}
		switch c.target {
		case "/move.php":
			if header.Get("Location") != "/elsewhere?x=1" {
				t.Errorf("Location %q", header.Get("Location"))
			}
		case "/cookies.php":
			if len(header["Set-Cookie"]) != 2 {
				t.Errorf("cookies %v", header["Set-Cookie"])
			}
		}
	}
	var told []string
	transport := fastcgi.New(fastcgi.Options{Server: server, Stderr: func(_ *http.Request, script, text string) { told = append(told, script+": "+text) }})
	r := httptest.NewRequest("GET", "/fail.php", nil)
	res, err := transport.RoundTrip(fastcgi.WithScript(r, &fastcgi.Script{Root: root, Name: "fail.php", Request: r}))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	_, _ = text.ReadFrom(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 500 {
		t.Errorf("an exception: %d", res.StatusCode)
	}
	if len(told) != 1 || !strings.Contains(told[0], "told to stderr") {
		t.Errorf("stderr: %q", told)
	}
}
