package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"time"
)

// overBoth runs a test over HTTP/1.1 and HTTP/2.
func overBoth(t *testing.T, test func(t *testing.T, h2 bool)) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%t", h2), func(t *testing.T) { test(t, h2) })
	}
}

func get(t testing.TB, c *http.Client, url string) *http.Response {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestRequestArrivesAsItWasSentPlusWhatWeKnow(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		type seen struct {
			uri, host, method string
			header            http.Header
		}
		got := make(chan seen, 1)
		w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
			got <- seen{r.RequestURI, r.Host, r.Method, r.Header}
		})))
		req, _ := http.NewRequest("PROPFIND", "https://A.test/a%2Fb//c/%7e?x=%20&y;z", nil)
		req.Header = http.Header{
			"User-Agent": nil, "X-Own": {"one", "two"}, "Authorization": {"Basic eA=="},
			"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"gopher"}, "X-Forwarded-Host": {"evil.test"},
			"X-Forwarded-Port": {"1"}, "X-Forwarded-Prefix": {"/x"}, "X-Forwarded-Server": {"x"}, "X-Real-Ip": {"6.6.6.6"},
			"Forwarded": {"for=6.6.6.6"}, "X-Request-Id": {"forged"}, "X_Own": {"6.6.6.6"},
			"Keep-Alive": {"timeout=5"}, "Proxy-Authorization": {"Basic eA=="}, "Proxy-Connection": {"x"}, "Te": {"trailers, deflate"},
		}
		if h2 {
			req.Header.Del("Proxy-Connection")
			req.Header.Del("Keep-Alive")
			req.Header["Te"] = []string{"trailers"}
		}
		res, err := w.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		r := wait(t, got, "the request")
		if r.uri != "/a%2Fb//c/%7e?x=%20&y;z" {
			t.Errorf("target became %q", r.uri)
		}
		if r.method != "PROPFIND" || !strings.EqualFold(r.host, "a.test") {
			t.Errorf("method %q, host %q", r.method, r.host)
		}
		id := r.header.Get("X-Request-Id")
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("request id %q", id)
		}
		want := http.Header{
			"X-Own": {"one", "two"}, "Authorization": {"Basic eA=="}, "Te": {"trailers"},
			"X-Forwarded-For": {"127.0.0.1"}, "X-Real-Ip": {"127.0.0.1"},
			"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {r.host}, "X-Request-Id": {id},
		}
		if fmt.Sprint(r.header) != fmt.Sprint(want) {
			t.Errorf("header\n got %v\nwant %v", r.header, want)
		}
	})
}

func TestTargetIsForwardedByteForByte(t *testing.T) {
	got := make(chan string, 1)
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI })))
	for _, target := range []string{
		"/", "/?", "/a|b^c%2Fd", "/..x/%2e%2ey/...", "//double//slash", "/[x]?[y]={z}", "/\xc3\xa4?\xff", "/;p?a;b", "/*", "/a?b?c", "/%zz?",
	} {
		t.Run(target, func(t *testing.T) {
			r := w.say("a.test", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			res := answer(t, r, "GET")
			if target == "/%zz?" {
				if res.StatusCode != 400 {
					t.Errorf("status %d for an impossible escape", res.StatusCode)
				}
				return
			}
			if arrived := wait(t, got, "the request"); arrived != target {
				t.Errorf("%q arrived as %q", target, arrived)
			}
		})
	}
}

func TestTargetThatCannotBeForwardedIsRefused(t *testing.T) {
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("forwarded: %q", r.RequestURI) })))
	for _, target := range []string{"/a#b", "//x|%2Fy", "http://a.test//x|", "/%2e%2e/x", "/a/../../b", "/a%00b", "/..;/x", "*", "ftp://a.test/", "https://user@a.test/"} {
		res := answer(t, w.say("a.test", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\n\r\n"), "GET")
		if res.StatusCode != 400 {
			t.Errorf("%q: status %d, want 400", target, res.StatusCode)
		}
	}
}

func TestHTTP2PathCannotSmuggleARequestLine(t *testing.T) {
	w := start(t, sites("a.test", rawBackend(t, func(_ net.Conn, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		t.Errorf("forwarded: %q", line)
	})))
	// net/http's client does not check Opaque, so that the blank reaches :path.
	req, _ := http.NewRequest("GET", "https://a.test/", nil)
	req.URL.Opaque = "/x HTTP/1.1"
	res, err := w.client(true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 400 {
		t.Errorf("status %d, want 400", res.StatusCode)
	}
}

func TestConnectionFieldCannotStripEndToEndFields(t *testing.T) {
	got := make(chan http.Header, 1)
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })))
	for option, status := range map[string]int{
		"X-Forwarded-For": 400, "x-real-ip": 400, "Authorization": 400, "close, cookie": 400, "Host": 400,
		"Content-Length": 400, "X-Request-Id": 400, "Forwarded": 400, "X-Hop": 200, "keep-alive, x-hop, ": 200,
	} {
		res := answer(t, w.say("a.test", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: "+option+"\r\nX-Hop: gone\r\nAuthorization: x\r\n\r\n"), "GET")
		if res.StatusCode != status {
			t.Errorf("Connection: %s: status %d, want %d", option, res.StatusCode, status)
			continue
		}
		if status == 200 {
			h := wait(t, got, "the request")
			if h.Get("X-Hop") != "" || h.Get("Connection") != "" || h.Get("X-Forwarded-For") != "127.0.0.1" {
				t.Errorf("Connection: %s: forwarded %v", option, h)
			}
		}
	}
}

func TestMethodsForTunnelsAndTracesAreRefused(t *testing.T) {
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("forwarded: %s", r.Method) })))
	for _, line := range []string{"CONNECT a.test:443", "TRACE /"} {
		r := w.say("a.test", line+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
		res := answer(t, r, "GET")
		if res.StatusCode != 501 || !res.Close {
			t.Errorf("%s: status %d, close %t", line, res.StatusCode, res.Close)
		}
	}
}

func TestResponseArrivesAsItWasSent(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err == nil {
				io.WriteString(c, "HTTP/1.1 299 Odd\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: mine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"+
					"Etag: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nContent-Length: 6\r\n\r\n<html>")
			}
		})))
		res := get(t, w.client(h2), "https://a.test/")
		if b := body(t, res); b != "<html>" || res.StatusCode != 299 {
			t.Errorf("status %d, body %q", res.StatusCode, b)
		}
		want := http.Header{
			"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Server": {"mine"}, "Set-Cookie": {"a=1", "b=2"},
			"Etag": {"x"}, "Content-Length": {"6"},
		}
		if fmt.Sprint(res.Header) != fmt.Sprint(want) {
			t.Errorf("header\n got %v\nwant %v", res.Header, want)
		}
	})
}

func TestResponsesWithoutBody(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/204":
				rw.WriteHeader(204)
			case "/304":
				rw.Header().Set("Etag", `"x"`)
				rw.WriteHeader(304)
			default:
				rw.Header().Set("Content-Length", "12345")
			}
		})))
		c := w.client(h2)
		if res := get(t, c, "https://a.test/204"); res.StatusCode != 204 || body(t, res) != "" {
			t.Errorf("204 became %d", res.StatusCode)
		}
		if res := get(t, c, "https://a.test/304"); res.StatusCode != 304 || res.Header.Get("Etag") != `"x"` {
			t.Errorf("304 became %d %v", res.StatusCode, res.Header)
		}
		res, err := c.Head("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		if res.ContentLength != 12345 || body(t, res) != "" {
			t.Errorf("HEAD lost its length: %d", res.ContentLength)
		}
	})
}

func TestEventsArriveOneByOne(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		next := make(chan string)
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.(http.Flusher).Flush()
			for event := range next {
				io.WriteString(rw, event)
				rw.(http.Flusher).Flush()
			}
		})))
		res := get(t, w.client(h2), "https://a.test/") // returns though no event was sent yet
		lines := bufio.NewReader(res.Body)
		for i := range 5 {
			event := fmt.Sprintf("data: %d\n", i)
			next <- event
			if line, err := lines.ReadString('\n'); line != event {
				t.Fatalf("got %q, %v", line, err)
			}
		}
		close(next)
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
			t.Errorf("end of stream: %q, %v", rest, err)
		}
	})
}

func TestBothSidesMayTalkAtTheSameTime(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		echo := func(rw http.ResponseWriter, r *http.Request) {
			http.NewResponseController(rw).EnableFullDuplex()
			rw.(http.Flusher).Flush()
			buf := make([]byte, 64)
			for {
				n, err := r.Body.Read(buf)
				rw.Write(buf[:n])
				rw.(http.Flusher).Flush()
				if err != nil {
					return
				}
			}
		}
		w := start(t, sites("a.test", backend(t, echo)))
		r, sender := io.Pipe()
		req, _ := http.NewRequest("POST", "https://a.test/", r)
		res, err := w.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		replies := bufio.NewReader(res.Body)
		for i := range 5 {
			line := fmt.Sprintf("message %d\n", i)
			write(t, sender, line)
			if reply, err := replies.ReadString('\n'); reply != line {
				t.Fatalf("got %q, %v", reply, err)
			}
		}
		sender.Close()
		if _, err := io.ReadAll(replies); err != nil {
			t.Error(err)
		}
	})
}

func TestAnswerBeforeTheBodyIsRead(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
			io.Copy(io.Discard, r)
		})))
		r, sender := io.Pipe()
		defer sender.Close()
		req, _ := http.NewRequest("POST", "https://a.test/", r) // a body that never comes
		req.ContentLength = 1 << 30
		res, err := w.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if b := body(t, res); res.StatusCode != 403 || b != "no\n" {
			t.Errorf("status %d, body %q", res.StatusCode, b)
		}
		if !h2 && !res.Close {
			t.Error("the connection is kept although part of a body may follow on it")
		}
	})
}

func TestConnectionIsKeptAfterABody(t *testing.T) {
	w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) }), "b.test alias.test", rawBackend(t, func(_ net.Conn, r *bufio.Reader) {
		if req, err := http.ReadRequest(r); err == nil {
			io.Copy(io.Discard, req.Body) // and hang up without an answer
		}
	})))
	for host, status := range map[string]int{"a.test": 200, "b.test": 502} {
		c := w.dial(host)
		r := bufio.NewReader(c)
		for range 3 {
			for _, framing := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
				write(t, c, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+framing)
				res := answer(t, r, "POST")
				if body(t, res); res.StatusCode != status || res.Close {
					t.Fatalf("%s: status %d, close %t", host, res.StatusCode, res.Close)
				}
			}
		}
	}
}

// A client that stops in the middle of a body that nobody reads any more must
// not hold its connection for ever.
func TestStalledBodyDoesNotHoldTheConnection(t *testing.T) {
	w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, r)
	})))
	for _, host := range []string{"a.test", "unknown.test"} { // forwarded, and refused without reading
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			c := w.dial("a.test")
			write(t, c, "POST / HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 1000\r\n\r\nabc")
			r := bufio.NewReader(c)
			if res := answer(t, r, "POST"); !res.Close {
				t.Errorf("status %d, connection kept", res.StatusCode)
			} else {
				body(t, res)
			}
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("%v instead of the end", err)
			}
		})
	}
}

func TestContinueIsTheServersToSay(t *testing.T) {
	read := make(chan struct{})
	w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" {
			t.Errorf("Expect became %q", r.Header.Get("Expect"))
		}
		if r.URL.Path == "/no" {
			rw.WriteHeader(417)
			return
		}
		<-read
		b, _ := io.ReadAll(r.Body)
		rw.Write(b)
	})))
	head := "POST %s HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"

	c := w.dial("a.test")
	write(t, c, fmt.Sprintf(head, "/yes"))
	r := bufio.NewReader(c)
	close(read)
	if line, _ := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	r.ReadString('\n')
	write(t, c, "hello")
	if res := answer(t, r, "POST"); res.StatusCode != 200 || body(t, res) != "hello" {
		t.Errorf("status %d", res.StatusCode)
	}

	if res := answer(t, w.say("a.test", fmt.Sprintf(head, "/no")), "POST"); res.StatusCode != 417 {
		t.Errorf("a refusal became %d", res.StatusCode)
	}
}

func TestEarlyHintsArePassedOn(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		hinted := make(chan struct{})
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Link", "</style.css>; rel=preload")
			rw.WriteHeader(103)
			<-hinted // the final response waits until the hint has arrived
			rw.Header().Del("Link")
			rw.WriteHeader(200)
		})))
		req, _ := http.NewRequest("GET", "https://a.test/", nil)
		var links []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if status != 103 {
				t.Errorf("status %d", status)
			}
			links = append(links, h.Get("Link"))
			close(hinted)
			return nil
		}}
		res, err := w.client(h2).Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if len(links) != 1 || links[0] != "</style.css>; rel=preload" || res.Header.Get("Link") != "" {
			t.Errorf("hints %q, final Link %q", links, res.Header.Get("Link"))
		}
	})
}

func TestEndlessInformationalResponsesAreCutOff(t *testing.T) {
	w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		for {
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
				return
			}
		}
	})))
	if res := get(t, w.client(false), "https://a.test/"); res.StatusCode != 502 {
		t.Errorf("status %d", res.StatusCode)
	}
	w.logged("upstream_malformed")
}

func TestTrailersBothWays(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		got := make(chan http.Header, 1)
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got <- r.Trailer
			rw.Header().Set("Trailer", "X-Announced")
			io.WriteString(rw, "body")
			rw.Header().Set("X-Announced", "1")
			rw.Header().Set(http.TrailerPrefix+"X-Surprise", "2")
			rw.Header().Set(http.TrailerPrefix+"Set-Cookie", "evil=1")
		})))
		req, _ := http.NewRequest("POST", "https://a.test/", io.NopCloser(strings.NewReader("x")))
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Checksum": {"abc"}}
		if !h2 { // net/http's HTTP/2 server refuses it by itself
			req.Trailer["Authorization"] = []string{"Basic eA=="}
		}
		res, err := w.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, announced := res.Trailer["X-Announced"]; !announced || len(res.Trailer) != 1 {
			t.Errorf("announced %v", res.Trailer)
		}
		if b := body(t, res); b != "body" {
			t.Errorf("body %q", b)
		}
		if sent := wait(t, got, "the request"); fmt.Sprint(sent) != "map[X-Checksum:[abc]]" {
			t.Errorf("request trailers %v", sent)
		}
		if fmt.Sprint(res.Trailer) != "map[X-Announced:[1] X-Surprise:[2]]" {
			t.Errorf("response trailers %v", res.Trailer)
		}
	})
}

func TestUnannouncedRequestTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})))
	w.say("a.test", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Late: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
	if sent := wait(t, got, "the request"); fmt.Sprint(sent) != "map[X-Late:[1]]" {
		t.Errorf("request trailers %v", sent)
	}
}

// pattern is an endless body that is cheap to make and has no short period.
type pattern struct {
	chunk [65521]byte
	at    int
}

func newPattern() *pattern {
	p := &pattern{}
	for i := range p.chunk {
		p.chunk[i] = byte(i*i>>5 ^ i)
	}
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.chunk[p.at:])
	p.at = (p.at + n) % len(p.chunk)
	return n, nil
}

func TestBigBodiesStreamInLittleMemory(t *testing.T) {
	const size = 64 << 20
	want := sha256.New()
	io.CopyN(want, newPattern(), size)
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
			sum := sha256.New()
			io.Copy(sum, r.Body)
			rw.Header().Set("X-Sum", hex.EncodeToString(sum.Sum(nil)))
			io.CopyN(rw, newPattern(), size)
		})))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		req, _ := http.NewRequest("POST", "https://a.test/", io.LimitReader(newPattern(), size))
		res, err := w.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if n, err := io.Copy(sum, res.Body); n != size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		res.Body.Close()
		runtime.ReadMemStats(&after)
		if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) || res.Header.Get("X-Sum") != hex.EncodeToString(want.Sum(nil)) {
			t.Error("the bytes changed on the way")
		}
		// Client, proxy and server together; one buffered body would be 64 MiB.
		if grown := int64(after.Sys) - int64(before.Sys); grown > 24<<20 {
			t.Errorf("memory grew by %d MiB", grown>>20)
		}
	})
}

func TestBreakingServerIsSeenAsABreak(t *testing.T) {
	for name, start1 := range map[string]string{
		"with length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"chunked":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, h2 bool) {
				w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
					http.ReadRequest(r)
					io.WriteString(c, start1)
				})))
				res, err := w.client(h2).Get("https://a.test/")
				if err == nil {
					defer res.Body.Close()
					var b []byte
					if b, err = io.ReadAll(res.Body); err == nil {
						t.Errorf("a clean end after %q", b)
					}
				}
				w.logged("upstream_truncated")
			})
		})
	}
}

func TestClientThatLeavesCancelsTheServersWork(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		arrived, cancelled := make(chan struct{}), make(chan struct{})
		w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
			close(cancelled)
		})))
		c := w.client(h2)
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.test/", nil)
		done := make(chan error, 1)
		go func() { _, err := c.Do(req); done <- err }()
		wait(t, arrived, "the request")
		leave()
		wait(t, cancelled, "the cancellation")
		wait(t, done, "the client")
		if entry := w.logged("client_gone"); entry["status"] != int64(0) {
			t.Errorf("logged %v", entry)
		}
		if n := w.logs.FilterLevelExact(2).Len(); n != 0 {
			t.Errorf("%d errors logged for a client that left", n)
		}
	})
}

func TestClientThatHalfClosesGetsNoEmptyAnswer(t *testing.T) {
	w := start(t, sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
	c := w.dial("a.test")
	write(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if err := c.CloseWrite(); err != nil { // taken for leaving, as nginx does
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	w.logged("client_gone")
}

func TestStaleConnectionsAreRetried(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "ok") }))
	s.Start()
	defer s.Close()
	w := start(t, sites("a.test", s.URL))
	c := w.client(false)
	for range 20 {
		if res := get(t, c, "https://a.test/"); res.StatusCode != 200 || body(t, res) != "ok" {
			t.Fatalf("status %d", res.StatusCode)
		}
		s.CloseClientConnections()
	}
}

func TestSlowServerIs504(t *testing.T) {
	cfg := sites("a.test", rawBackend(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }))
	cfg.Limits.ResponseHeaderTimeout = 50 * time.Millisecond
	w := start(t, cfg)
	if res := get(t, w.client(false), "https://a.test/"); res.StatusCode != 504 {
		t.Errorf("status %d", res.StatusCode)
	}
	w.logged("upstream_timeout")
}
