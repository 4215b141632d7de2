package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// seen is an application that answers with what it got.
func seen(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App", "app")
	w.Header().Set("Server", "app/1.0")
	w.Header()["X-Seen-Tier"] = r.Header["X-Tier"]
	w.Header().Set("X-Seen-Host", r.Host)
	for _, name := range []string{"Traceparent", "Tracestate"} {
		w.Header()["X-Seen-"+name] = r.Header[name]
	}
	w.Header().Set("X-Seen-Forwarded-Host", r.Header.Get("X-Forwarded-Host"))
	w.Header().Add("Set-Cookie", "session=1; Path=/")
	if r.URL.Path == "/gone" {
		http.NotFound(w, r)
	}
}

func TestResponseFieldsAreOnEveryAnswerOfARoute(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, impatientSites(parsed(t, `
sites:
  a.test:
    tls: internal
    security_headers: true
    response_headers: {remove: Server, set: {X-Site: site, X-Both: site}, add: {X-Status: "{status} {request_id}"}}
    cookies: {secure: true, http_only: true, same_site: lax}
    routes:
      - {path: /fixed, respond: 418}
      - {path: /down, proxy: "http://127.0.0.1:1"}
      - {path: /, proxy: "%s", response_headers: {set: {X-Both: route}, default: {X-App: never}}}
`, backend(t, seen))))
		for path, want := range map[string]struct {
			status int
			both   string
		}{"/": {200, "route"}, "/gone": {404, "route"}, "/fixed": {418, "site"}, "/down": {502, "site"}} {
			res, _ := w.ask(h2, "GET", path)
			h := res.Header
			if res.StatusCode != want.status || h.Get("X-Site") != "site" || h.Get("X-Both") != want.both || h.Get("Server") != "" {
				t.Errorf("%s: %d %v", path, res.StatusCode, h)
			}
			if h.Get("X-Frame-Options") != "SAMEORIGIN" || !strings.HasPrefix(h.Get("Strict-Transport-Security"), "max-age=") || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: without protection: %v", path, h)
			}
			if status, id, _ := strings.Cut(h.Get("X-Status"), " "); status != res.Status[:3] || len(id) != 32 {
				t.Errorf("%s: X-Status %q", path, h.Get("X-Status"))
			}
			if want.status == 200 && (h.Get("X-App") != "app" || h.Get("Set-Cookie") != "session=1; Path=/; Secure; HttpOnly; SameSite=Lax") {
				t.Errorf("%s: %v", path, h)
			}
		}
	})
}

func TestAClientCannotForgeAFieldThatTheRouteSets(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    proxy: "%s"
    request_headers: {set: {X-Tier: "public {client_ip}"}}
`, backend(t, seen)))
		forged := [][]string{{"X-Tier: internal"}, {"x-tier: internal", "X-TIER: internal"}, {"X_Tier: internal"}}
		if !h2 {
			forged = append(forged, []string{"X-Tier: internal", "Connection: close, X-Tier"})
		}
		for _, fields := range forged {
			res, _ := w.ask(h2, "GET", "/", fields...)
			if got := res.Header["X-Seen-Tier"]; len(got) != 1 || got[0] != "public 127.0.0.1" {
				t.Errorf("%q: the application saw %q", fields, got)
			}
		}
	})
}

func TestHostIsTheClientsTheServersOrAsWritten(t *testing.T) {
	address := backend(t, seen)
	for host, want := range map[string]string{"": "a.test", "host: client": "a.test", "host: upstream": strings.TrimPrefix(address, "http://"), "host: app.internal:8080": "app.internal:8080"} {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    proxy: "%s"
    `+host+"\n", address))
		res, _ := w.ask(false, "GET", "/")
		if got := res.Header.Get("X-Seen-Host"); got != want {
			t.Errorf("%q: Host %q, want %q", host, got, want)
		}
		if got := res.Header.Get("X-Seen-Forwarded-Host"); got != "a.test" {
			t.Errorf("%q: X-Forwarded-Host %q", host, got)
		}
	}
}

func TestPreflightIsAnsweredByTheProxy(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    proxy: "%s"
    cors: {origins: ["https://b.test", "https://*.c.test"], methods: PUT, credentials: true, max_age: 1h}
`, backend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "OPTIONS" {
				t.Error("the preflight reached the application")
			}
			w.Header().Set("Access-Control-Allow-Origin", "*")
		})))
		res, _ := w.ask(h2, "OPTIONS", "/", "Origin: https://b.test", "Access-Control-Request-Method: PUT")
		if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "https://b.test" || res.Header.Get("Access-Control-Allow-Methods") != "PUT" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		for origin, want := range map[string]string{"https://x.c.test": "https://x.c.test", "https://evil.test": "", "null": "", "https://b.test.evil.test": ""} {
			res, _ := w.ask(h2, "GET", "/", "Origin: "+origin)
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != want || res.Header.Get("Vary") != "Origin" {
				t.Errorf("%s: %q, Vary %q", origin, got, res.Header.Get("Vary"))
			}
		}
		if res, _ := w.ask(h2, "OPTIONS", "/", "Origin: https://evil.test", "Access-Control-Request-Method: PUT"); res.StatusCode != 403 {
			t.Errorf("a preflight of another origin: %d", res.StatusCode)
		}
	})
}

func TestTraceContextIsPassedOnAsItCame(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    proxy: "%s"
`, backend(t, seen)))
		const parent, state = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
		res, _ := w.ask(h2, "GET", "/", "traceparent: "+parent, "tracestate: "+state)
		if got := res.Header.Get("X-Seen-Traceparent"); got != parent {
			t.Errorf("traceparent %q", got)
		}
		if got := res.Header.Get("X-Seen-Tracestate"); got != state {
			t.Errorf("tracestate %q", got)
		}
	})
}
