package static_test

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/static"
)

// written is when the files of the tests were: long ago, so that tags are
// strong.
var written = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// site makes a folder with files; a name that ends with a slash is a folder.
func site(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at, written, written); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func serve(t testing.TB, o static.Options) *httptest.Server {
	t.Helper()
	files, err := static.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(files)
	t.Cleanup(func() { server.Close(); files.Close() })
	return server
}

type answer struct {
	*http.Response
	body string
}

// ask sends a request whose target goes over the wire as it is written.
func ask(t testing.TB, server *httptest.Server, method, target string, fields ...string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n", method, target)
	for _, field := range fields {
		fmt.Fprintf(conn, "%s\r\n", field)
	}
	fmt.Fprint(conn, "\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, target, err)
	}
	return answer{res, string(body)}
}

func TestFilesAreFoundAsUsersOfOtherServersExpect(t *testing.T) {
	root := site(t, map[string]string{
		"index.html": "home", "about.html": "about", "a b/ü.txt": "odd", "docs/index.html": "docs", "empty/": "",
		"assets/app.js": "js", "noending": "?", "UPPER.JPG": "jpg",
	})
	plain := serve(t, static.Options{Root: root})
	app := serve(t, static.Options{Root: root, Try: []string{"$path", "$path.html", "$path/", "/index.html"}})
	for _, c := range []struct {
		server *httptest.Server
		target string
		status int
		body   string
		header string // "Name: value" that must be there
	}{
		{plain, "/", 200, "home", "Content-Type: text/html; charset=utf-8"},
		{plain, "/index.html", 200, "home", "X-Content-Type-Options: nosniff"},
		{plain, "/a%20b/%C3%BC.txt", 200, "odd", "Content-Type: text/plain; charset=utf-8"},
		{plain, "/noending", 200, "?", "Content-Type: application/octet-stream"},
		{plain, "/UPPER.JPG", 200, "jpg", "Content-Type: image/jpeg"},
		{plain, "/docs/", 200, "docs", ""},
		{plain, "/docs", 301, "", "Location: ./docs/"},
		{plain, "/docs?a=1", 301, "", "Location: ./docs/?a=1"},
		{plain, "/empty/", 404, "", ""},
		{plain, "/empty", 404, "", ""},
		{plain, "/about", 404, "", ""},
		{plain, "/index.html/", 404, "", ""},
		{plain, "/index.html/x", 404, "", ""},
		{plain, "/" + strings.Repeat("x", 300), 404, "", ""},
		{app, "/about", 200, "about", ""},
		{app, "/some/deep/link", 200, "home", "Content-Type: text/html; charset=utf-8"},
		{app, "/assets/app.js", 200, "js", "Content-Type: text/javascript; charset=utf-8"},
		{app, "/docs", 301, "", "Location: ./docs/"},
		{app, "/empty/", 200, "home", ""},
	} {
		got := ask(t, c.server, "GET", c.target)
		if got.StatusCode != c.status || c.status == 200 && got.body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.target, got.StatusCode, got.body, c.status, c.body)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && got.Header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", c.target, name, got.Header.Get(name), value)
		}
	}
}

func TestNoPathLeadsOutOfTheFolderOrToWhatIsHidden(t *testing.T) {
	outside := site(t, map[string]string{"secret.txt": "SECRET"})
	root := site(t, map[string]string{
		"ok.txt": "ok", ".env": "SECRET", ".git/config": "SECRET", "sub/.htpasswd": "SECRET", "sub/x.txt": "x", "a\\b.txt": "SECRET",
		".well-known/acme": "public", ".well-known/.hidden": "SECRET", "sub/.well-known/x": "SECRET",
	})
	for link, to := range map[string]string{
		"out":          filepath.Join(outside, "secret.txt"),
		"outdir":       outside,
		"climb":        "../" + filepath.Base(outside) + "/secret.txt",
		"inside":       "sub/x.txt",
		"absolute":     filepath.Join(root, "ok.txt"),
		"loop":         "loop",
		"sub/up":       "../ok.txt",
		"sub/upup":     "../../" + filepath.Base(outside) + "/secret.txt",
		"dangling.txt": "nowhere",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	server := serve(t, static.Options{Root: root, Hidden: []string{".*"}, Browse: true})
	for _, target := range []string{
		"/../secret.txt", "/..", "/../../etc/passwd", "/%2e%2e/secret.txt", "/sub/../../etc/passwd", "/sub/..%2f..%2fetc/passwd", "/..%5c..%5cetc", "/..\\etc",
		"/.env", "/%2eenv", "/.git/config", "/.git", "/.git/", "/sub/.htpasswd", "/.well-known/.hidden", "/sub/.well-known/x", "/./ok.txt", "/%2e/ok.txt", "//ok.txt", "/sub//x.txt", "//etc/passwd",
		"/sub%2fx.txt", "/sub%2Fx.txt", "/a%5cb.txt", "/ok.txt%00", "/ok.txt%00.html",
		"/out", "/outdir/", "/outdir/secret.txt", "/climb", "/absolute", "/loop", "/sub/upup", "/dangling.txt",
	} {
		got := ask(t, server, "GET", target)
		if got.StatusCode != 404 && got.StatusCode != 400 {
			t.Errorf("%s: %d, want 404", target, got.StatusCode)
		}
		if strings.Contains(got.body, "SECRET") || strings.Contains(got.body, "root:") {
			t.Fatalf("%s gave away what it must not", target)
		}
	}
	for target, want := range map[string]string{"/ok.txt": "ok", "/inside": "x", "/sub/up": "ok", "/.well-known/acme": "public"} {
		if got := ask(t, server, "GET", target); got.StatusCode != 200 || got.body != want {
			t.Errorf("%s: %d %q, want %q", target, got.StatusCode, got.body, want)
		}
	}
	list := ask(t, server, "GET", "/")
	for _, hidden := range []string{".env", ".git", "out", "climb", "absolute", "loop", "dangling"} {
		if strings.Contains(list.body, ">"+hidden+"<") {
			t.Errorf("the listing shows %s", hidden)
		}
	}
	if !strings.Contains(list.body, ">inside<") || !strings.Contains(list.body, ">.well-known<") {
		t.Errorf("the listing leaves out what is served:\n%s", list.body)
	}
}

func TestPipesAndDevicesAreNotOpenedForReading(t *testing.T) {
	root := site(t, map[string]string{"x": "x"})
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := serve(t, static.Options{Root: root})
	for _, target := range []string{"/pipe", "/socket"} { // ask has a deadline: a pipe that is waited for fails
		if got := ask(t, server, "GET", target); got.StatusCode != 404 {
			t.Errorf("%s: %d", target, got.StatusCode)
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	server := serve(t, static.Options{Root: site(t, map[string]string{"a.txt": "abc"})})
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"} {
		got := ask(t, server, method, "/a.txt", "Content-Length: 0")
		if got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, got.StatusCode, got.Header.Get("Allow"))
		}
	}
	got := ask(t, server, "HEAD", "/a.txt")
	if got.StatusCode != 200 || got.ContentLength != 3 || got.body != "" {
		t.Errorf("HEAD: %d, length %d, body %q", got.StatusCode, got.ContentLength, got.body)
	}
}

func TestAnUpgradeOverHTTP2OpensNoTunnel(t *testing.T) {
	files, err := static.New(static.Options{Root: site(t, map[string]string{"a.txt": "abc"})})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/a.txt", nil)
	r.ProtoMajor, r.ProtoMinor = 2, 0
	r.Header.Set("Upgrade", "websocket")
	w := httptest.NewRecorder()
	files.ServeHTTP(w, r)
	if w.Code < 400 {
		t.Errorf("answered %d", w.Code)
	}
}

func TestConditionsAndRanges(t *testing.T) {
	root := site(t, map[string]string{"a.txt": "0123456789", "new.txt": "new", "epoch.txt": "epoch", "empty": "", "long.txt": strings.Repeat("x", 1000)})
	now := time.Now()
	if err := os.Chtimes(filepath.Join(root, "new.txt"), now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(root, "epoch.txt"), now, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	server := serve(t, static.Options{Root: root, CacheControl: "public, max-age=60"})
	first := ask(t, server, "GET", "/a.txt")
	tag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
	if tag == "" || strings.HasPrefix(tag, "W/") || modified != "Fri, 02 Jan 2026 03:04:05 GMT" || first.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Fatalf("header %v", first.Header)
	}
	if weak := ask(t, server, "GET", "/new.txt").Header.Get("Etag"); !strings.HasPrefix(weak, "W/") {
		t.Errorf("a file that may still change without showing has the strong tag %s", weak)
	}
	if h := ask(t, server, "GET", "/epoch.txt").Header; h.Get("Etag") != "" || h.Get("Last-Modified") != "" {
		t.Errorf("a time that says nothing became a validator: %v", h)
	}
	for _, c := range []struct {
		method, target, field string
		status                int
		body                  string
	}{
		{"GET", "/a.txt", "If-None-Match: " + tag, 304, ""},
		{"GET", "/a.txt", "If-None-Match: W/" + tag, 304, ""},
		{"GET", "/a.txt", "If-None-Match: *", 304, ""},
		{"GET", "/a.txt", `If-None-Match: "other"`, 200, "0123456789"},
		{"GET", "/a.txt", "If-Modified-Since: " + modified, 304, ""},
		{"GET", "/a.txt", "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT", 200, "0123456789"},
		{"GET", "/a.txt", "If-Match: " + tag, 200, "0123456789"},
		{"GET", "/a.txt", `If-Match: "other"`, 412, ""},
		{"HEAD", "/a.txt", `If-Match: "other"`, 412, ""},
		{"GET", "/a.txt", "If-Match: W/" + tag, 412, ""},
		{"GET", "/a.txt", "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT", 412, ""},
		{"GET", "/a.txt", "Range: bytes=2-4", 206, "234"},
		{"GET", "/a.txt", "Range: bytes=-3", 206, "789"},
		{"GET", "/a.txt", "Range: bytes=8-100", 206, "89"},
		{"HEAD", "/a.txt", "Range: bytes=2-4", 206, ""},
		{"GET", "/a.txt", "Range: bytes=10-", 416, ""},
		{"GET", "/a.txt", "Range: bytes=4-2", 416, ""},
		{"GET", "/a.txt", "Range: lines=1-2", 416, ""},
		{"GET", "/empty", "Range: bytes=0-5", 200, ""},
		{"GET", "/a.txt", "Range: bytes=0-4\r\nIf-Range: " + tag, 206, "01234"},
		{"GET", "/a.txt", "Range: bytes=0-4\r\nIf-Range: \"other\"", 200, "0123456789"},
		{"GET", "/a.txt", "Range: bytes=0-4\r\nIf-Range: " + modified, 206, "01234"},
		{"GET", "/long.txt", "Range: bytes=" + strings.TrimSuffix(strings.Repeat("0-0,", 17), ","), 200, strings.Repeat("x", 1000)},
	} {
		got := ask(t, server, c.method, c.target, c.field)
		if got.StatusCode != c.status || (c.status < 400 && got.body != c.body) {
			t.Errorf("%s %s, %s: %d %q, want %d %q", c.method, c.target, c.field, got.StatusCode, got.body, c.status, c.body)
		}
		if c.status == 416 && got.Header.Get("Content-Range") != "bytes */10" && !strings.Contains(c.field, "lines") && !strings.Contains(c.field, "4-2") {
			t.Errorf("%s: Content-Range %q", c.field, got.Header.Get("Content-Range"))
		}
		if c.status >= 400 && (got.Header.Get("Etag") != "" || got.Header.Get("Cache-Control") == "public, max-age=60") {
			t.Errorf("%s: a refusal with the file's fields: %v", c.field, got.Header)
		}
	}
	many := ask(t, server, "GET", "/a.txt", "Range: bytes=0-1,4-5")
	_, parameters, err := mime.ParseMediaType(many.Header.Get("Content-Type"))
	if many.StatusCode != 206 || err != nil {
		t.Fatalf("%d %v", many.StatusCode, many.Header)
	}
	parts, text := multipart.NewReader(strings.NewReader(many.body), parameters["boundary"]), ""
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(part)
		text += part.Header.Get("Content-Range") + "=" + string(content) + ";"
	}
	if text != "bytes 0-1/10=01;bytes 4-5/10=45;" {
		t.Errorf("parts %q", text)
	}
}

func TestPrecompressedFilesByTheClientsPreference(t *testing.T) {
	root := site(t, map[string]string{
		"app.js": "plain", "app.js.br": "brotli", "app.js.zst": "zstd", "app.js.gz": "gzip", "only.css": "plain", "only.css.gz": "gzip", "x.br": "",
	})
	server := serve(t, static.Options{Root: root, Precompressed: []string{"br", "zstd", "gzip"}})
	tags := map[string]string{}
	for _, c := range []struct{ target, accept, want string }{
		{"/app.js", "", "plain"},
		{"/app.js", "gzip, deflate, br, zstd", "brotli"},
		{"/app.js", "gzip;q=1.0, br;q=0.5", "gzip"},
		{"/app.js", "br;q=0, *", "zstd"},
		{"/app.js", "*", "brotli"},
		{"/app.js", "*;q=0", "plain"},
		{"/app.js", "gzip;q=0.2, identity", "plain"},
		{"/app.js", "GZIP", "gzip"},
		{"/app.js", "x-gzip", "gzip"},
		{"/app.js", "br;q=nonsense, gzip;q=2", "plain"},
		{"/only.css", "br, gzip;q=0.1", "gzip"},
		{"/only.css", "br", "plain"},
	} {
		got := ask(t, server, "GET", c.target, "Accept-Encoding: "+c.accept)
		coding := map[string]string{"plain": "", "brotli": "br", "zstd": "zstd", "gzip": "gzip"}[c.want]
		if got.body != c.want || got.Header.Get("Content-Encoding") != coding || got.ContentLength != int64(len(c.want)) {
			t.Errorf("%s with %q: %q, %v", c.target, c.accept, got.body, got.Header)
		}
		if got.Header.Get("Vary") != "Accept-Encoding" || strings.HasPrefix(got.Header.Get("Content-Type"), "application/") {
			t.Errorf("%s with %q: %v", c.target, c.accept, got.Header)
		}
		if c.target == "/app.js" {
			tags[c.want] = got.Header.Get("Etag")
		}
	}
	if len(tags) != 4 || tags["plain"] == tags["gzip"] || tags["brotli"] == tags["zstd"] {
		t.Errorf("the variants share tags: %v", tags)
	}
	got := ask(t, server, "GET", "/app.js", "Accept-Encoding: br", `If-Match: "other"`)
	if got.StatusCode != 412 || got.Header.Get("Content-Encoding") != "" {
		t.Errorf("a refusal of a compressed file: %d %v", got.StatusCode, got.Header)
	}
	got = ask(t, server, "GET", "/app.js", "Accept-Encoding: br", "If-None-Match: "+tags["brotli"])
	if got.StatusCode != 304 || got.Header.Get("Vary") == "" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
}

func TestARedirectToAFolderStaysOnThisHost(t *testing.T) {
	server := serve(t, static.Options{Root: site(t, map[string]string{"a:b/index.html": "x", "evil.example/index.html": "x", "%2f/index.html": "x"}), Browse: true})
	for target, want := range map[string]string{
		"/a:b":             "./a:b/",
		"/evil.example":    "./evil.example/",
		"/%252f":           "./%252f/",
		"//evil.example":   "",
		"/%2fevil.example": "",
		"///evil.example":  "",
		"/\\evil.example":  "",
	} {
		got := ask(t, server, "GET", target)
		if location := got.Header.Get("Location"); location != want || (want == "") != (got.StatusCode >= 400) {
			t.Errorf("%s: %d to %q, want %q", target, got.StatusCode, location, want)
		}
	}
}

func TestAListingEscapesNamesAndSorts(t *testing.T) {
	root := site(t, map[string]string{
		`<script>alert(1)`: "1", `"onmouseover="x`: "22", "a#b?c": "333", "javascript:alert(1)": "4", "zz/": "", "B.txt": strings.Repeat("x", 5000), "c.txt": "55555",
	})
	server := serve(t, static.Options{Root: root, Browse: true})
	got := ask(t, server, "GET", "/")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(got.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("%d %v", got.StatusCode, got.Header)
	}
	for _, bad := range []string{"<script", `"onmouseover`, `href="javascript:`, "http://", "https://"} {
		if strings.Contains(got.body, bad) {
			t.Errorf("the page has %s:\n%s", bad, got.body)
		}
	}
	for _, want := range []string{`href="./a%23b%3Fc"`, `href="./zz/"`, `href="./javascript:alert%281%29"`, "4.9 KiB", "1 folder, 6 files", `aria-sort="ascending"`, `datetime="2026-01-02T03:04:05Z"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page lacks %s:\n%s", want, got.body)
		}
	}
	order := func(target string, names ...string) {
		body, last := ask(t, server, "GET", target).body, -1
		for _, name := range names {
			at := strings.Index(body, ">"+name+"<")
			if at < last {
				t.Errorf("%s: %s is not where it should be", target, name)
			}
			last = at
		}
	}
	order("/", "zz", "a#b?c", "B.txt", "c.txt")
	order("/?sort=name&order=desc", "zz", "c.txt", "B.txt", "a#b?c")
	order("/?sort=size", "zz", "a#b?c", "c.txt", "B.txt")
	order("/?sort=size&order=desc", "zz", "B.txt", "c.txt", "a#b?c")
	if got := ask(t, server, "HEAD", "/"); got.StatusCode != 200 || got.body != "" || got.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %d", got.StatusCode, got.ContentLength)
	}
	if got := ask(t, server, "GET", "/zz/"); !strings.Contains(got.body, "This folder is empty") || !strings.Contains(got.body, `href="../"`) {
		t.Errorf("an empty folder:\n%s", got.body)
	}
}

func TestAReleaseSwitchedByALinkIsSeenWithoutAReload(t *testing.T) {
	base := site(t, map[string]string{"1/v.txt": "one", "2/v.txt": "two"})
	current := filepath.Join(base, "current")
	if err := os.Symlink("1", current); err != nil {
		t.Fatal(err)
	}
	server := serve(t, static.Options{Root: current})
	if got := ask(t, server, "GET", "/v.txt"); got.body != "one" {
		t.Fatal(got.body)
	}
	if err := os.Symlink("2", current+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(current+".new", current); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; {
		if got := ask(t, server, "GET", "/v.txt"); got.body == "two" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the old release is still served")
		}
	}
}

func TestAFolderThatIsNotThereYetFailsAloneAndComesBack(t *testing.T) {
	root := filepath.Join(t.TempDir(), "later")
	files, err := static.New(static.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if files.Check() == nil {
		t.Error("a missing folder is not noticed")
	}
	server := httptest.NewServer(files)
	defer server.Close()
	if got := ask(t, server, "GET", "/x"); got.StatusCode != 500 {
		t.Errorf("%d", got.StatusCode)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, server, "GET", "/x"); got.StatusCode != 200 {
		t.Errorf("%d", got.StatusCode)
	}
	files.Close()
	if got := ask(t, server, "GET", "/x"); got.StatusCode != 200 {
		t.Errorf("a request of the retired generation: %d", got.StatusCode)
	}
}

func TestAFileThatShrinksWhileItIsSentEndsTheConnection(t *testing.T) {
	root := site(t, map[string]string{"big": ""})
	name := filepath.Join(root, "big")
	if err := os.Truncate(name, 64<<20); err != nil {
		t.Fatal(err)
	}
	server := serve(t, static.Options{Root: root})
	res, err := http.Get(server.URL + "/big")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := os.Truncate(name, 1<<20); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil {
		t.Errorf("%d bytes of %d were taken for the whole", n, res.ContentLength)
	}
}

// shrinker makes a file shorter as soon as the head of its response is written.
type shrinker struct {
	discard
	file string
}

func (s *shrinker) WriteHeader(int) { _ = os.Truncate(s.file, 10) }

// Not every server compares what was written with what was announced.
func TestAFileThatShrinksAbortsWhateverTheServerChecks(t *testing.T) {
	root := site(t, map[string]string{"a.txt": strings.Repeat("x", 1000)})
	files, err := static.New(static.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if thrown := recover(); thrown != http.ErrAbortHandler {
			t.Errorf("thrown: %v", thrown)
		}
	}()
	files.ServeHTTP(&shrinker{discard{h: make(http.Header)}, filepath.Join(root, "a.txt")}, httptest.NewRequest("GET", "/a.txt", nil))
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, o := range []static.Options{
		{Root: "relative"},
		{Root: "/", Index: []string{"../x"}},
		{Root: "/", Index: []string{"."}},
		{Root: "/", Try: []string{"path"}},
		{Root: "/", Try: []string{"$path/../x"}},
		{Root: "/", Try: []string{"/../x"}},
		{Root: "/", Try: []string{"$uri"}},
		{Root: "/", Hidden: []string{"["}},
		{Root: "/", Precompressed: []string{"deflate"}},
	} {
		if _, err := static.New(o); err == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
}

func BenchmarkSmallFile(b *testing.B) {
	files, err := static.New(static.Options{Root: site(b, map[string]string{"css/site.css": strings.Repeat("x", 1024)}), Hidden: []string{".*"}})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/css/site.css", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := discard{h: make(http.Header, 8)}
		files.ServeHTTP(&w, r)
		if w.n != 1024 {
			b.Fatal(w.n)
		}
	}
}

// BenchmarkSmallFileByLibrary is what net/http's own file server needs.
func BenchmarkSmallFileByLibrary(b *testing.B) {
	root, err := os.OpenRoot(site(b, map[string]string{"css/site.css": strings.Repeat("x", 1024)}))
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	files := http.FileServerFS(root.FS())
	r := httptest.NewRequest("GET", "/css/site.css", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := discard{h: make(http.Header, 8)}
		files.ServeHTTP(&w, r)
		if w.n != 1024 {
			b.Fatal(w.n)
		}
	}
}

type discard struct {
	h http.Header
	n int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }

// FuzzName: no path becomes a name that is not below the root.
func FuzzName(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "/a%2fb", "/../x", "/%2e%2e/x", "//x", "/a/./b", "/a\\b", "/a%00", "/a/", "/."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequest("GET", "http://a.example", nil)
		if err != nil {
			t.Skip()
		}
		if r.URL, err = r.URL.Parse(target); err != nil {
			t.Skip()
		}
		name, _, err := static.Name(r)
		if err != nil {
			return
		}
		if !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00") || strings.Contains("/"+name+"/", "/../") || strings.Contains(name, "//") {
			t.Errorf("%q became %q", target, name)
		}
	})
}
