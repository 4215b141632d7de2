package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
)

func named(t testing.TB, name string) string {
	return backend(t, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "%s %s", name, r.Host) })
}

func TestSitesAreFoundByHost(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test alias.test", named(t, "A"), "*.apps.test", named(t, "wild"), "x.apps.test", named(t, "X")))
		c := w.client(h2)
		for host, want := range map[string]string{
			"a.test": "A a.test", "alias.test": "A alias.test", "y.apps.test": "wild y.apps.test", "x.apps.test": "X x.apps.test",
		} {
			if got := body(t, get(t, c, "https://"+host+"/")); got != want {
				t.Errorf("%s: %q", host, got)
			}
		}
	})
}

func TestMisdirectedRequestIs421(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test alias.test", named(t, "A"), "b.test", named(t, "B")))
		for host, status := range map[string]int{"a.test": 200, "alias.test": 200, "b.test": 421, "unknown.test": 421} {
			req, _ := http.NewRequest("GET", "https://a.test/", nil) // the server name of the handshake
			req.Host = host
			res, err := w.client(h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != status {
				t.Errorf("Host %s: status %d, want %d", host, res.StatusCode, status)
			}
		}
	})
}

func TestWithoutServerNameHostDecides(t *testing.T) {
	w := start(t, sites("a.test", named(t, "A")))
	for head, status := range map[string]int{
		"GET / HTTP/1.1\r\nHost: a.test\r\n":               200,
		"GET / HTTP/1.1\r\nHost: unknown.test\r\n":         404,
		"GET / HTTP/1.1\r\nHost: \r\n":                     400,
		"GET / HTTP/1.1\r\n":                               400,
		"GET / HTTP/1.0\r\n":                               400,
		"GET / HTTP/1.1\r\nHost: a.test:99999\r\n":         400,
		"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b\r\n":    400,
		"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n": 200,
		"GET https://a.test/ HTTP/1.1\r\nHost: x.test\r\n": 400, // whoever reads the other of the two is deceived
	} {
		if res := answer(t, w.say("", head+"\r\n"), "GET"); res.StatusCode != status {
			t.Errorf("%q: status %d, want %d", head, res.StatusCode, status)
		}
	}
}

func TestBeforeTheFirstCommit(t *testing.T) {
	w := start(t, nil)
	res := get(t, w.client(false), "https://a.test/")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestServersThatCannotBeReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	l.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	defer untrusted.Close()
	for server, want := range map[string]struct {
		label string
		hint  string
	}{
		dead:                         {"upstream_refused", "running"},
		"unix:/nonexistent/app.sock": {"upstream_refused", "socket does not exist"},
		"http://nonexistent.invalid": {"upstream_dns", "does not resolve"},
		untrusted.URL:                {"upstream_certificate", "authority"},
		"https" + named(t, "x")[4:]:  {"upstream_tls", "http://"},
		rawBackend(t, func(net.Conn, *bufio.Reader) {}): {"upstream_closed", "log"},
		rawBackend(t, func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "SSH-2.0-OpenSSH\r\n")
		}): {"upstream_malformed", "HTTP"},
		rawBackend(t, func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n")
		}): {"upstream_malformed", ""},
		rawBackend(t, func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 512<<10)+"\r\n\r\n")
		}): {"upstream_malformed", ""},
	} {
		w := start(t, impatient(sites("a.test", server)))
		res := get(t, w.client(true), "https://a.test/")
		text := body(t, res)
		entry := w.logged(want.label)
		dns504 := want.label == "upstream_dns" && res.StatusCode == 504 // no DNS server where the test runs
		if res.StatusCode != 502 && !dns504 || !strings.Contains(fmt.Sprint(entry["hint"]), want.hint) && !dns504 {
			t.Errorf("%s: status %d, logged %v", server, res.StatusCode, entry)
		}
		if !strings.Contains(text, fmt.Sprint(entry["request_id"])) || entry["server"] != server || entry["site"] != "a.test" {
			t.Errorf("page %q, logged %v", text, entry)
		}
	}
}

func TestUnixSocketAndHTTPSServers(t *testing.T) {
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Proto, " ", r.Host) })
	socket := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	onSocket := &http.Server{Handler: handler}
	go onSocket.Serve(l)
	defer onSocket.Close()
	w := start(t, sites("a.test", "unix:"+socket))
	if got := body(t, get(t, w.client(true), "https://a.test/")); got != "HTTP/1.1 a.test" {
		t.Errorf("over a unix socket: %q", got)
	}
}

func TestClientsBrokenBodyIsItsOwnFault(t *testing.T) {
	arrived := make(chan error, 1)
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		arrived <- err
	})))
	r := w.say("a.test", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if res := answer(t, r, "POST"); res.StatusCode != 400 || !res.Close {
		t.Errorf("status %d, close %t", res.StatusCode, res.Close)
	} else {
		body(t, res)
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("what followed a malformed body was answered: %q", rest)
	}
	if err := wait(t, arrived, "the server"); err == nil {
		t.Error("the server took a broken body for a whole one")
	}
	w.logged("body_invalid")
}

// A byte-recording server: what it saw decides, not the status.
func TestNoRequestIsSmuggled(t *testing.T) {
	for name, text := range map[string]string{
		"CL and TE":          "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
		"TE.TE":              "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
		"underscore TE":      "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE in Connection":   "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"CL in Connection":   "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length\r\nContent-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
		"space before colon": "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			saw := make(chan []byte, 4)
			w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
				var bytes bytes.Buffer
				req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(r, &bytes)))
				if err == nil {
					io.Copy(io.Discard, req.Body)
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				saw <- bytes.Bytes()
			})))
			res := answer(t, w.say("a.test", text), "POST")
			if res.StatusCode >= 400 {
				return // refused
			}
			seen := string(wait(t, saw, "the server"))
			if strings.Count(seen, "HTTP/1.1\r\n") != 1 || strings.Contains(seen, "Content-Length") && strings.Contains(seen, "Transfer-Encoding") ||
				strings.Contains(seen, "Transfer_Encoding") {
				t.Errorf("the server saw\n%s", seen)
			}
		})
	}
}

func TestRedirectsKnownHostsOnly(t *testing.T) {
	w := start(t, sites("a.test", named(t, "A"), "*.apps.test", named(t, "wild")))
	p := proxy.New(proxy.Options{Logger: zap.NewNop(), HTTPSPort: 8443})
	g, err := p.Prepare(sites("a.test", "http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	p.Commit(g)
	defer p.Close()
	for _, c := range []struct {
		handler                    http.Handler
		method, host, target, want string
		status                     int
	}{
		{w.proxy.RedirectHandler(), "GET", "a.test", "/x?y=%20&z", "https://a.test/x?y=%20&z", 301},
		{w.proxy.RedirectHandler(), "HEAD", "A.test.:80", "/", "https://a.test/", 301},
		{w.proxy.RedirectHandler(), "POST", "x.apps.test", "/", "https://x.apps.test/", 308},
		{w.proxy.RedirectHandler(), "GET", "a.test", "//evil.test/%2F", "https://a.test//evil.test/%2F", 301},
		{w.proxy.RedirectHandler(), "GET", "a.test", "http://a.test/abs?q", "https://a.test/abs?q", 301},
		{w.proxy.RedirectHandler(), "OPTIONS", "a.test", "*", "https://a.test/", 308},
		{p.RedirectHandler(), "GET", "a.test:8080", "/", "https://a.test:8443/", 301},
		{w.proxy.RedirectHandler(), "GET", "evil.test", "/", "", 404},
		{w.proxy.RedirectHandler(), "GET", "a.test@evil.test", "/", "", 400},
		{w.proxy.RedirectHandler(), "CONNECT", "a.test", "/", "", 501},
	} {
		r := &http.Request{Method: c.method, Host: c.host, RequestURI: c.target, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		r.URL = httptest.NewRequest("GET", c.target, nil).URL
		rec := httptest.NewRecorder()
		c.handler.ServeHTTP(rec, r)
		if rec.Code != c.status || rec.Header().Get("Location") != c.want {
			t.Errorf("%s %s %s: %d to %q", c.method, c.host, c.target, rec.Code, rec.Header().Get("Location"))
		}
	}
	// And over a socket, with the connection kept.
	c, err := net.Dial("tcp", w.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range 2 {
		write(t, c, "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if res := answer(t, r, "GET"); res.StatusCode != 301 || res.Close {
			t.Errorf("%d, close %t", res.StatusCode, res.Close)
		}
	}
}

func TestPrepareNamesTheSite(t *testing.T) {
	cfg, problems := config.Parse("test.yaml", []byte("acme: {email: a@a.test}\ncloudflare: [{zones: [a.test], token: "+strings.Repeat("a", 40)+"}]\nsites:\n  a.test: http://127.0.0.1:1\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Sites[0].Proxy = "gopher://x" // what a later stage might not know
	p := proxy.New(proxy.Options{Logger: zap.NewNop()})
	_, err := p.Prepare(cfg)
	if err == nil || !strings.Contains(err.Error(), "gopher://x") || !strings.Contains(err.Error(), "test.yaml:4") {
		t.Errorf("error %v", err)
	}
	if _, err := p.Prepare(sites("a.test", "https://127.0.0.1")); err == nil {
		t.Error("a server whose certificate cannot be checked was accepted")
	}
}

func TestReloadUnderTrafficDropsNothing(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		slow := func(name string) string {
			return backend(t, func(rw http.ResponseWriter, r *http.Request) {
				io.WriteString(rw, name)
				rw.(http.Flusher).Flush()
				runtime.Gosched()
				io.WriteString(rw, ".")
			})
		}
		first, second := slow("first"), slow("second")
		w := start(t, sites("a.test", first))
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var served, failed atomic.Int64
		for range 4 {
			c := w.client(h2)
			clients.Go(func() {
				for ctx.Err() == nil {
					res, err := c.Get("https://a.test/")
					if err != nil {
						failed.Add(1)
						t.Error(err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || res.StatusCode != 200 || string(b) != "first." && string(b) != "second." {
						failed.Add(1)
						t.Errorf("%d %q %v", res.StatusCode, b, err)
						return
					}
					served.Add(1)
				}
			})
		}
		for i := range 30 {
			goal := served.Load() + 8
			eventually(t, "traffic", func() bool { return served.Load() >= goal || failed.Load() > 0 })
			w.commit(sites("a.test", []string{second, first}[i%2]))
		}
		cancel()
		clients.Wait()
	})
}

func TestReloadKeepsConnectionsToServersThatStay(t *testing.T) {
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "ok") }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	w := start(t, sites("a.test", s.URL))
	c := w.client(false)
	for i := range 5 {
		if got := body(t, get(t, c, "https://a.test/")); got != "ok" {
			t.Fatal(got)
		}
		w.commit(sites("a.test", s.URL, fmt.Sprintf("b%d.test", i), "http://127.0.0.1:1"))
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections to a server that stayed", n)
	}
	changed := sites("a.test", s.URL)
	changed.Limits.ConnectTimeout++
	w.commit(changed)
	body(t, get(t, c, "https://a.test/"))
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections after its settings changed", n)
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		arrived, finish := make(chan struct{}), make(chan struct{})
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-finish
			io.WriteString(rw, "done")
		})))
		got := make(chan string, 1)
		c := w.client(h2)
		go func() {
			res, err := c.Get("https://a.test/")
			if err != nil {
				got <- err.Error()
				return
			}
			b, _ := io.ReadAll(res.Body)
			got <- string(b)
		}()
		wait(t, arrived, "the request")
		stopped := make(chan struct{})
		go func() { w.stop(); close(stopped) }()
		eventually(t, "the socket closes", func() bool {
			c, err := net.Dial("tcp", w.https)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		close(finish)
		if b := wait(t, got, "the response"); b != "done" {
			t.Errorf("got %q", b)
		}
		wait(t, stopped, "the stop")
		if w.logs.FilterMessageSnippet("were cut").Len() > 0 {
			t.Error("something was cut")
		}
	})
}

func TestStopCutsWhatTakesTooLong(t *testing.T) {
	arrived := make(chan struct{})
	cfg := sites("a.test", echoSockets(t), "b.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	cfg.Limits.ShutdownTimeout = 100 * time.Millisecond
	w := start(t, cfg)
	socket := w.webSocket(t.Context())
	exchange(t, t.Context(), socket, []byte("x"))
	c := w.client(false)
	broken := make(chan error, 1)
	go func() { _, err := c.Get("https://b.test/"); broken <- err }()
	wait(t, arrived, "the request")
	w.stop()
	if err := wait(t, broken, "the client"); err == nil {
		t.Error("a response out of nothing")
	}
	if _, _, err := socket.Read(t.Context()); err == nil {
		t.Error("the WebSocket lives on")
	}
	cut := w.logs.FilterMessageSnippet("were cut").All()
	if len(cut) != 1 || cut[0].ContextMap()["connections"] != int64(2) {
		t.Errorf("logged %v", cut)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := ours()
	w := start(t, sites("a.test", echoSockets(t), "b.test", named(t, "B")))
	get(t, w.client(true), "https://b.test/")
	exchange(t, t.Context(), w.webSocket(t.Context()), []byte("x"))
	w.say("a.test", "GET / HTTP/1.1\r\n") // half a request
	if c, err := net.Dial("tcp", w.https); err == nil {
		defer c.Close() // half a handshake
	}
	w.commit(sites("b.test", "http://127.0.0.1:1"))
	w.proxy.Close() // ends the WebSocket, so that the stop need not wait for it
	w.stop()
	eventually(t, "all goroutines of the proxy end", func() bool { return ours() <= before })
}

// ours counts the goroutines that run code of the proxy, tests excepted.
func ours() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "sallyport/proxy.") || strings.Contains(stack, "proxy/listen.") || strings.Contains(stack, "proxy/upstream.") {
			n++
		}
	}
	return n
}
