package h1

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// valid is traffic that everybody must accept, and understand alike.
func valid() []string {
	var list []string
	for _, path := range []string{"/", "/length", "/chunks", "/large", "/204", "/404", "/599", "/hints", "/trailers", "/close", "/copy", "/values"} {
		for _, version := range []string{"1.1", "1.0"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PROPFIND"} {
				if version == "1.0" && (path == "/hints" || path == "/trailers") || method == "HEAD" && (path == "/large" || path == "/copy") {
					continue // only net/http sends hints and announces trailers to HTTP/1.0, and only we know the length then
				}
				body := ""
				if method == "POST" {
					body = "Content-Length: 3\r\n"
				}
				text := method + " " + path + " HTTP/" + version + "\r\nHost: a.test\r\n" + body + "\r\n"
				if body != "" {
					text += "abc"
				}
				list = append(list, text, text+get)
			}
		}
	}
	const post = "POST / HTTP/1.1\r\nHost: a.test\r\n"
	return append(list,
		get+get+get,
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"GET /length HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"+get,
		"GET /chunks HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: foo, Close\r\n\r\n"+get,
		"GET /a%2Fb//c/%7e?x=%20&y;z HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
		"GET //a//b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /? HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /a??b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /(x)!*'\"<>[]{}|\\^` HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /\xc3\xa4?\xff HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /$&+,:;=@-._~ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET /../a/./b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"OPTIONS /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET http://a.test?x HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET HTTPS://A.test:1/x HTTP/1.1\r\nHost: a.TEST:1\r\n\r\n",
		"GET http://a.test/x HTTP/1.0\r\n\r\n",
		"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.1\r\nhost: a.test\r\nACCEPT: */*\r\nx-a: 1\r\nX-A: 2\r\nx-A:\r\nX-b:\t y \t\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nX-Latin: \xe9t\xe9\r\nX!#$%&'*+-.^_`|~9: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nPragma: no-cache\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab"+get,
		post+"Content-Length: 00003\r\n\r\nabc"+get,
		post+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+get,
		post+"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+get,
		post+"Transfer-Encoding: chunked\r\n\r\n3;ext=\"a\"\r\nabc\r\n00A;x\r\n0123456789\r\n0;last\r\n\r\n"+get,
		post+"Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Other\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Unknown: 2\r\n\r\n"+get,
		post+"Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: 1\r\nCookie: 2\r\n\r\n"+get,
		post+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\nx\r\n", 300)+"0\r\n\r\n"+get,
		post+"Transfer-Encoding: chunked\r\n\r\n2710\r\n"+strings.Repeat("z", 10000)+"\r\n0\r\n\r\n"+get,
		post+"Content-Length: 10000\r\n\r\n"+strings.Repeat("z", 10000)+get,
		post+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"+get,
		post+"Content-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello",
		"GET / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTrailer: X\r\n\r\n"+get,
		"GET /"+strings.Repeat("a", 8000)+" HTTP/1.1\r\nHost: a.test\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: "+strings.Repeat("a", 20000)+"\r\n\r\n"+get,
		"GET / HTTP/1.1\r\nHost: a.test\r\n"+strings.Repeat("A: b\r\n", 120)+"\r\n"+get,
	)
}

func TestValidTrafficIsSeenAsByNetHTTP(t *testing.T) {
	for _, script := range valid() {
		for _, piece := range []int{0, 1} {
			if len(script) > 5000 && piece == 1 {
				continue
			}
			if len(check(t, []byte(script), piece)) != len(strictly([]byte(script))) && !strings.Contains(strings.ToLower(script), "close") && !strings.Contains(script, "HTTP/1.0") {
				t.Errorf("%.300q: not all of it was accepted", script)
			}
		}
		responses(t, []byte(script))
	}
}

// FuzzRequests: whatever is accepted is seen by net/http's server, and by a
// second strict reader, in the same way.
func FuzzRequests(f *testing.F) {
	for _, script := range valid() {
		if len(script) < 1000 {
			f.Add([]byte(script), true)
		}
	}
	for _, scripts := range refused() {
		for _, script := range scripts {
			if len(script) < 1000 {
				f.Add([]byte(script), false)
			}
		}
	}
	f.Fuzz(func(t *testing.T, script []byte, trickle bool) {
		piece := 0
		if trickle {
			piece = 1
		}
		check(t, script, piece)
	})
}

// observeLimited does what observeOurs does, with small limits.
func observeLimited(script []byte, piece int) ([]seen, []byte) {
	var rec recorder
	c := newScripted(script, piece)
	New(Options{Handler: &rec, Logger: zap.NewNop(), HeaderBytes: 200, HeaderCount: 3, TargetBytes: 10}).Serve(c)
	return rec.list, c.heard.Bytes()
}
