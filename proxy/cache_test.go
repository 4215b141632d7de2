package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

func cached(server string) *config.Config {
	cfg := sites("a.test", server)
	cfg.Sites[0].Cache = &config.Cache{Size: 8 << 20, MaxObject: 1 << 20, LockTimeout: 5 * time.Second}
	return cfg
}

func TestCachedAnswersOutliveAReloadAndAServer(t *testing.T) {
	var calls atomic.Int32
	server := backend(t, func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "answer %d", n)
	})
	w := start(t, cached(server))
	for _, h2 := range []bool{false, true} {
		client := w.client(h2)
		for range 3 {
			res, err := client.Get("https://a.test/x")
			if err != nil {
				t.Fatal(err)
			}
			if got := body(t, res); got != "answer 1" {
				t.Errorf("h2 %v: %q, %v", h2, got, res.Header["Cache-Status"])
			}
		}
		changed := cached(server)
		changed.Sites = append(changed.Sites, config.Site{Name: "b.test", Action: config.Action{Proxy: server}})
		w.commit(changed)
	}
	changed := cached(server)
	changed.Sites[0].Cache.TTL = time.Second // another cache
	w.commit(changed)
	res, err := w.client(true).Get("https://a.test/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, res); got != "answer 2" {
		t.Errorf("%q", got)
	}
}

// One user's pages must never reach another, however the request spells itself.
func TestTheCacheCannotBeMadeToMixUsersUp(t *testing.T) {
	server := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path == "/session" {
			http.SetCookie(w, &http.Cookie{Name: "id", Value: r.Header.Get("X-Who")})
		}
		fmt.Fprintf(w, "%s %s%s for %s", r.Method, r.Host, r.RequestURI, r.Header.Get("X-Who"))
	})
	cfg := cached(server)
	cfg.Sites[0].Aliases = []string{"b.test"}
	w := start(t, cfg)
	client := w.client(false)
	ask := func(host, target string, change func(*http.Request)) string {
		t.Helper()
		r, err := http.NewRequest("GET", "https://"+host+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return body(t, res)
	}
	who := func(name string, also func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("X-Who", name)
			if also != nil {
				also(r)
			}
		}
	}
	ask("a.test", "/", who("ann", func(r *http.Request) { r.SetBasicAuth("ann", "x") }))
	if got := ask("a.test", "/", who("bob", nil)); !strings.HasSuffix(got, "for bob") {
		t.Errorf("after a request with credentials: %q", got)
	}
	ask("a.test", "/session", who("ann", nil))
	if got := ask("a.test", "/session", who("bob", nil)); !strings.HasSuffix(got, "for bob") {
		t.Errorf("after an answer with a cookie: %q", got)
	}
	if got := ask("b.test", "/", who("bob", nil)); got != "GET b.test/ for bob" {
		t.Errorf("another host: %q", got)
	}
	// What the application is asked is what the answer is kept under.
	ask("a.test", "/deep/", who("ann", nil))
	for target, want := range map[string]string{"/deep/%2e%2e/%2e/deep/": "/deep/ for ann", "/deep%2f": "/deep%2f for bob", "//deep/": "//deep/ for bob", "/deep/?": "/deep/? for bob"} {
		if got := ask("a.test", target, who("bob", nil)); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want ...%q", target, got, want)
		}
	}
	// A forged forwarded header makes no other key, and is not in the answer.
	if got := ask("a.test", "/deep/", who("eve", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "evil.example") })); !strings.HasSuffix(got, "for ann") {
		t.Errorf("forged X-Forwarded-Host: %q", got)
	}
}
