package header_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/middleware/header"
)

func cors(t testing.TB, o header.CORSOptions) func(http.Handler) http.Handler {
	t.Helper()
	c, err := header.NewCORS(o)
	if err != nil {
		t.Fatal(err)
	}
	return c.Wrap
}

func preflight(origin string) *http.Request {
	r := httptest.NewRequest("OPTIONS", "https://a.test/", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", "PUT")
	return r
}

func TestPreflightIsAnsweredWithoutTheApplication(t *testing.T) {
	m := cors(t, header.CORSOptions{
		Origins: []string{"https://b.test"}, Methods: []string{"PUT", "DELETE"}, Headers: []string{"X-Token"}, Credentials: true, MaxAge: time.Hour,
	})
	w, seen := through(t, m, preflight("https://b.test"), nil)
	if seen != nil || w.Code != 204 {
		t.Fatalf("%d; the application saw %v", w.Code, seen)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://b.test", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "PUT, DELETE",
		"Access-Control-Allow-Headers": "X-Token", "Access-Control-Max-Age": "3600",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if vary := strings.Join(w.Header()["Vary"], ", "); !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Access-Control-Request-Method") {
		t.Errorf("Vary: %s", vary)
	}
	w, seen = through(t, m, preflight("https://evil.test"), nil)
	if seen != nil || w.Code != 403 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", w.Code, w.Header())
	}
	plain := httptest.NewRequest("OPTIONS", "https://a.test/", nil)
	if _, seen = through(t, m, plain, nil); seen == nil {
		t.Error("an OPTIONS that is no preflight did not reach the application")
	}
}

func TestOnlyAllowedOriginsMayReadResponses(t *testing.T) {
	m := cors(t, header.CORSOptions{Origins: []string{"https://b.test", "https://*.c.test", "https://d.test:8443"}, Expose: []string{"X-Total"}})
	for origin, want := range map[string]bool{
		"https://b.test": true, "http://b.test": false, "https://b.test:444": false, "https://B.test": false, "https://b.test.evil.test": false,
		"https://evilb.test": false, "https://x.c.test": true, "https://c.test": false, "https://.c.test": false, "https://y.x.c.test": false,
		"https://evil.test/.c.test": false, "https://evil.test#.c.test": false, "https://x.c.test:1": false, "https://d.test:8443": true,
		"https://d.test": false, "null": false, "": false, "*": false,
	} {
		r := get()
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w, _ := through(t, m, r, http.Header{"Access-Control-Allow-Origin": {"*"}, "Vary": {"Accept-Encoding"}})
		got := w.Header()["Access-Control-Allow-Origin"]
		if want && (len(got) != 1 || got[0] != origin) || !want && got != nil {
			t.Errorf("%q: Access-Control-Allow-Origin %q", origin, got)
		}
		if vary := strings.Join(w.Header()["Vary"], ", "); vary != "Accept-Encoding, Origin" {
			t.Errorf("%q: Vary %q", origin, vary)
		}
		if (w.Header().Get("Access-Control-Expose-Headers") == "X-Total") != want {
			t.Errorf("%q: %v", origin, w.Header())
		}
	}
	two := get("Origin", "https://b.test", "Origin", "https://b.test")
	if w, _ := through(t, m, two, nil); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("two origins are none")
	}
}

func TestEveryOriginMeansAStarAndNoVary(t *testing.T) {
	w, _ := through(t, cors(t, header.CORSOptions{Origins: []string{"*"}}), get("Origin", "https://b.test"), http.Header{"Access-Control-Allow-Credentials": {"true"}})
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" || h["Vary"] != nil {
		t.Errorf("%v", h)
	}
}

func TestSharingThatCannotBeMeantIsRefused(t *testing.T) {
	for _, o := range []header.CORSOptions{
		{}, {Origins: []string{"*"}, Credentials: true}, {Origins: []string{"null"}}, {Origins: []string{"b.test"}}, {Origins: []string{"https://b.test/"}},
		{Origins: []string{"https://b.test/x"}}, {Origins: []string{"https://*"}}, {Origins: []string{"https://*.*.test"}}, {Origins: []string{"https://a.*.test"}},
		{Origins: []string{"https://B.test"}}, {Origins: []string{"https://b.test:443"}}, {Origins: []string{"https://u@b.test"}}, {Origins: []string{"https://*b.test"}},
		{Origins: []string{"https://b.test"}, Methods: []string{"*"}, Credentials: true}, {Origins: []string{"https://b.test"}, Headers: []string{"a b"}},
	} {
		if _, err := header.NewCORS(o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}
