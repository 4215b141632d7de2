package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// Grafana compares Origin with Host, for WebSockets and for changes, and with
// auth.proxy believes a field.
func testGrafana(t *testing.T, world *acmetest.World) {
	const host = "grafana.example.com"
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "webauth") {
				t.Errorf("%s reached the application", name)
			}
		}
		switch r.URL.Path {
		case "/api/live/ws":
			talk(t, w, r, nil, `{"connect":{}}`, `{"subscribe":{}}`, `{"push":{}}`)
		case "/api/ds/query":
			if r.Header.Get("Origin") != r.Header.Get("X-Forwarded-Proto")+"://"+r.Host {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"results":["`+strings.Repeat("1", 5000)+`"]}`)
		case "/api/health":
		default:
			t.Errorf("%s reached the application", r.RequestURI)
		}
	})
	s := runSetup(t, world, "grafana", 1, "http://grafana:3000", server)
	s.over(host, func(v *visit) {
		v.converses(v.socket("/api/live/ws"), `{"connect":{}}`, `{"subscribe":{}}`, `{"push":{}}`)
		res, text := v.ask("POST", "/api/ds/query?ds_type=prometheus", "{}", "Origin: https://"+host, "Accept-Encoding: zstd, gzip",
			"X-WEBAUTH-USER: admin", "X-Webauth-Role: Admin")
		if res.StatusCode != 200 || len(text) > 500 || res.Header.Get("Content-Encoding") == "" {
			v.t.Errorf("a query: %d, %d bytes, %v", res.StatusCode, len(text), res.Header)
		}
		v.wants("GET", "/api/health", 200, "", "X_WEBAUTH_USER: admin")
		v.refused("/metrics", "/%6detrics", "/metrics;x", "//metrics", "/x/..;/metrics", "/./metrics", "/metrics%00")
	})
}

// Home Assistant refuses requests whose forwarding fields are doubled or wrong,
// trusts networks, and speaks first on its WebSocket.
func testHomeAssistant(t *testing.T, world *acmetest.World) {
	const host = "home.example.com"
	goOn := make(chan struct{})
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		switch r.URL.Path {
		case "/api/websocket":
			talk(t, w, r, nil, `{"type":"auth_required"}`, `{"type":"auth"}`, `{"type":"auth_ok"}`, `{"type":"subscribe_events"}`, `{"type":"event"}`)
		case "/api/camera_proxy_stream/camera.door":
			w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
			_, _ = io.WriteString(w, "--frame\r\n\r\nJPEG1\r\n")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			_, _ = io.WriteString(w, "--frame--\r\n")
		default:
			_, _ = io.WriteString(w, r.RequestURI)
		}
	})
	s := runSetup(t, world, "homeassistant", 1, "http://homeassistant:8123", server)
	s.over(host, func(v *visit) {
		v.converses(v.socket("/api/websocket"), `{"type":"auth_required"}`, `{"type":"auth"}`, `{"type":"auth_ok"}`, `{"type":"subscribe_events"}`, `{"type":"event"}`)
		v.streams("/api/camera_proxy_stream/camera.door?token=1", "--frame\r\n\r\nJPEG1\r\n", "--frame--\r\n", goOn)
		v.wants("GET", "/auth/authorize?redirect_uri=https%3A%2F%2Fhome.example.com%2F", 200, "/auth/authorize?redirect_uri=https%3A%2F%2Fhome.example.com%2F")
	})
}

// Jellyfin's players ask for parts, look at lengths, and leave in the middle.
func testJellyfin(t *testing.T, world *acmetest.World) {
	const host = "media.example.com"
	film := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	left := make(chan struct{}, 1)
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		switch r.URL.Path {
		case "/Videos/1/stream.mkv":
			w.Header().Set("ETag", `"film"`)
			w.Header().Set("Content-Type", "video/x-matroska")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(film))
		case "/Videos/1/live":
			for {
				if _, err := w.Write(film); err != nil {
					break
				}
			}
			<-r.Context().Done()
			left <- struct{}{}
		case "/Videos/1/master.m3u8":
			w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
			_, _ = io.WriteString(w, r.RequestURI)
		case "/Items":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write(film[:8000])
		case "/socket":
			talk(t, w, r, nil, `{"MessageType":"ForceKeepAlive","Data":60}`, `{"MessageType":"KeepAlive"}`)
		default:
			t.Errorf("%s reached the application", r.RequestURI)
		}
	})
	s := runSetup(t, world, "jellyfin", 1, "http://jellyfin:8096", server)
	s.over(host, func(v *visit) {
		const stream = "/Videos/1/stream.mkv?static=true"
		const encodings = "Accept-Encoding: gzip, zstd"
		for _, part := range []struct{ ask, says, has string }{
			{"bytes=1000-1999", "bytes 1000-1999/1048576", string(film[1000:2000])},
			{"bytes=-16", "bytes 1048560-1048575/1048576", string(film[:16])},
			{"bytes=1048000-", "bytes 1048000-1048575/1048576", string(film[1048000:])},
		} {
			res := v.wants("GET", stream, 206, part.has, "Range: "+part.ask, `If-Range: "film"`, encodings)
			if res.Header.Get("Content-Range") != part.says || res.Header.Get("Content-Encoding") != "" || res.Header.Get("ETag") != `"film"` {
				v.t.Errorf("%s: %v", part.ask, res.Header)
			}
		}
		v.wants("GET", stream, 416, "", "Range: bytes=9999999-")
		v.wants("GET", stream, 200, string(film), "Range: bytes=0-1", `If-Range: "other"`, encodings)
		if res := v.wants("HEAD", stream, 200, "", encodings); res.ContentLength != int64(len(film)) || res.Header.Get("Accept-Ranges") != "bytes" {
			v.t.Errorf("HEAD: %v", res.Header)
		}
		v.wants("GET", "/Videos/1/master.m3u8?api_key=a&TranscodeReasons=x%2Cy", 200, "/Videos/1/master.m3u8?api_key=a&TranscodeReasons=x%2Cy")
		if res, text := v.ask("GET", "/Items", "", encodings); res.Header.Get("Content-Encoding") == "" || len(text) > 1000 {
			v.t.Errorf("a list was not compressed: %d bytes, %v", len(text), res.Header)
		}
		v.converses(v.socket("/socket?api_key=a&deviceId=b"), `{"MessageType":"ForceKeepAlive","Data":60}`, `{"MessageType":"KeepAlive"}`)
		v.wants("GET", "/metrics", 404, "")
		live := v.send("GET", "/Videos/1/live", nil)
		if _, err := io.CopyN(io.Discard, live.Body, 4<<20); err != nil {
			v.t.Error(err)
		}
		_ = live.Body.Close()
		select {
		case <-left:
		case <-time.After(patience):
			v.t.Error("the application was not told that the visitor has left")
		}
	})
}

// Vaultwarden counts failures by X-Real-IP, and its administration must not be
// reached from outside by any spelling.
func testVaultwarden(t *testing.T, world *acmetest.World) {
	const host = "vault.example.com"
	var logins atomic.Int32
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		switch r.URL.Path {
		case "/notifications/hub":
			talk(t, w, r, nil, "{}\x1e", `{"protocol":"messagepack","version":1}`+"\x1e")
		case "/identity/connect/token":
			logins.Add(1)
			w.WriteHeader(http.StatusBadRequest)
		case "/api/ciphers/1/attachment":
			digest(t, w, r)
		case "/":
			w.Header().Set("X-Frame-Options", "SAMEORIGIN")
			_, _ = io.WriteString(w, "vault")
		default:
			t.Errorf("%s reached the application", r.RequestURI)
		}
	})
	s := runSetup(t, world, "vaultwarden", 1, "http://vaultwarden:80", server)
	s.over(host, func(v *visit) {
		v.converses(v.socket("/notifications/hub?access_token=a.b.c"), "{}\x1e", `{"protocol":"messagepack","version":1}`+"\x1e")
		v.uploads("POST", "/api/ciphers/1/attachment", 12<<20, true)
		v.tooLarge("POST", "/api/ciphers/1/attachment", gibibyte)
		res := v.wants("GET", "/", 200, "vault")
		if got := res.Header["X-Frame-Options"]; !slices.Equal(got, []string{"SAMEORIGIN"}) || res.Header.Get("Strict-Transport-Security") == "" {
			v.t.Errorf("%v", res.Header)
		}
		v.refused("/admin", "/admin/", "/admin/users/overview", "/%61dmin", "/admin;x", "/admin;x/diagnostics", "//admin", "/./admin", "/x/../admin/", "/x/%2e%2e/admin",
			"/x/..;/admin", "/admin%2f", "/%2fadmin", "/admin%5c", `/\admin`, "/admin%00", "/identity/..%2fadmin")
	})
	for n, v := range []*visit{s.visitor(t, host, false), s.visitor(t, host, true)} {
		for try := range 10 {
			// A new address each time, as somebody would claim who guesses.
			v.ask("POST", "/identity/connect/token", "grant_type=password", fmt.Sprintf("X-Real-Ip: 198.51.100.%d", 10*n+try))
		}
	}
	if got := logins.Load(); got < 5 || got > 6 {
		t.Errorf("%d guesses got through, want 5", got)
	}
}
