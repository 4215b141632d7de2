package proxy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

// impatientSites makes requests to absent servers fail at once.
func impatientSites(cfg *config.Config) *config.Config {
	seen := make(map[string]bool)
	for _, site := range cfg.Sites {
		for _, place := range site.Places() {
			if u := cfg.Upstream(place.Proxy); place.Proxy != "" && u.Name == "" && !seen[place.Proxy] {
				seen[place.Proxy] = true
				u.Name, u.Hold = place.Proxy, 0
				cfg.Upstreams = append(cfg.Upstreams, u)
			}
		}
	}
	return cfg
}

func TestRateLimitIsSharedByNameAndOutlivesAReload(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		const text = `
rate_limits:
  login: {rate: 1/h, burst: 3}
sites:
  a.test:
    tls: internal
    routes:
      - {path: /one, rate_limit: login, respond: 200}
      - {path: /two, rate_limit: [login], respond: 200}
      - {path: /own, rate_limit: {rate: 1/h}, respond: 200}
      - {path: /, respond: %s}
`
		w := start(t, parsed(t, text, "200"))
		for i, path := range []string{"/one", "/two", "/one"} {
			if res, _ := w.ask(h2, "GET", path); res.StatusCode != 200 {
				t.Fatalf("request %d: %d", i, res.StatusCode)
			}
		}
		w.commit(parsed(t, text, "201"))
		if res, _ := w.ask(h2, "GET", "/"); res.StatusCode != 201 {
			t.Fatalf("the reload did not take place: %d", res.StatusCode)
		}
		for _, field := range []string{"X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9", "Forwarded: for=203.0.113.9", "Cf-Connecting-Ip: 203.0.113.9", "True-Client-Ip: 203.0.113.9"} {
			for _, path := range []string{"/one", "/two"} {
				res, _ := w.ask(h2, "GET", path, field)
				if res.StatusCode != 429 || res.Header.Get("Retry-After") != "3600" || res.Header.Get("RateLimit-Policy") != `"login";q=3;w=10800` {
					t.Errorf("%s with %s: %d %v", path, field, res.StatusCode, res.Header)
				}
			}
		}
		if res, _ := w.ask(h2, "GET", "/own"); res.StatusCode != 200 {
			t.Errorf("the route's own limit: %d", res.StatusCode)
		}
	})
}

func TestRequestsUnderWayAreBoundedByClient(t *testing.T) {
	hold, held := make(chan bool), make(chan bool)
	w := start(t, parsed(t, `
sites:
  a.test: {tls: internal, proxy: "%s", max_connections: 2}
`, backend(t, func(http.ResponseWriter, *http.Request) { held <- true; <-hold })))
	var asked sync.WaitGroup
	for range 2 {
		asked.Go(func() {
			res, err := w.client(false).Get("https://a.test/")
			if err != nil || res.StatusCode != 200 {
				t.Errorf("%v, %v", res, err)
			}
		})
		wait(t, held, "the server")
	}
	if res, _ := w.ask(false, "GET", "/", "X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9"); res.StatusCode != 429 {
		t.Errorf("the third: %d", res.StatusCode)
	}
	close(hold)
	asked.Wait()
}

func TestTooLargeABodyIsNotInvitedAndNotPassedOn(t *testing.T) {
	var got atomic.Int64
	w := start(t, parsed(t, `
sites:
  a.test: {tls: internal, proxy: "%s", max_body: 1KiB}
`, backend(t, func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n)
	})))
	r := w.say("a.test", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
	if res := answer(t, r, "POST"); res.StatusCode != 413 {
		t.Errorf("a body that is too large was invited: %d", res.StatusCode)
	}
	if got.Load() != 0 {
		t.Errorf("the server got %d bytes", got.Load())
	}
	for _, h2 := range []bool{false, true} {
		for size, want := range map[int]int{1024: 200, 1025: 413, 1 << 20: 413} {
			for _, announced := range []bool{true, false} {
				got.Store(0)
				var content io.Reader = bytes.NewReader(make([]byte, size))
				if !announced {
					content = io.MultiReader(content)
				}
				res, err := w.client(h2).Post("https://a.test/", "", content)
				if err != nil {
					t.Errorf("%d bytes, h2 %v, announced %v: %v", size, h2, announced, err)
					continue
				}
				res.Body.Close()
				if res.StatusCode != want || got.Load() > 1024 {
					t.Errorf("%d bytes, h2 %v, announced %v: %d; the server got %d", size, h2, announced, res.StatusCode, got.Load())
				}
			}
		}
	}
}

func TestTimesOfARouteReplaceThoseOfTheLimits(t *testing.T) {
	slow := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		timer := time.NewTimer(300 * time.Millisecond)
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	})
	cfg := parsed(t, `
sites:
  a.test:
    tls: internal
    routes:
      - {path: /patient, response_timeout: 20s, proxy: "%[1]s"}
      - {path: /quick, response_timeout: 50ms, proxy: "%[1]s"}
      - {path: /upload, request_timeout: 200ms, response_timeout: 0, proxy: "%[1]s"}
      - {path: /, proxy: "%[1]s"}
`, slow)
	cfg.Limits.ResponseHeaderTimeout = 100 * time.Millisecond
	w := start(t, cfg)
	for path, want := range map[string]int{"/patient": 200, "/quick": 504, "/": 504, "/upload": 200} {
		if res, _ := w.ask(false, "GET", path); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	r := w.say("a.test", "POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nsome")
	if res := answer(t, r, "POST"); res.StatusCode != 408 {
		t.Errorf("a body that does not arrive: %d", res.StatusCode)
	}
	pr, pw := io.Pipe()
	defer pw.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", "https://a.test/upload", pr)
	go func() { _, _ = pw.Write([]byte("some")) }()
	if res, err := w.client(true).Do(req); err != nil || res.StatusCode != 408 {
		t.Errorf("over HTTP/2: %v, %v", res, err)
	}
}

func TestAnswersAreCompressedOnTheWay(t *testing.T) {
	text := strings.Repeat("the quick brown fox ", 1000)
	next := make(chan bool)
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    compress: true
    routes:
      - {path: /plain, compress: false, proxy: "%[1]s"}
      - {path: /, proxy: "%[1]s"}
`, backend(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("ETag", `"1"`)
			switch r.URL.Path {
			case "/events":
				w.Header().Set("Content-Type", "text/event-stream")
				for range 2 {
					_, _ = io.WriteString(w, "data: some\n")
					_ = http.NewResponseController(w).Flush()
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
				}
			case "/lines":
				for range 2 {
					_, _ = io.WriteString(w, "one line of text\n")
					_ = http.NewResponseController(w).Flush()
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
				}
			default:
				_, _ = io.WriteString(w, text)
			}
		})))
		res, got := w.ask(h2, "GET", "/", "Accept-Encoding: gzip")
		z, err := gzip.NewReader(strings.NewReader(got))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil || string(plain) != text || res.Header.Get("ETag") != `W/"1"` || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%v, %d bytes, %v", err, len(plain), res.Header)
		}
		if res, got := w.ask(h2, "GET", "/plain", "Accept-Encoding: gzip"); res.Header.Get("Content-Encoding") != "" || got != text {
			t.Errorf("a route that does not: %v", res.Header)
		}
		// What is flushed arrives while the application waits for us.
		for path, coding := range map[string]string{"/events": "", "/lines": "gzip"} {
			req, _ := http.NewRequest("GET", "https://a.test"+path, nil)
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := w.client(h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Header.Get("Content-Encoding") != coding {
				t.Errorf("%s: %v", path, res.Header)
			}
			var from io.Reader = res.Body
			if coding != "" {
				if from, err = gzip.NewReader(res.Body); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewReader(from)
			for range 2 {
				if line, err := lines.ReadString('\n'); err != nil || len(line) < 8 {
					t.Fatalf("%s: %q, %v", path, line, err)
				}
				select {
				case next <- true:
				case <-time.After(20 * time.Second):
					t.Fatal("the application does not wait")
				}
			}
			res.Body.Close()
		}
	})
}

func TestABufferedBodyCanBeSentAgain(t *testing.T) {
	sent := make([]byte, 300<<10)
	_, _ = rand.Read(sent)
	var asked atomic.Int64
	address := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			panic(http.ErrAbortHandler)
		}
		if r.Method == "GET" {
			return
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, sent) || r.ContentLength != int64(len(sent)) {
			t.Errorf("the server got %d bytes, announced as %d, %v", len(got), r.ContentLength, err)
		}
	})
	cfg := parsed(t, `
sites:
  a.test: {tls: internal, proxy: "%s", buffer_request: true}
`, address)
	cfg.Storage = t.TempDir()
	w := start(t, cfg)
	for _, h2 := range []bool{false, true} {
		asked.Store(0)
		req, _ := http.NewRequest("PUT", "https://a.test/", io.MultiReader(bytes.NewReader(sent)))
		res, err := w.client(h2).Do(req)
		if err != nil || res.StatusCode != 200 || asked.Load() != 2 {
			t.Errorf("h2 %v: %v, %v after %d", h2, res, err, asked.Load())
		}
	}
	// Nobody is asked before all is there.
	asked.Store(1)
	c := w.dial("a.test")
	fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", len(sent))
	_, _ = c.Write(sent[:200<<10])
	if res, _ := w.ask(false, "GET", "/"); res.StatusCode != 200 || asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
	_, _ = c.Write(sent[200<<10:])
	if res := answer(t, bufio.NewReader(c), "PUT"); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestAMirrorSeesWhatTheServerSeesAndHarmsNobody(t *testing.T) {
	copies := make(chan string, 10)
	shadow := backend(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		copies <- fmt.Sprint(r.Method, r.URL, r.Host, r.Header.Get("X-Tier"), r.Header.Get("X-Forwarded-For"), string(got))
		w.WriteHeader(500)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nothing listens there
	const text = `
upstreams:
  shadow: {servers: ["%s"], hold: 0}
sites:
  a.test: {tls: internal, proxy: "%s", mirror: {to: shadow}, request_headers: {set: {X-Tier: one}}}
`
	main := backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	w := start(t, parsed(t, text, shadow, main))
	for _, h2 := range []bool{false, true} {
		res, err := w.client(h2).Post("https://a.test/p?q=1", "text/plain", strings.NewReader("hello"))
		if err != nil || res.StatusCode != 200 || body(t, res) != "hello" {
			t.Fatalf("the request itself: %v, %v", res, err)
		}
		if got := wait(t, copies, "the copy"); got != "POST/p?q=1a.testone127.0.0.1hello" {
			t.Errorf("the copy: %s", got)
		}
	}
	w.commit(parsed(t, text, "http://"+l.Addr().String(), main)) // closes the first mirror
	if res, _ := w.ask(false, "GET", "/"); res.StatusCode != 200 {
		t.Errorf("with a shadow that is down: %d", res.StatusCode)
	}
	eventually(t, "a line about the copy", func() bool { return w.logs.FilterMessage("copy of a request failed").Len() > 0 })
}
