package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/proxy/admin"
)

const token = "0123456789abcdef"

// serve runs a server with c on a socket and on TCP until the test ends.
func serve(t *testing.T, c admin.Control, current func() (string, error)) (*admin.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s.sock")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := admin.Open(ctx, admin.Options{Socket: socket, Health: healthy, Addresses: []string{"127.0.0.1:0"}, Token: current})
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(c)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return admin.NewClient(socket), "http://" + s.Addrs()[0].String()
}

func always() (string, error) { return token, nil }

type hinted struct{ error }

func (hinted) Hint() string { return "do this" }

func TestCommandsReachWhatTheyAreFor(t *testing.T) {
	var calls []string
	call := func(format string, args ...any) { calls = append(calls, fmt.Sprintf(format, args...)) }
	c, _ := serve(t, admin.Control{
		Status: func() *admin.Status {
			return &admin.Status{Schema: admin.Schema, Sites: []admin.Site{{Name: "a.test"}}, Certificates: []admin.Certificate{{Name: "a.test"}}}
		},
		Reload: func(context.Context) admin.Reload { call("reload"); return admin.Reload{OK: true} },
		Renew: func(name string) error {
			call("renew %s", name)
			if name == "b.test" {
				return hinted{errors.New("not planned")}
			}
			return nil
		},
		Purge: func(host, path string) int { call("purge %s %s", host, path); return 7 },
		Drain: func(server string, on bool) int {
			call("drain %s %v", server, on)
			return len(server)
		},
	}, always)
	var status admin.Status
	if err := c.Get(t.Context(), "/v1/status", &status); err != nil || status.Schema != 1 || status.Sites[0].Name != "a.test" {
		t.Errorf("%+v, %v", status, err)
	}
	var certificates []admin.Certificate
	if err := c.Get(t.Context(), "/v1/certificates", &certificates); err != nil || len(certificates) != 1 {
		t.Errorf("%+v, %v", certificates, err)
	}
	for _, ask := range []struct {
		path  string
		form  url.Values
		fails string // part of the error and its hint, "" for none
		says  string // "" for whatever
	}{
		{"/v1/reload", nil, "", ""},
		{"/v1/renew", url.Values{"name": {"a.test"}}, "", ""},
		{"/v1/renew", url.Values{"name": {"b.test"}}, "not planned / do this", ""},
		{"/v1/purge", url.Values{"host": {"a.test"}, "path": {"/x*"}}, "", "purged 7 resources"},
		{"/v1/purge", url.Values{"host": {"a.test"}, "path": {"x"}}, "begins with a slash", ""},
		{"/v1/drain", url.Values{"server": {"s"}, "on": {"true"}}, "", "the server gets no new requests in 1 upstream"},
		{"/v1/drain", url.Values{"server": {""}, "on": {"true"}}, "no server", ""},
		{"/v1/drain", url.Values{"server": {"s"}, "on": {"perhaps"}}, "on=true or on=false", ""},
		{"/v1/log-level", url.Values{"level": {"debug"}}, "cannot do that", ""},
	} {
		var answer map[string]any
		err := c.Post(t.Context(), ask.path, ask.form, &answer)
		text := ""
		if failure, ok := errors.AsType[*admin.Failure](err); ok {
			text = failure.Message + " / " + failure.Cure
		} else if err != nil {
			t.Errorf("%s: %v", ask.path, err)
		}
		if (text == "") != (ask.fails == "") || !strings.Contains(text, ask.fails) {
			t.Errorf("%s %v: %q, want %q", ask.path, ask.form, text, ask.fails)
		}
		if ask.says != "" && answer["message"] != ask.says {
			t.Errorf("%s %v: %v, want %q", ask.path, ask.form, answer, ask.says)
		}
	}
	want := "[reload renew a.test renew b.test purge a.test /x* drain s true drain  true]"
	if got := fmt.Sprint(calls); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var ignored any
	if err := c.Get(t.Context(), "/v1/reload", &ignored); err == nil {
		t.Error("a GET changed something")
	}
}

func TestOverTCPOnlyTheTokenOpens(t *testing.T) {
	var current atomic.Pointer[string]
	set := func(s string) { current.Store(&s) }
	set(token)
	var reloads atomic.Int32
	_, address := serve(t, admin.Control{Reload: func(context.Context) admin.Reload { reloads.Add(1); return admin.Reload{} }}, func() (string, error) {
		if s := *current.Load(); s != "" {
			return s, nil
		}
		return "", errors.New("no token")
	})
	ask := func(method string, change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequest(method, address+"/v1/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	bearer := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", text) }
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"nothing":        {func(*http.Request) {}, 401},
		"bearer":         {bearer("Bearer " + token), 200},
		"bearer, case":   {bearer("bEARER  " + token), 200},
		"wrong":          {bearer("Bearer " + token + "x"), 401},
		"empty":          {bearer("Bearer "), 401},
		"basic":          {func(r *http.Request) { r.SetBasicAuth("anybody", token) }, 200},
		"basic, as user": {func(r *http.Request) { r.SetBasicAuth(token, "") }, 401},
		"another site": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
		"another site's origin": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Header.Set("Origin", "https://evil.test")
		}, 403},
		"a name that leads here": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Host = "evil.test:9180"
			r.Header.Set("Origin", "http://evil.test:9180")
		}, 403},
		"a name that leads here, no token": {func(r *http.Request) { r.Host = "evil.test" }, 403},
		"a program under any name": {func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Host = "sallyport:9180"
		}, 200},
		"localhost": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Host = "LocalHost:9180"
		}, 200},
		"another loopback address": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Host = "[::1]:9180"
		}, 200},
		"an address of elsewhere": {func(r *http.Request) {
			r.SetBasicAuth("a", token)
			r.Host = "192.0.2.1"
		}, 403},
	} {
		before := reloads.Load()
		if got := ask("POST", c.change); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if did := reloads.Load() != before; did != (c.want == 200) {
			t.Errorf("%s: reloaded: %v", name, did)
		}
	}
	set("another token, longer")
	if got := ask("POST", bearer("Bearer "+token)); got != 401 {
		t.Errorf("the old token after a change: %d", got)
	}
	set("")
	if got := ask("POST", bearer("Bearer ")); got != 401 {
		t.Errorf("without a token nobody gets in, but: %d", got)
	}
}

func TestWhatTheAPIDoesNotHaveIsSaidAsTheRestIs(t *testing.T) {
	c, address := serve(t, admin.Control{}, always)
	for path, want := range map[string]string{"/v1/nothing": "404: there is no GET /v1/nothing", "/v1/reload": "405: there is no GET /v1/reload", "/nothing": "404: there is no GET /nothing"} {
		var ignored any
		failure, ok := errors.AsType[*admin.Failure](c.Get(t.Context(), path, &ignored))
		_, text, _ := strings.Cut(want, ": ")
		if !ok || failure.Message != text {
			t.Errorf("%s: %v", path, failure)
		}
		r, _ := http.NewRequest("GET", address+path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if fmt.Sprint(res.StatusCode) != want[:3] || res.StatusCode == 405 && res.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %s, Allow %q", path, res.Status, res.Header.Get("Allow"))
		}
	}
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	_, address := serve(t, admin.Control{}, always)
	r, _ := http.NewRequest("GET", address+"/", nil)
	r.SetBasicAuth("", token)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	if _, err := bufio.NewReader(res.Body).WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	_, nonce, _ := strings.Cut(policy, "style-src 'nonce-")
	nonce, _, _ = strings.Cut(nonce, "'")
	if len(nonce) < 20 || strings.Count(text.String(), `nonce="`+nonce+`"`) != 2 || strings.Contains(text.String(), "{{") {
		t.Errorf("the nonce %q is not where it belongs", nonce)
	}
	for _, bad := range []string{"innerHTML", "eval(", "src=", "@import", "onclick"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

func TestAPulseEachSecondAndNotForEverybody(t *testing.T) {
	_, address := serve(t, admin.Control{Pulse: func() admin.Pulse { return admin.Pulse{Revision: "r1"} }}, always)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() *http.Response {
		t.Helper()
		r, _ := http.NewRequestWithContext(ctx, "GET", address+"/v1/pulse", nil)
		r.SetBasicAuth("", token)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	res := open()
	lines := bufio.NewScanner(res.Body)
	for range 2 {
		for lines.Scan() && lines.Text() == "" {
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var pulse admin.Pulse
		if err := json.Unmarshal([]byte(data), &pulse); !ok || err != nil || pulse.Revision != "r1" {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
	}
	for i := range 40 {
		want := 200
		if i >= 31 { // one is open already
			want = 503
		}
		if got := open().StatusCode; got != want {
			t.Fatalf("page %d: %d, want %d", i+2, got, want)
		}
	}
}

func TestEventsAreCountedNotPiledUp(t *testing.T) {
	events := admin.NewEvents()
	logger := zap.New(events.Core()).Named("proxy")
	logger.Info("of no interest")
	for range 3 {
		logger.Error("request failed", zap.String("site", "a"), zap.String("request_id", fmt.Sprint(time.Now())), zap.Error(errors.New("refused")), zap.String("hint", "start it"))
	}
	logger.With(zap.String("site", "b")).Error("request failed", zap.Error(errors.New("refused")), zap.Int("suppressed", 9))
	list := events.List()
	if len(list) != 2 || list[0].Count != 10 || list[0].Fields["site"] != "b" || list[1].Count != 3 || list[1].Hint != "start it" || list[1].Error != "refused" || list[1].Logger != "proxy" {
		t.Errorf("%+v", list)
	}
	for i := range 1000 {
		logger.Warn(fmt.Sprint("event ", i), zap.String("long", strings.Repeat("x", 10_000)))
	}
	list = events.List()
	if len(list) != 100 || list[0].Message != "event 999" || len(list[0].Fields["long"]) > 600 {
		t.Errorf("%d events, the first %q", len(list), list[0].Message)
	}
	if events.Revision() != 1004 {
		t.Errorf("revision %d", events.Revision())
	}
	if events.Core().Enabled(zapcore.InfoLevel) {
		t.Error("information is remembered")
	}
}
