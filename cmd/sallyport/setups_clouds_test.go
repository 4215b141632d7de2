package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

const gibibyte = 1 << 30

// Nextcloud compares Destination with what it takes for its own address, and
// its file names are whatever people write.
func testNextcloud(t *testing.T, world *acmetest.World) {
	const host = "cloud.example.com"
	const name = "/remote.php/dav/files/ann/R%c3%a4tsel%20%231%2f2;v=1+a.txt"
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		switch r.Method {
		case "PROPFIND":
			if r.RequestURI != name || r.Header.Get("Depth") != "1" {
				t.Errorf("PROPFIND of %s, Depth %q", r.RequestURI, r.Header.Get("Depth"))
			}
			w.WriteHeader(http.StatusMultiStatus)
		case "MOVE":
			to, err := url.Parse(r.Header.Get("Destination"))
			if err != nil || to.Scheme != r.Header.Get("X-Forwarded-Proto") || to.Host != r.Host {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.WriteHeader(http.StatusCreated)
		case "PUT":
			if r.Header.Get("Oc-Total-Length") == "" {
				t.Error("OC-Total-Length is lost")
			}
			digest(t, w, r)
		}
	})
	s := runSetup(t, world, "nextcloud", 1, "http://nextcloud:80", server)
	s.over(host, func(v *visit) {
		res := v.wants("PROPFIND", name, http.StatusMultiStatus, "", "Depth: 1")
		if got := res.Header["Strict-Transport-Security"]; !slices.Equal(got, []string{"max-age=1"}) {
			v.t.Errorf("Strict-Transport-Security: %q", got)
		}
		if got := res.Header["X-Frame-Options"]; !slices.Equal(got, []string{"SAMEORIGIN"}) {
			v.t.Errorf("X-Frame-Options: %q", got)
		}
		v.wants("MOVE", name, http.StatusCreated, "", "Destination: https://cloud.example.com/remote.php/dav/files/ann/b")
		v.uploads("PUT", "/remote.php/dav/uploads/ann/1/00001", 10<<20, true, "OC-Total-Length: 10485760")
		v.uploads("PUT", "/remote.php/dav/uploads/ann/1/00002", 3<<20, false, "OC-Total-Length: 3145728")
		v.tooLarge("PUT", "/remote.php/dav/uploads/ann/1/00003", 17*gibibyte)
		for _, method := range []string{"GET", "PROPFIND"} {
			if res := v.wants(method, "/.well-known/carddav", http.StatusMovedPermanently, ""); res.Header.Get("Location") != "/remote.php/dav" {
				v.t.Errorf("CardDAV is at %q", res.Header.Get("Location"))
			}
		}
	})
}

// GitLab has %2F in the names of projects and files, takes pushes of unknown
// length, and answers clones while it makes them.
func testGitLab(t *testing.T, world *acmetest.World) {
	const host = "gitlab.example.com"
	goOn := make(chan struct{})
	var logins atomic.Int32
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		switch {
		case strings.HasPrefix(r.RequestURI, "/api/v4/"):
			_, _ = io.WriteString(w, r.RequestURI)
		case r.URL.Path == "/group/project.git/git-receive-pack":
			if r.Header.Get("Content-Encoding") != "gzip" {
				t.Error("Content-Encoding is lost")
			}
			digest(t, w, r)
		case r.URL.Path == "/group/project.git/info/refs":
			_, _ = io.WriteString(w, "001e# service=git-upload-pack\n")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			_, _ = io.WriteString(w, "0000")
		case r.URL.Path == "/-/cable":
			talk(t, w, r, &websocket.AcceptOptions{Subprotocols: []string{"actioncable-v1-json"}}, `{"type":"welcome"}`, `{"command":"subscribe"}`)
		case r.URL.Path == "/users/sign_in":
			logins.Add(1)
		default:
			t.Errorf("%s reached the application", r.RequestURI)
		}
	})
	registry := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, "registry.example.com")
		w.Header().Set("Location", r.Header.Get("X-Forwarded-Proto")+"://"+r.Host+"/v2/a/blobs/uploads/1?_state=x%3D%3D")
		w.Header().Set("Docker-Upload-Uuid", "1")
		digest(t, w, r)
	})
	s := runSetup(t, world, "gitlab", 2, "http://gitlab:8181", server, "http://gitlab:5050", registry)
	s.over(host, func(v *visit) {
		for _, target := range []string{"/api/v4/projects/group%2Fsub%2fproject/repository/files/src%2Fmain.go/raw?ref=a%2Fb", "/api/v4/projects/a%2F..b/-/metrics", "/api/v4/x/%252F"} {
			v.wants("GET", target, 200, target)
		}
		v.uploads("POST", "/group/project.git/git-receive-pack", 24<<20, false, "Content-Encoding: gzip", "Content-Type: application/x-git-receive-pack-request")
		v.streams("/group/project.git/info/refs?service=git-upload-pack", "001e# service=git-upload-pack\n", "0000", goOn)
		v.converses(v.socket("/-/cable", "actioncable-v1-json"), `{"type":"welcome"}`, `{"command":"subscribe"}`)
		v.refused("/-/metrics", "/-/%6detrics", "//-/metrics", "/-/metrics;x", "/-/x/../metrics", "/-/x/%2e%2e/metrics", "/%2d/metrics", "/-%2fmetrics", "/-/metrics?x", "/-/./health")
		if res, _ := v.ask("POST", "/users/sign_in", "user=x"); res.StatusCode != 200 {
			v.t.Errorf("a login got %d", res.StatusCode)
		}
	})
	v := s.visitor(t, host, true)
	for range 20 {
		if res, _ := v.ask("POST", "/users/sign_in", "user=x"); res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if n := logins.Load(); n < 10 || n > 11 { // a token is made every 6 s
		t.Errorf("%d logins of 10 a minute", n)
	}
	s.over("registry.example.com", func(v *visit) {
		v.uploads("PATCH", "/v2/a/blobs/uploads/1", 8<<20, false, "Content-Range: 0-8388607")
		if res := v.wants("POST", "/v2/a/blobs/uploads/", 200, ""); res.Header.Get("Location") != "https://registry.example.com/v2/a/blobs/uploads/1?_state=x%3D%3D" {
			v.t.Errorf("Location: %q", res.Header.Get("Location"))
		}
	})
}

// Gitea pushes notifications as they come, and its assets are the same for
// everybody while its pages are not.
func testGitea(t *testing.T, world *acmetest.World) {
	const host = "git.example.com"
	goOn := make(chan struct{})
	var assets, pages atomic.Int32
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		seenRightly(t, r, host)
		switch {
		case strings.HasPrefix(r.URL.Path, "/assets/"):
			assets.Add(1)
			w.Header().Set("Cache-Control", "public, max-age=21600")
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, strings.Repeat("let a = 1;\n", 1000))
		case r.URL.Path == "/user/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: notification-count\n\n")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			_, _ = io.WriteString(w, "event: close\n\n")
		case r.Method == "PUT":
			digest(t, w, r)
		default:
			http.SetCookie(w, &http.Cookie{Name: "i_like_gitea", Value: "1"})
			w.Header().Set("Cache-Control", "max-age=0, private, must-revalidate, no-transform")
			_, _ = fmt.Fprintf(w, "%s %d", r.RequestURI, pages.Add(1))
		}
	})
	s := runSetup(t, world, "gitea", 1, "http://gitea:3000", server)
	s.over(host, func(v *visit) {
		plain := v.wants("GET", "/assets/js/index.js?v=1", 200, strings.Repeat("let a = 1;\n", 1000))
		if plain.Header.Get("Vary") != "Accept-Encoding" {
			v.t.Errorf("Vary: %q", plain.Header.Get("Vary"))
		}
		res, small := v.ask("GET", "/assets/js/index.js?v=1", "", "Accept-Encoding: gzip")
		if res.Header.Get("Content-Encoding") != "gzip" || len(small) > 1000 {
			v.t.Errorf("asset of %d bytes, %v", len(small), res.Header)
		}
		v.streams("/user/events", "event: notification-count\n\n", "event: close\n\n", goOn)
		v.uploads("PUT", "/o/r.git/info/lfs/objects/abc/16777216", 16<<20, true)
		v.tooLarge("PUT", "/o/r.git/info/lfs/objects/abc/3221225472", 3*gibibyte)
		before := pages.Load()
		const page = "/o/r/src/branch/a%2Fb/%E2%82%AC.md"
		v.wants("GET", page, 200, fmt.Sprintf("%s %d", page, before+1))
		v.wants("GET", page, 200, fmt.Sprintf("%s %d", page, before+2), "Cache-Control: only-if-cached")
	})
	if n := assets.Load(); n != 1 {
		t.Errorf("the asset was fetched %d times", n)
	}
}

// An object store signs method, host, path and query as they are on the wire.
func testObjectStore(t *testing.T, world *acmetest.World) {
	sign := func(method, host, target string) string {
		mac := hmac.New(sha256.New, []byte("secret"))
		_, _ = io.WriteString(mac, method+"\n"+host+"\n"+target)
		return hex.EncodeToString(mac.Sum(nil))
	}
	var continued atomic.Int32
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		target, signature, _ := strings.Cut(r.RequestURI, "&X-Amz-Signature=")
		if signature != sign(r.Method, r.Host, target) {
			t.Errorf("SignatureDoesNotMatch: %s %s %s", r.Method, r.Host, r.RequestURI)
			http.Error(w, "SignatureDoesNotMatch", http.StatusForbidden)
			return
		}
		seenRightly(t, r, r.Host)
		w.Header().Set("X-Amz-Request-Id", "1")
		if r.Method == "PUT" {
			if r.Header.Get("Expect") == "100-continue" {
				continued.Add(1)
			}
			w.Header().Set("ETag", `"e"`)
			digest(t, w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.WriteString(w, r.RequestURI)
	})
	// The wildcard is a certificate of its own.
	s := runSetup(t, world, "objectstore", 2, "http://minio:9000", server)
	for host, prefix := range map[string]string{"s3.example.com": "/bucket", "bucket.s3.example.com": ""} {
		s.over(host, func(v *visit) {
			for _, key := range []string{
				"/plain.txt?X-Amz-Expires=60", "/a%20b%2Fc+d//e;f=1,%7e~%C3%A4?response-content-disposition=attachment%3B%20filename%3D%22a%2Fb%22&x=&y",
				"/%2e%2ehidden/(1)'!*?uploads=&partNumber=1&uploadId=A%2BB%3D%3D", "/?list-type=2&prefix=a%2F..%2Fb&delimiter=/",
			} {
				target := prefix + key
				signed := target + "&X-Amz-Signature=" + sign("GET", host, target)
				if res := v.wants("GET", signed, 200, signed); res.Header.Get("X-Amz-Request-Id") == "" {
					v.t.Error("no X-Amz-Request-Id")
				}
			}
			target := prefix + "/large%2Fobject?partNumber=1"
			v.uploads("PUT", target+"&X-Amz-Signature="+sign("PUT", host, target), 64<<20, true, "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD")
		})
	}
	if n := continued.Load(); n == 0 {
		t.Error("Expect was never passed on")
	}
}
