package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The attack corpus for HTTP/1.1. What counts is what a server behind the proxy
// saw, byte by byte: not one request more than the client is meant to have
// sent, none that two readers could read in two ways, nothing forged.

// attackH1 is what one client sends on one connection. "@" stands for a path that
// only this attack uses. Reaching is what the server may see, wholly and in this
// order; of what is refused in the middle of a body it may see the beginning.
type attackH1 struct {
	name, text string
	reaching   []string
}

const canary = "GET @/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

// attacksH1 lists the corpus.
func attacksH1() (list []attackH1) {
	// refused: nothing comes through, and nothing after it is parsed.
	refused := func(name string, texts ...string) {
		for i, text := range texts {
			list = append(list, attackH1{fmt.Sprintf("%s %d", name, i), text + canary, nil})
		}
	}
	// passes: exactly these come through, and the connection goes on.
	passes := func(name, text string, reaching ...string) {
		list = append(list, attackH1{name, text + "GET @/next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", append(reaching, "GET @/next")})
	}
	const (
		get     = "GET @/x HTTP/1.1\r\nHost: a.test\r\n"
		post    = "POST @/x HTTP/1.1\r\nHost: a.test\r\n"
		chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
		last    = "5\r\nhello\r\n0\r\n"
	)
	codings := []string{"Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: \x00chunked", "Transfer-Encoding: chunked\x00",
		"Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked'", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: cow",
		"Transfer-Encoding:\r\n chunked", "Transfer-Encoding: x\r\n chunked", "Transfer-Encoding\r\n: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked",
		"Transfer-Encoding:", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: chunked;q=0.5", "Transfer-Encoding: gzip, chunked", "Transfer_Encoding: chunked", "Transfer Encoding: chunked", "Transfer-Encoding: chunked\rX: y",
		"X: y\rTransfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked", "\xa0Transfer-Encoding: chunked", "Transfer-Encoding: \xa0chunked", "Transfer-Encoding: ch\xc3\xbcnked", "Transfer-Encoding; chunked", "Transfer-Encoding chunked"}
	for _, coding := range codings {
		refused("CL.TE "+strconv.Quote(coding), post+"Content-Length: 5\r\n"+coding+"\r\n\r\n0\r\n\r\n")
		refused("TE.CL "+strconv.Quote(coding), post+coding+"\r\nContent-Length: 4\r\n\r\n5c\r\n")
		if coding != codings[0] {
			refused("TE.TE "+strconv.Quote(coding), post+coding+"\r\n\r\n0\r\n\r\n")
		}
	}
	for _, length := range []string{"-1", "+5", "5, 5", "5,6", "0x5", "5 5", "", "5.0", "5e0", "\"5\"", "5;", "٥", "18446744073709551621", "4294967301000000000000", "1_0", "0b1", "\x005", "5\x00", "5\x0b", "\x0c5"} {
		refused("Content-Length "+strconv.Quote(length), post+"Content-Length: "+length+"\r\n\r\nhello")
	}
	refused("lengths", post+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", post+"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", post+"Content-Length: 44\r\ncontent-length: 0\r\n\r\n",
		post+"Content-Length : 5\r\n\r\nhello", post+"Content_Length: 44\r\n\r\n", post+"Content-Length:\r\n 5\r\n\r\nhello", post+" Content-Length: 5\r\n\r\nhello", get+"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello")
	refused("chunk size", chunked+"-5\r\nhello\r\n0\r\n\r\n", chunked+"+5\r\nhello\r\n0\r\n\r\n", chunked+" 5\r\nhello\r\n0\r\n\r\n", chunked+"5 \r\nhello\r\n0\r\n\r\n", chunked+"0x5\r\nhello\r\n0\r\n\r\n", chunked+"5\nhello\r\n0\r\n\r\n", chunked+"5\rhello\r\n0\r\n\r\n",
		chunked+"\r\n5\r\nhello\r\n0\r\n\r\n", chunked+"g\r\nhello\r\n0\r\n\r\n", chunked+"00000000000000005\r\nhello\r\n0\r\n\r\n", chunked+"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", chunked+"10000000000000005\r\nhello\r\n0\r\n\r\n", chunked+"5_\r\nhello\r\n0\r\n\r\n", chunked+";\r\n\r\n", chunked+"0\r\r\n\r\n", chunked+"0\n\n", chunked+"0\r\n\n", chunked+"0\n\r\n")
	refused("chunk data", chunked+"5\r\nhelloX\r\n0\r\n\r\n", chunked+"5\r\nhello\n0\r\n\r\n", chunked+"5\r\nhello\r0\r\n\r\n", chunked+"5\r\nhello0\r\n\r\n", chunked+"4\r\nhello\r\n0\r\n\r\n", chunked+"6\r\nhello\r\n0\r\n\r\n")
	refused("chunk extension", chunked+"5;a\nb\r\nhello\r\n0\r\n\r\n", chunked+"5;a\rb\r\nhello\r\n0\r\n\r\n", chunked+"5;\x00\r\nhello\r\n0\r\n\r\n", chunked+"5;"+strings.Repeat("a", 5000)+"\r\nhello\r\n0\r\n\r\n")
	refused("trailer", chunked+last+"Content-Length: 44\r\n\r\n", chunked+last+"Transfer-Encoding: chunked\r\n\r\n", chunked+last+"Host: b.test\r\n\r\n", chunked+last+"A: b\nC: d\r\n\r\n", chunked+last+"A : b\r\n\r\n", chunked+last+"A: b\r\n c\r\n\r\n", chunked+last+"GET @/smuggled HTTP/1.1\r\n\r\n", chunked+last+": a\r\n\r\n", chunked+last+"A: \x00\r\n\r\n", chunked+last+"A\r\n\r\n",
		post+"Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n"+last+"\r\n", post+"Transfer-Encoding: chunked\r\nTrailer: Transfer-Encoding\r\n\r\n"+last+"\r\n")
	refused("folding", get+"X: a\r\n b\r\n\r\n", get+"X: a\r\n\tb\r\n\r\n", "GET @/x HTTP/1.1\r\n Host: a.test\r\n\r\n", get+" X: a\r\n\r\n", get+"X:\r\n a\r\n\r\n", get+"X: a\r\n \r\n\r\n")
	refused("line end", "GET @/x HTTP/1.1\nHost: a.test\n\n", "GET @/x HTTP/1.1\r\nHost: a.test\n\r\n", get+"X: a\n\r\n", get+"\n", get+"X: a\r\n\n", "GET @/x HTTP/1.1\rHost: a.test\r\r", get+"X: a\rY: b\r\n\r\n", get+"X: a\r\r\n\r\n", get+"\r\r\n\r\n")
	refused("field", get+"X : a\r\n\r\n", get+": a\r\n\r\n", get+"X\r\n\r\n", get+"X y: a\r\n\r\n", get+"X\x00: a\r\n\r\n", get+"X: a\x00b\r\n\r\n", get+"X: a\x7f\r\n\r\n", get+"X: \x1b[2J\r\n\r\n", get+"(X): a\r\n\r\n", get+"X\xc3\xa4: a\r\n\r\n", get+"X@: a\r\n\r\n", get+"\x00\r\n\r\n")
	refused("request line", "GET  @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x  HTTP/1.1\r\nHost: a.test\r\n\r\n", " GET @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET\t@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x\tHTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/1.1 \r\nHost: a.test\r\n\r\n", "\r\nGET @/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET @/x HTTP/1.1 GET @/y HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x http/1.1\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/1.2\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/2.0\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/1.10\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/01.1\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/1.\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/-1.1\r\nHost: a.test\r\n\r\n",
		"G ET @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GE\x00T @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/\x00x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x#y HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x\rHTTP/1.1\r\nHost: a.test\r\n\r\n", "GET x@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", "CONNECT @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "TRACE @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/%zz HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET ftp://a.test@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET //a.test@/x HTTP/1.1 x\r\nHost: a.test\r\n\r\n")
	refused("HTTP/0.9", "GET @/x\r\n", "GET @/x\r\n\r\n", "GET @/x HTTP/0.9\r\n\r\n", "GET @/x \r\nHost: a.test\r\n\r\n")
	refused("HTTP/1.0", "POST @/x HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET @/x HTTP/1.0\r\n\r\n", "GET @/x HTTP/1.0\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "POST @/x HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello")
	refused("host", "GET @/x HTTP/1.1\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test@b.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test/y\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test b.test\r\n\r\n",
		"GET @/x HTTP/1.1\r\nHost:\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test:x\r\n\r\n", "GET @/x HTTP/1.1\r\nHost : a.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test\x00\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a..test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: %61.test\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET @/x HTTP/1.1\r\nHost: a.test\\b\r\n\r\n",
		"GET https://b.test@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET https://a.test@/x HTTP/1.1\r\nHost: b.test\r\n\r\n", "GET https://u:p@a.test@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET https://a.test@/x HTTP/1.1\r\n\r\n", "GET https:///@/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
	refused("lookalikes", get+"X_Forwarded_For: 6.6.6.6\r\n\r\n", get+"X-Forwarded_Proto: gopher\r\n\r\n", get+"x_real_ip: 6.6.6.6\r\n\r\n", get+"Remote_User: root\r\n\r\n", get+"X-Forwarded_Host: evil.test\r\n\r\n", get+"X_Request_Id: x\r\n\r\n")
	for _, option := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id", "Forwarded", "Host", "Authorization", "Cookie", "Content-Length", "Content-Type", "close, Authorization", "keep-alive, x-forwarded-host", "Cache-Control", "Origin"} {
		refusedConnection := attackH1{"Connection: " + option, get + "Connection: " + option + "\r\n\r\n", nil}
		list = append(list, refusedConnection)
	}
	refused("expectation", post+"Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello", post+"Content-Length: 5\r\nExpect: 100-continue, x\r\n\r\nhello")
	refused("large", get+"X: "+strings.Repeat("x", 70<<10)+"\r\n\r\n", "GET @/"+strings.Repeat("x", 70<<10)+" HTTP/1.1\r\nHost: a.test\r\n\r\n", get+strings.Repeat("X: y\r\n", 10000)+"\r\n")

	// Controls: what is right must pass, and the connection with it.
	passes("GET", get+"\r\n", "GET @/x")
	passes("HEAD", "HEAD @/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "HEAD @/x")
	passes("POST", post+"Content-Length: 5\r\n\r\nhello", "POST @/x hello")
	passes("POST of what looks like a request", post+"Content-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", "POST @/x GET /smuggled HTTP/1.1\r\n\r\n")
	passes("chunks", chunked+"5\r\nhello\r\n6;x=\"y\"\r\n world\r\n000\r\n\r\n", "POST @/x hello world")
	passes("chunks of what looks like an end", chunked+"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "POST @/x 0\r\n\r\n")
	passes("Chunked", post+"Transfer-Encoding: \t Chunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST @/x hello")
	passes("trailers", chunked+last+"X-Sum: 1\r\nAuthorization: Basic eA==\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\n\r\n", "POST @/x hello")
	passes("forged", get+"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nX-Real-Ip: 6.6.6.6\r\nX-Request-Id: x\r\nForwarded: for=6.6.6.6\r\n\r\n", "GET @/x")
	passes("underscores", get+"X_Other: 1\r\n\r\n", "GET @/x")
	passes("hop-by-hop", get+"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\n\r\n", "GET @/x")
	passes("h2c", get+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "GET @/x")
	passes("h2c among others", get+"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", "GET @/x")
	passes("H2C", get+"Connection: Upgrade\r\nUpgrade: H2C\r\n\r\n", "GET @/x")
	passes("two upgrades", get+"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", "GET @/x")
	passes("upgrade without Connection", get+"Upgrade: websocket\r\n\r\n", "GET @/x")
	passes("upgrade to TLS", get+"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", "GET @/x")
	passes("upgrade to HTTP/2.0", get+"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", "GET @/x")
	passes("upgrade with a body", post+"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", "POST @/x hello")
	passes("absolute", "GET https://a.test@/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET @/x")
	passes("Host in capitals", "GET @/x HTTP/1.1\r\nHost: A.TEST\r\n\r\n", "GET @/x")
	passes("Host with port", "GET @/x HTTP/1.1\r\nHost: a.test:443\r\n\r\n", "GET @/x")
	passes("HTTP/1.0 kept", "GET @/x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", "GET @/x")
	passes("pipelined", get+"\r\n"+post+"Content-Length: 5\r\n\r\nhello"+get+"\r\n", "GET @/x", "POST @/x hello", "GET @/x")
	passes("expected", post+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", "POST @/x hello")
	passes("odd but right", "GET @/a%2F%0d%0a?x=%00&y=\xff HTTP/1.1\r\nhOsT: a.test\r\nX-Empty:\r\nX-Latin: \xe9\r\n\r\n", "GET @/a%2F%0d%0a?x=%00&y=\xff")
	list = append(list,
		attackH1{"HTTP/1.0 ends", "GET @/x HTTP/1.0\r\nHost: a.test\r\n\r\n" + canary, []string{"GET @/x"}},
		attackH1{"close ends", get + "Connection: close\r\n\r\n" + canary, []string{"GET @/x"}},
		attackH1{"right, then wrong", get + "\r\n" + post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + canary, []string{"GET @/x"}},
		attackH1{"right, then garbage", get + "\r\n\x00\x01\x02\r\n\r\n" + canary, []string{"GET @/x"}},
		attackH1{"body cut short", post + "Content-Length: 500\r\n\r\nhello", nil},
		attackH1{"chunks cut short", chunked + "5\r\nhello\r\n", nil},
		attackH1{"another site", "GET @/x HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n" + canary, nil},
	)
	return list
}

// witness is a server that keeps every byte it is sent, and answers what it can
// read by the plainest of rules.
type witness struct {
	mu    sync.Mutex
	whole []string // "METHOD target body", in order for each connection
	wrong []string
}

func (w *witness) talk(c net.Conn, r *bufio.Reader) {
	for {
		var raw bytes.Buffer
		head, err := readUntil(r, "\r\n\r\n")
		raw.WriteString(head)
		if err != nil {
			if head != "" {
				w.complain("an incomplete head", head)
			}
			return
		}
		request, bad, err := readPlainly(head, r)
		w.mu.Lock()
		if bad != "" {
			w.wrong = append(w.wrong, bad+": "+head)
		}
		if err == nil {
			w.whole = append(w.whole, request)
		}
		w.mu.Unlock()
		if err != nil {
			return // a body that was cut off: the proxy closed the connection
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

func (w *witness) complain(what, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, what+": "+text)
}

func readUntil(r *bufio.Reader, end string) (string, error) {
	var b []byte
	for !bytes.HasSuffix(b, []byte(end)) {
		c, err := r.ReadByte()
		if err != nil {
			return string(b), err
		}
		b = append(b, c)
	}
	return string(b), nil
}

// readPlainly reads a request and says what is wrong with its head, if
// anything is.
func readPlainly(head string, r *bufio.Reader) (request, bad string, err error) {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" {
		return "", "the request line", io.ErrUnexpectedEOF
	}
	request = parts[0] + " " + parts[1]
	h := make(textproto.MIMEHeader)
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok, strings.ContainsAny(name, " \t_()@:\x00"), name == "", strings.ContainsAny(value, "\r\n\x00\x7f\x0b\x1b"):
			bad = "the line " + strconv.Quote(line)
		}
		h.Add(name, value)
	}
	bad += judgeH1(h)
	body := ""
	switch {
	case len(h["Transfer-Encoding"]) > 0:
		body, err = readChunksPlainly(r)
	case len(h["Content-Length"]) > 0:
		n, _ := strconv.Atoi(h.Get("Content-Length"))
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		body = string(b)
	}
	if body != "" {
		request += " " + body
	}
	return request, bad, err
}

// judgeH1 says what should not have come through.
func judgeH1(h textproto.MIMEHeader) string {
	for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "https", "Host": "", "X-Forwarded-Host": "", "X-Request-Id": ""} {
		if values := h[textproto.CanonicalMIMEHeaderKey(name)]; len(values) != 1 || want != "" && values[0] != want {
			return fmt.Sprintf("%s is %q", name, values)
		}
	}
	if len(h["Transfer-Encoding"])+len(h["Content-Length"]) > 1 || len(h["Transfer-Encoding"]) == 1 && h["Transfer-Encoding"][0] != "chunked" {
		return "the framing"
	}
	if len(h.Get("X-Request-Id")) != 32 {
		return "the request id"
	}
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Forwarded", "X-Forwarded-Port", "Upgrade", "Http2-Settings", "Connection", "Te"} {
		if len(h[name]) > 0 {
			return name + " came through"
		}
	}
	return ""
}

func readChunksPlainly(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		line, err := readUntil(r, "\r\n")
		if err != nil {
			return "", err
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
		if err != nil {
			return "", err
		}
		if n == 0 {
			trailers := ""
			for line != "" {
				if line, err = readUntil(r, "\r\n"); err != nil {
					return "", err
				}
				if line == "\r\n" {
					break
				}
				trailers += line
			}
			if trailers != "" && trailers != "X-Sum: 1\r\n" {
				return "", fmt.Errorf("trailers %q", trailers)
			}
			return body.String(), nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		body.Write(b[:n])
	}
}

func TestNothingOfTheAttackCorpusComesThrough(t *testing.T) {
	attacks := attacksH1()
	var saw witness
	w := start(t, sites("a.test", rawBackend(t, saw.talk), "b.test", "http://127.0.0.1:1"))
	var clients sync.WaitGroup
	limit := make(chan struct{}, 16)
	answers := make([][]int, len(attacks))
	for i, a := range attacks {
		path := fmt.Sprintf("/case%d", i)
		text := placed(a.text, path)
		limit <- struct{}{}
		c := w.dial("a.test")
		clients.Go(func() {
			defer func() { <-limit }()
			defer c.Close()
			_, _ = io.WriteString(c, text) // it may be refused before all of it is sent
			_ = c.CloseWrite()
			r := bufio.NewReader(c)
			for {
				res, err := http.ReadResponse(r, &http.Request{Method: strings.Fields(text + " x")[0]})
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				if res.StatusCode >= 200 {
					answers[i] = append(answers[i], res.StatusCode)
				}
			}
		})
	}
	clients.Wait()
	w.stop()
	saw.mu.Lock()
	defer saw.mu.Unlock()
	for _, bad := range saw.wrong {
		t.Errorf("the server saw %s", bad)
	}
	for i, a := range attacks {
		path := fmt.Sprintf("/case%d", i)
		var want, got []string
		for _, r := range a.reaching {
			want = append(want, placed(r, path))
		}
		for _, r := range saw.whole {
			if strings.Contains(r, path+"/") {
				got = append(got, r)
			}
		}
		slices.Sort(want) // kept connections to the server may overtake one another
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the server saw %q, want %q (answers %v)\n%.300q", a.name, got, want, answers[i], a.text)
		}
		if len(want) == 0 && slices.Contains(answers[i], 200) {
			t.Errorf("%s: answers %v", a.name, answers[i])
		}
	}
	if len(attacks) < 250 {
		t.Errorf("only %d", len(attacks))
	}
	t.Logf("%d attacks and controls", len(attacks))
}

// placed puts a path where "@" stands; a literal one in front of a host stays.
func placed(text, path string) string {
	return strings.ReplaceAll(text, "@/", path+"/")
}
