package proxy

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/explain"
)

// explained prepares a configuration and asks about requests to it.
func explained(t *testing.T, text string) (*Proxy, func(q explain.Question) *explain.Answer) {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	p := New(Options{Logger: zap.NewNop()})
	g, err := p.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.current.Store(g)
	return p, func(q explain.Question) *explain.Answer {
		t.Helper()
		answer, err := p.Explain(g, q)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

const statuses = `
trusted_proxies: [10.0.0.0/8]
sites:
  a.localhost:
    aliases: ["*.a.localhost"]
    deny: 198.51.100.0/24
    routes:
      - {path: /login, methods: [POST, PUT], respond: 201}
      - {path: /api/, headers: {X-Key: abc, X-Any: "*", X-Re: "~^[0-9]+$"}, respond: 202}
      - {path: [/users/*, /u/], not: {query: {admin: "1"}}, respond: 203}
      - {path_regexp: "^/f[0-9]$", respond: 205}
      - {path: /in/, client_ip: 10.0.0.0/8, allow: [10.1.0.0/16], respond: 206}
      - {path: /q/, query: {x: y}, respond: 207}
      - {path: /go, redirect: {to: /there, status: 307}}
      - {path: /plain, http: serve, respond: 208}
      - {path: /never, http: refuse, respond: 209}
      - {path: /cut/, strip_prefix: /cut, rewrite_regexp: {match: "^/(x|\\.\\.)/(.*)$", replace: "/{capture.2}"}, respond: 210}
  b.localhost: {respond: 211}
`

// TestExplainSaysWhatHappens compares the answers with what the proxy does.
func TestExplainSaysWhatHappens(t *testing.T) {
	p, ask := explained(t, statuses)
	targets := strings.Fields(`/ /login /login/ /Login /api/x /api //api/ /users/1 /users/1?admin=1 /users/1?admin=2 /u/x?admin=%31 /f1 /f12 /in/ /in/x /q/?x=y /q/?x=z /go
		/plain /never /cut/a /cut/x/b /cut%2Fx /cut/x/..%2f.. /a/../login /.. /%zz /users%2f1 /users;a/1 /api/%2e%2e/login /q/?x=y&x /q?a`)
	headers := [][]string{nil, {"X-Key: abc", "X-Any: 1", "X-Re: 12"}, {"X-Key: Abc", "X-Any: 1", "X-Re: 12"}, {"X-Key: abc", "X-Re: 12"},
		{"X-Key: abc", "X-Any: 1", "X-Re: b"}, {"X-Forwarded-For: 10.2.3.4"}, {"X-Forwarded-For: 192.0.2.9, 10.3.3.3"}, {"X-Forwarded-For: what"}, {"Connection: Host"},
		{"Host: b.localhost"}, {"Host: -"}}
	n := 0
	for _, host := range []string{"a.localhost", "x.a.localhost", "b.localhost", "A.localhost:8443"} {
		for _, scheme := range []string{"https", "http"} {
			for _, method := range []string{"GET", "POST", "HEAD", "TRACE"} {
				for _, from := range []string{"", "10.1.2.3", "10.2.2.2", "198.51.100.1"} {
					for _, fields := range headers {
						for _, target := range targets {
							q := explain.Question{URL: scheme + "://" + host + target, Method: method, From: from, Headers: fields}
							r, err := q.Request()
							if err != nil {
								continue
							}
							n++
							handler := p.RedirectHandler()
							if q.Secure() {
								handler = p
								r.TLS = serverName(q.Hostname())
							}
							w := httptest.NewRecorder()
							handler.ServeHTTP(w, r)
							answer := ask(q)
							got := 0
							switch {
							case answer.Refused != nil:
								got = answer.Refused.Status
							case answer.Action != nil:
								got = answer.Action.Status
							}
							if got != w.Code {
								shown, _ := json.Marshal(answer)
								t.Fatalf("%s %s from %q with %q: answered %d, explained as %d: %s", method, q.URL, from, fields, w.Code, got, shown)
							}
						}
					}
				}
			}
		}
	}
	if n < 10000 {
		t.Errorf("only %d requests were compared", n)
	}
}

func TestExplainNamesTheConditionThatFailed(t *testing.T) {
	_, ask := explained(t, statuses)
	for _, c := range []struct {
		target, from string
		headers      []string
		route        int
		want         string
	}{
		{"/login", "", nil, 0, "method GET is not POST, PUT (sallyport.yaml:8:"},
		{"/login/x", "", nil, 0, "path /login/x is not /login (without a slash at its end /login is that path alone; /login/ is everything below it too) (sallyport.yaml:8:"},
		{"/LOGIN", "", nil, 0, "compared with their case"},
		{"/api/", "", nil, 1, "header X-Key is missing (sallyport.yaml:9:"},
		{"/api/", "", []string{"X-Key: ABC"}, 1, "header X-Key differs in case from what is wanted"},
		{"/api/", "", []string{"X-Key: other"}, 1, "header X-Key has another value than is wanted"},
		{"/api/", "", []string{"X-Key: abc", "X-Any: 1", "X-Re: x"}, 1, "header X-Re does not match"},
		{"/users/1?admin=1", "", nil, 2, "all of `not` holds"},
		{"/users/1/2", "", nil, 2, "path /users/1/2 is not /users/* or /u/"},
		{"/f12", "", nil, 3, "path /f12 does not match ^/f[0-9]$"},
		{"/in/", "", nil, 4, "client 192.0.2.1 is not in 10.0.0.0/8"},
		{"/q/", "", nil, 5, "query parameter x is missing"},
		{"/q/?x=%79%79", "", nil, 5, "query parameter x has another value than is wanted"},
	} {
		answer := ask(explain.Question{URL: "a.localhost" + c.target, From: c.from, Headers: c.headers})
		if got := answer.Routes[c.route].Why; !strings.Contains(got, c.want) {
			t.Errorf("%s %q: route %d is not taken because %q, want %q", c.target, c.headers, c.route, got, c.want)
		}
	}
}

func TestExplainNeverTellsTheValueThatIsWanted(t *testing.T) {
	_, ask := explained(t, strings.ReplaceAll(statuses, "abc", "hunter2hunter2"))
	shown, err := json.Marshal(ask(explain.Question{URL: "https://a.localhost/api/", Headers: []string{"X-Key: x"}}))
	if err != nil || strings.Contains(string(shown), "hunter2") {
		t.Errorf("the answer tells: %s, %v", shown, err)
	}
}

func TestExplainLeavesNoTraces(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p := New(Options{Logger: zap.New(core)})
	cfg, problems := config.Parse("sallyport.yaml", []byte(statuses))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	g, err := p.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.current.Store(g)
	for i := range 40 { // more than a gateway needs to be suspected
		q := explain.Question{URL: fmt.Sprintf("https://a.localhost/in/%d", i), From: "172.17.0.1", Headers: []string{"X_Bad: 1"}}
		if _, err := p.Explain(nil, q); err != nil {
			t.Fatal(err)
		}
	}
	if logs.Len() != 0 {
		t.Errorf("logged: %v", logs.All())
	}
}

func TestExplainRefusesWhatIsNoQuestion(t *testing.T) {
	p, _ := explained(t, statuses)
	for _, q := range []explain.Question{
		{URL: ""}, {URL: "ftp://a/"}, {URL: "https://"}, {URL: "https://u@a/"}, {URL: "a", From: "somewhere"}, {URL: "a", Headers: []string{"nocolon"}},
	} {
		if _, err := p.Explain(nil, q); err == nil {
			t.Errorf("%+v has an answer", q)
		}
	}
	if _, err := New(Options{Logger: zap.NewNop()}).Explain(nil, explain.Question{URL: "a"}); err == nil {
		t.Error("a proxy without a configuration answers")
	}
}

func TestExplainDescribesTheActionAndTheWayToIt(t *testing.T) {
	_, ask := explained(t, `
upstreams:
  api: {servers: [http://127.0.0.1:1, {url: http://127.0.0.1:2, backup: true}], balance: ip_hash}
sites:
  a.localhost:
    compress: true
    routes:
      - {path: /v1/, strip_prefix: /v1, add_prefix: /api, max_body: 1KiB, proxy: api}
      - {path: /home, redirect: "https://a.localhost{uri}"}
      - {path: /, proxy: "http://127.0.0.1:3"}
      - {path: /late/, proxy: api}
`)
	answer := ask(explain.Question{URL: "https://a.localhost/v1/x?y"})
	steps := ""
	for _, step := range answer.Middleware {
		steps += step.Name + " " + step.Place + "; "
	}
	if want := "max_body sallyport.yaml:8:69; rewrite sallyport.yaml:8:36; compress sallyport.yaml:6:15; "; steps != want {
		t.Errorf("steps %q, want %q", steps, want)
	}
	a := answer.Action
	if answer.Target != "/api/x?y" || a.Kind != "proxy" || a.Upstream != "api" || a.Balance != "ip_hash" || len(a.Servers) != 2 || !a.Servers[1].Backup {
		t.Errorf("%q, %+v", answer.Target, a)
	}
	if answer := ask(explain.Question{URL: "https://a.localhost/home"}); len(answer.Notes) != 1 || !strings.Contains(answer.Notes[0].Message, "leads back") {
		t.Errorf("no note on a circle: %+v", answer)
	}
	if answer := ask(explain.Question{URL: "https://a.localhost/late/"}); len(answer.Notes) != 1 || !strings.Contains(answer.Notes[0].Message, "the route /late/ (sallyport.yaml:11:") {
		t.Errorf("no note on the route that is hidden: %+v", answer)
	}
}

// FuzzExplain: whatever is asked over the control socket, there is an answer or
// an error, and it can be written as JSON.
func FuzzExplain(f *testing.F) {
	for _, seed := range [][4]string{
		{"https://a.localhost/api/x?y=1", "GET", "X-Key: abc", ""}, {"http://a.localhost", "POST", "Host: b.localhost", "::1"}, {"a.localhost:8443/cut/%2e%2e/x;y", "OPTIONS", "X-Forwarded-For: 1.2.3.4", "10.1.2.3"},
		{"https://[::1]/", "TRACE", "Forwarded: for=x", "fe80::1%eth0"}, {"//", "", ":", "1.1.1.1"}, {"https://a.localhost/go", " ", "A_b:c", ""}, {"https://a.localhost?x", "", "Connection: x-key", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	cfg, problems := config.Parse("sallyport.yaml", []byte(statuses))
	if err := problems.Err(); err != nil {
		f.Fatal(err)
	}
	p := New(Options{Logger: zap.NewNop()})
	g, err := p.Prepare(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, url, method, header, from string) {
		answer, err := p.Explain(g, explain.FromForm(explain.Question{URL: url, Method: method, Headers: []string{header}, From: from}.Form()))
		if err != nil {
			return
		}
		if answer.Action == nil && answer.Refused == nil {
			t.Errorf("%q is neither refused nor answered", url)
		}
		if _, err := json.Marshal(answer); err != nil {
			t.Error(err)
		}
	})
}
