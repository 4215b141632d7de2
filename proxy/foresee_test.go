package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/explain"
)

// answered sends the request of a question through the proxy.
func answered(t *testing.T, p *Proxy, q explain.Question) *httptest.ResponseRecorder {
	t.Helper()
	r, err := q.Request()
	if err != nil {
		t.Fatal(err)
	}
	r.TLS = serverName(q.Hostname())
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// crowd starts servers that answer with their own address.
func crowd(t *testing.T, n int) (list []*httptest.Server) {
	t.Helper()
	for range n {
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s.URL) }))
		t.Cleanup(s.Close)
		list = append(list, s)
	}
	return list
}

// foreseen asks, tries, and compares. It reports whether the server was certain.
func foreseen(t *testing.T, p *Proxy, q explain.Question) bool {
	t.Helper()
	answer, err := p.Explain(nil, q)
	if err != nil || answer.Action == nil {
		t.Fatalf("%+v: %+v, %v", q, answer, err)
	}
	a := answer.Action
	tries := 1
	if a.Server == "" {
		tries = 8 // chance decides, and never for one that is said to be out
	}
	for range tries {
		got := answered(t, p, q).Body.String()
		i := slices.IndexFunc(a.Servers, func(s explain.Server) bool { return s.Address == got })
		switch {
		case a.Server != "" && got != a.Server:
			t.Fatalf("%+v went to %s, foreseen %s: %+v", q, got, a.Server, a)
		case i < 0 || a.Servers[i].Why != "":
			t.Fatalf("%+v went to %s, which is out: %+v", q, got, a)
		}
	}
	return a.Server != ""
}

func TestExplainForeseesTheServerThatARequestGoesTo(t *testing.T) {
	servers := crowd(t, 5)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL)
	}
	all := strings.Join(urls, ", ")
	weighed := fmt.Sprintf("{url: %s, weight: 3}, %s, {url: %s, weight: 2}, {url: %s, backup: true}", urls[0], urls[1], urls[2], urls[3])
	p, _ := explained(t, fmt.Sprintf(`
trusted_proxies: [10.0.0.0/8]
upstreams:
  address: {servers: [%[1]s], balance: ip_hash}
  field: {servers: [%[2]s], balance: "header:X-Tenant"}
  host: {servers: [%[1]s], balance: "header:Host"}
  cookie: {servers: [%[1]s], balance: "cookie:sid"}
  sticky: {servers: [%[2]s], sticky: {cookie: route}}
  turn: {servers: [%[2]s], balance: round_robin}
  least: {servers: [%[1]s], balance: least_conn}
  spare: {servers: [%[3]s, {url: %[4]s, backup: true}]}
sites:
  a.localhost:
    aliases: ["*.a.localhost"]
    routes:
      - {path: /address/, proxy: address}
      - {path: /field/, proxy: field}
      - {path: /tenant/, request_headers: {set: {X-Tenant: "{query.t}"}}, proxy: field}
      - {path: /host/, proxy: host}
      - {path: /fixed/, host: one.test, proxy: host}
      - {path: /cookie/, proxy: cookie}
      - {path: /sticky/, proxy: sticky}
      - {path: /turn/, proxy: turn}
      - {path: /least/, proxy: least}
      - {path: /spare/, proxy: spare}
`, all, weighed, urls[0], urls[1]))
	ask := func(path, from string, headers ...string) bool {
		t.Helper()
		return foreseen(t, p, explain.Question{URL: path, From: from, Headers: headers})
	}
	all60 := func(when string, sure bool) {
		t.Helper()
		certain := 0
		for i := range 60 {
			for _, yes := range []bool{
				ask("a.localhost/address/", fmt.Sprintf("203.0.113.%d", i)),
				ask("a.localhost/address/", fmt.Sprintf("2001:db8:%d::7", i)),
				ask("a.localhost/address/", "10.0.0.1", fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i)),
				ask("a.localhost/field/", "", fmt.Sprintf("X-Tenant: t%d", i)),
				ask(fmt.Sprintf("a.localhost/tenant/?t=%d", i), "", "X-Tenant: evil"),
				ask(fmt.Sprintf("t%d.a.localhost/host/", i), ""),
				ask(fmt.Sprintf("t%d.a.localhost/fixed/", i), ""),
				ask("a.localhost/cookie/", "", fmt.Sprintf("Cookie: a=b; sid=%d", i)),
				ask("a.localhost/spare/", ""),
			} {
				if yes {
					certain++
				}
			}
		}
		if sure && certain != 60*9 {
			t.Errorf("%s: of %d answers only %d name a server", when, 60*9, certain)
		}
		for _, path := range []string{"/address/", "/field/", "/cookie/", "/sticky/", "/turn/", "/least/"} {
			if ask("a.localhost"+path, "") && sure {
				t.Errorf("%s: chance decides about %s, or nobody's address does, and a server is named", when, path)
			}
		}
	}
	all60("all up", true)
	cookie, _, _ := strings.Cut(answered(t, p, explain.Question{URL: "a.localhost/sticky/"}).Header().Get("Set-Cookie"), ";")
	if !ask("a.localhost/sticky/", "", "Cookie: "+cookie) {
		t.Errorf("the cookie %q leads nowhere", cookie)
	}

	p.Drain(urls[0], true)
	all60("one is drained", false)
	servers[2].Close()
	for range 40 { // until requests have found out
		answered(t, p, explain.Question{URL: "a.localhost/turn/"})
		answered(t, p, explain.Question{URL: "a.localhost/least/"})
		answered(t, p, explain.Question{URL: "a.localhost/address/"})
	}
	answer, err := p.Explain(nil, explain.Question{URL: "a.localhost/turn/"})
	if err != nil {
		t.Fatal(err)
	}
	var why []string
	for _, s := range answer.Action.Servers {
		why = append(why, s.Why)
	}
	if want := []string{"taken out by sallyport drain; --undo takes it back in", "", "requests to it failed: none for fail_timeout", "a backup, while another is up"}; !slices.Equal(why, want) {
		t.Errorf("why not: %q, want %q", why, want)
	}
	if a := answer.Action; a.Server != urls[1] || a.Rule != "no other server can take it" {
		t.Errorf("%+v", a)
	}
	foreseen(t, p, explain.Question{URL: "a.localhost/turn/"})
}

func TestExplainSaysByWhichRuleAServerIsChosen(t *testing.T) {
	_, ask := explained(t, `
upstreams:
  address: {servers: [http://127.0.0.1:1, http://127.0.0.1:2], balance: ip_hash}
  field: {servers: [http://127.0.0.1:1, http://127.0.0.1:2], balance: "header:X-Tenant"}
  cookie: {servers: [http://127.0.0.1:1, http://127.0.0.1:2], balance: "cookie:sid"}
  two: {servers: [http://127.0.0.1:1, http://127.0.0.1:2]}
  turn: {servers: [http://127.0.0.1:1, http://127.0.0.1:2], balance: round_robin}
  least: {servers: [http://127.0.0.1:1, http://127.0.0.1:2], balance: least_conn}
sites:
  a.localhost:
    routes:
      - {path: /address, proxy: address}
      - {path: /field, proxy: field}
      - {path: /cookie, proxy: cookie}
      - {path: /two, proxy: two}
      - {path: /turn, proxy: turn}
      - {path: /least, proxy: least}
`)
	for _, c := range []struct {
		path, from, header, want string
		sure                     bool
	}{
		{"/address", "", "", "each client's address belongs to one server: --from ADDRESS says which", false},
		{"/address", "203.0.113.7", "", "the address 203.0.113.7 belongs to one of them", true},
		{"/field", "", "", "the request has no header X-Tenant, so the less busy of two at random", false},
		{"/field", "", "X-Tenant: hunter2", "the value of header X-Tenant belongs to one of them", true},
		{"/cookie", "", "", "the request has no cookie sid, so the less busy of two at random", false},
		{"/cookie", "", "Cookie: sid=hunter2", "the value of cookie sid belongs to one of them", true},
		{"/two", "", "", "the less busy of two at random, by weight", false},
		{"/turn", "", "", "each in turn, by weight", false},
		{"/least", "", "", "the one with the fewest requests under way, by weight", false},
	} {
		q := explain.Question{URL: "a.localhost" + c.path, From: c.from}
		if c.header != "" {
			q.Headers = []string{c.header}
		}
		a := ask(q).Action
		if a.Rule != c.want || (a.Server != "") != c.sure {
			t.Errorf("%s %q %q: %q, server %q; want %q", c.path, c.from, c.header, a.Rule, a.Server, c.want)
		}
	}
}

func TestExplainForeseesTheFileThatIsServed(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{
		"index.html", "app.html", "a.txt", "docs/index.html", "docs/app.js", "docs/app.js.gz", "docs/app.js.br", "docs/only.css", "docs/only.css.zst",
		"bare/a.txt", "folder.txt/x", "two/default.htm", ".env", ".well-known/acme", "docs/.hidden/x", "page.html", "own.php", "php/index.php", "php/x.php.bak", "odd/index.html/x", "secret/x",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(path), 0o644); err != nil { // each file holds its own path
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(root, "outside")); err != nil {
		t.Fatal(err)
	}
	p, _ := explained(t, fmt.Sprintf(`
sites:
  a.localhost:
    routes:
      - {path: /plain/, strip_prefix: /plain, files: {root: %[1]s}}
      - {path: /spa/, strip_prefix: /spa, files: {root: %[1]s, try: [$path, $path/, $path.html, /app.html], index: [default.htm, index.html], precompressed: [br, zstd, gzip]}}
      - {path: /list/, strip_prefix: /list, files: {root: %[1]s, browse: true, hidden: [secret, "*.gz"], precompressed: gzip}}
      - {path: /none/, files: {root: %[1]s/absent}}
      - {path: /shut/, maintenance: %[1]s/a.txt, files: {root: %[1]s}}
      - {path: /open/, strip_prefix: /open, maintenance: %[1]s/absent, files: {root: %[1]s}}
`, root))
	paths := strings.Fields(`/ /a.txt /a.txt/ /docs /docs/ /docs/app.js /docs/only.css /bare /bare/ /folder.txt /two/ /two /.env /.well-known/acme /docs/.hidden/x /page /page/
		/outside /nothing /nothing/here /odd/ /odd /secret/x /own.php /x%2fy /x%5cy /docs/app.js.gz /index.html`)
	fields := [][]string{nil, {"Accept-Encoding: gzip, br"}, {"Accept-Encoding: zstd"}, {"Accept-Encoding: br;q=0.5, gzip"}, {"Accept-Encoding: identity, gzip;q=0.1"}, {"Range: bytes=0-1"}, {"Range: bytes=9999-"}, {"If-None-Match: *"}}
	n, served := 0, 0
	for _, prefix := range []string{"/plain", "/spa", "/list", "/none", "/shut", "/open"} {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				for _, headers := range fields {
					q := explain.Question{URL: "https://a.localhost" + prefix + path, Method: method, Headers: headers}
					n++
					w := answered(t, p, q)
					answer, err := p.Explain(nil, q)
					if err != nil {
						t.Fatal(err)
					}
					got := 0
					switch {
					case answer.Refused != nil:
						got = answer.Refused.Status
					case answer.Action != nil:
						got = answer.Action.Status
					}
					if got != w.Code {
						t.Fatalf("%s %s %q: answered %d, explained as %d: %+v", method, q.URL, headers, w.Code, got, answer.Refused)
					}
					if w.Code != http.StatusOK || method != "GET" {
						continue
					}
					f := answer.Action.File
					if f == nil || f.Type != w.Header().Get("Content-Type") || f.Coding != w.Header().Get("Content-Encoding") {
						t.Fatalf("%s %q: %+v, the answer has %v", q.URL, headers, f, w.Header())
					}
					if f.Listing != strings.HasPrefix(w.Body.String(), "<!") {
						t.Fatalf("%s: %+v, and the answer is %.60q", q.URL, f, w.Body)
					}
					if sent := f.Path; !f.Listing {
						served++
						if f.Coding != "" {
							sent = f.Variant
						}
						if sent != w.Body.String() {
							t.Fatalf("%s %q: explained as %s, served %s", q.URL, headers, sent, w.Body)
						}
					}
				}
			}
		}
	}
	if n < 3000 || served < 200 {
		t.Errorf("only %d requests were compared, %d of them of files", n, served)
	}
}

func TestExplainNamesWhatWasLookedFor(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"docs/a.txt", "php/index.php", "php/own.php", ".git/config", "folder/x"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(root, "outside")); err != nil {
		t.Fatal(err)
	}
	_, ask := explained(t, fmt.Sprintf(`
sites:
  a.localhost: {files: {root: %[1]s}}
  list.localhost: {files: {root: %[1]s, try: [$path.txt, $path]}}
  php.localhost: {php: {root: %[1]s/php, server: "unix:/nowhere"}}
`, root))
	for _, c := range []struct{ url, want string }{
		{"a.localhost/docs/", "docs/index.html: there is no such file; docs/: the folder has none of the files in files.index, and files.browse is off; REFUSED 404"},
		{"a.localhost/.git/config", ".git/config: the file is hidden; .git/config: the file is hidden; REFUSED 404"},
		{"a.localhost/outside", "outside: a symbolic link leads out of the folder; outside/index.html: a symbolic link leads out of the folder; REFUSED 404"},
		{"list.localhost/folder", "folder.txt: there is no such file; folder: this is a folder, and a file is looked for; REFUSED 404"},
		{"list.localhost/docs/a", "serves docs/a.txt"},
		{"php.localhost/", "runs php/index.php"},
		{"php.localhost/own.php/info", "runs php/own.php"},
		{"php.localhost/some/page", "php/some/page: there is no such file; php/some/page/index.php: there is no such file; php/some/page/index.html: there is no such file; runs php/index.php"},
	} {
		answer := ask(explain.Question{URL: c.url})
		var parts []string
		f := answer.Action.File
		for _, miss := range f.Tried {
			parts = append(parts, strings.TrimPrefix(miss.Path, root+"/")+": "+miss.Why)
		}
		switch {
		case answer.Refused != nil:
			parts = append(parts, fmt.Sprint("REFUSED ", answer.Refused.Status))
		case f.Script:
			parts = append(parts, "runs "+strings.TrimPrefix(f.Path, root+"/"))
		default:
			parts = append(parts, "serves "+strings.TrimPrefix(f.Path, root+"/"))
		}
		if got := strings.Join(parts, "; "); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.url, got, c.want)
		}
	}
}
