package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/config"
)

// over3 makes a configuration serve HTTP/3 as well.
func over3(cfg *config.Config) *config.Config {
	cfg.Listen.HTTP3 = true
	return cfg
}

// client3 returns an HTTP/3 client for which every name leads to the proxy; the
// server name of the handshake is sni if that is not empty.
func (w *world) client3(sni string) *http.Client {
	w.t.Helper()
	transport := &http3.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: w.roots, ServerName: sni},
		DisableCompression: true,
		Dial: func(ctx context.Context, _ string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, w.https, secure, config)
		},
	}
	w.t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport}
}

func TestHTTP3ReachesAServerLikeTheOthers(t *testing.T) {
	type seen struct {
		uri, method string
		header      http.Header
		length      int64
		transfer    []string
		body        string
	}
	const underscored = "X_own" // what HTTP/3's x_own becomes
	requests := make(chan seen, 1)
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests <- seen{r.RequestURI, r.Method, r.Header, r.ContentLength, r.TransferEncoding, string(b)}
		rw.Header().Set("X-Answer", "yes")
		io.WriteString(rw, "hello")
	}))))
	for name, c := range map[string]struct {
		method, body string
		length       int64
	}{
		"GET":                   {"GET", "", 0},
		"HEAD":                  {"HEAD", "", 0},
		"DELETE with a body":    {"DELETE", "gone", -1},
		"POST of known length":  {"POST", "four", 4},
		"POST of length nobody": {"POST", "unknown", -1},
	} {
		t.Run(name, func(t *testing.T) {
			var payload io.Reader
			if c.body != "" {
				payload = strings.NewReader(c.body)
			}
			req, _ := http.NewRequestWithContext(t.Context(), c.method, "https://a.test/x%2Fy?q=1&r", payload)
			req.ContentLength = c.length
			req.Header.Set("X-Forwarded-For", "6.6.6.6")
			req.Header[underscored] = []string{"6.6.6.6"}
			res, err := w.client3("").Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := body(t, res); res.Proto != "HTTP/3.0" || res.StatusCode != 200 || res.Header.Get("X-Answer") != "yes" || got != "hello" && c.method != "HEAD" {
				t.Errorf("%s %d %v %q", res.Proto, res.StatusCode, res.Header, got)
			}
			if res.ContentLength != 5 || len(res.Header["Alt-Svc"]) != 0 {
				t.Errorf("length %d, Alt-Svc %q", res.ContentLength, res.Header["Alt-Svc"])
			}
			got := wait(t, requests, "the request")
			if got.uri != "/x%2Fy?q=1&r" || got.method != c.method || got.body != c.body || got.length != c.length {
				t.Errorf("the server saw %+v", got)
			}
			if slices.Contains(got.transfer, "chunked") != (c.length < 0) {
				t.Errorf("transfer encoding %q", got.transfer)
			}
			if f := got.header; f.Get("X-Forwarded-For") != "127.0.0.1" || f.Get("X-Forwarded-Proto") != "https" ||
				f.Get("X-Forwarded-Host") != "a.test" || len(f[underscored]) != 0 || len(f.Get("X-Request-Id")) != 32 {
				t.Errorf("the server saw %v", f)
			}
		})
	}
}

func TestHTTP3IsAnnouncedWithThePortThatClientsSee(t *testing.T) {
	server := backend(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		on         bool
		host, want string
	}{
		"default port":    {true, "a.test", `h3=":443"; ma=86400`},
		"translated port": {true, "a.test:8443", `h3=":8443"; ma=86400`},
		"no such site":    {true, "nowhere.test", `h3=":443"; ma=86400`},
		"not a port":      {true, "a.test:99999", ""},
		"off":             {false, "a.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sites("a.test", server)
			cfg.Listen.HTTP3 = c.on
			w := start(t, cfg)
			for _, h2 := range []bool{false, true} {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
				req.Host = c.host
				res, err := w.client(h2).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if got := res.Header.Get("Alt-Svc"); got != c.want {
					t.Errorf("over %s: %q, want %q", res.Proto, got, c.want)
				}
			}
		})
	}
}

func TestHTTP3ForAnotherSiteIsMisdirected(t *testing.T) {
	server := backend(t, func(rw http.ResponseWriter, _ *http.Request) {})
	w := start(t, over3(sites("a.test alias.test", server, "b.test", server)))
	client := w.client3("a.test")
	for host, want := range map[string]int{"a.test": 200, "alias.test": 200, "b.test": 421, "nowhere.test": 421} {
		res, err := client.Get("https://" + host)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
	}
}

func TestHTTP3TrailersGoBothWays(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "X-Announced")
		io.Copy(rw, r.Body)
		rw.Header().Set("X-Announced", r.Trailer.Get("X-Sum"))
		rw.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}))))
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://a.test/", io.MultiReader(strings.NewReader("data")))
	req.Trailer = http.Header{"X-Sum": {"4"}}
	res, err := w.client3("").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, res); got != "data" || res.Trailer.Get("X-Announced") != "4" || res.Trailer.Get("X-Late") != "late" {
		t.Errorf("%q, trailers %v", got, res.Trailer)
	}
}

func TestHTTP3EventsArriveOneByOne(t *testing.T) {
	next := make(chan string)
	gone := make(chan struct{})
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			io.WriteString(rw, event)
			_ = http.NewResponseController(rw).Flush()
		}
		<-r.Context().Done()
		close(gone)
	}))))
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.test/", nil)
	answers := make(chan *http.Response, 1)
	go func() {
		res, err := w.client3("").Do(req)
		if err != nil {
			t.Error(err)
		}
		answers <- res
	}()
	next <- "data: 0\n\n"
	res := wait(t, answers, "the head")
	defer res.Body.Close()
	for i := range 3 {
		event := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(res.Body, event); err != nil || event[6] != byte('0'+i) {
			t.Fatalf("event %d: %q %v", i, event, err)
		}
		if i < 2 {
			next <- "data: " + string(rune('1'+i)) + "\n\n"
		}
	}
	close(next)
	leave()
	wait(t, gone, "the server to hear that the client has gone")
}

// large is a body too large to sit in any buffer on the way.
func large(t *testing.T, size int) ([]byte, string) {
	t.Helper()
	b := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:])
}

func TestHTTP3LargeBodiesBothWays(t *testing.T) {
	size := 64 << 20
	if testing.Short() {
		size = 10 << 20
	}
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		io.Copy(rw, r.Body)
	}))))
	sent, want := large(t, size)
	res, err := w.client3("").Post("https://a.test/", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, res.Body)
	if err != nil || n != int64(size) || hex.EncodeToString(sum.Sum(nil)) != want {
		t.Errorf("%d of %d bytes came back, %v", n, size, err)
	}
}

func TestHTTP3AResponseCutShortIsSeen(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "100")
		io.WriteString(rw, "some")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}))))
	res, err := w.client3("").Get("https://a.test/")
	if err == nil { // else the reset has overtaken the head
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%q looked whole", b)
		}
	}
	w.logged("upstream_truncated")
}

func TestHTTP3ABodyThatTheClientBreaksOffEndsAtTheServer(t *testing.T) {
	begun, broken := make(chan struct{}), make(chan error, 1)
	w := start(t, over3(sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
			t.Error(err)
		}
		close(begun)
		_, err := io.Copy(io.Discard, r.Body)
		broken <- err
	}))))
	payload, feed := io.Pipe()
	go func() {
		io.WriteString(feed, "half")
		<-begun
		feed.CloseWithError(io.ErrNoProgress)
	}()
	if res, err := w.client3("").Post("https://a.test/", "text/plain", payload); err == nil {
		res.Body.Close()
	}
	if err := wait(t, broken, "the end of the body"); err == nil {
		t.Error("half a body looked whole to the server")
	}
}

func TestHTTP3StatusesWithoutBody(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</a.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(map[string]int{"/204": 204, "/304": 304, "/500": 500}[r.URL.Path])
	}))))
	client := w.client3("")
	for path, want := range map[string]int{"/204": 204, "/304": 304, "/500": 500} {
		res, err := client.Get("https://a.test" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, res); res.StatusCode != want || got != "" {
			t.Errorf("%s: %d %q %v", path, res.StatusCode, got, maps.Clone(res.Header))
		}
	}
}

func TestHTTP3NeedsTheUDPPort(t *testing.T) {
	w := start(t, sites("a.test", backend(t, func(http.ResponseWriter, *http.Request) {})))
	socket, err := net.ListenPacket("udp", w.https)
	if err != nil {
		t.Fatalf("HTTP/3 is off and yet the UDP port is taken: %v", err)
	}
	socket.Close()
}

// What quic-go lets through and HTTP/1.1 would read differently.
func TestHTTP3RequestsAreHeldToTheRulesOfHTTP1(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it was reached: %v %v", r.RequestURI, r.Header)
	}))))
	for name, value := range map[string]string{
		"transfer_encoding": "chunked", "x_forwarded_for": "6.6.6.6", "content_length": "0", "proxy_authorization": "x",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
		req.Header[name] = []string{value}
		res, err := w.client3("").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
	req.URL.Opaque = "/x HTTP/1.1"
	if res, err := w.client3("").Do(req); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("a blank in the path: %d", res.StatusCode)
		}
	}
}
