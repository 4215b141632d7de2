package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// The attack corpus for servers: what a broken or hostile server answers, judged
// by what clients see. None may see an answer that the server did not give to
// exactly this request, nor one that two readers could end in two places.

// answerAttack is what a server says to one request. "evil" stands wherever
// something must not reach a client.
type answerAttack struct {
	name, method, text string
	late               string // comes when the client has its answer
	ends               bool   // the server closes the connection behind text

	// want is "502", "cut" (no whole answer: the client can tell), or the status
	// and body of a whole one.
	want  string
	reuse bool // the connection to the server may be used again
}

const (
	fine    = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	evil    = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	okLine  = "HTTP/1.1 200 OK\r\n"
	okChunk = okLine + "Transfer-Encoding: chunked\r\n\r\n"
)

// answerAttacks lists the corpus.
func answerAttacks() (list []answerAttack) {
	// each adds a case for every text, followed by the answer that is to be
	// smuggled.
	each := func(name, want string, texts ...string) {
		for i, text := range texts {
			list = append(list, answerAttack{name: fmt.Sprintf("%s %d", name, i), text: text + evil, want: want})
		}
	}
	ending := func(name, want string, texts ...string) {
		for i, text := range texts {
			list = append(list, answerAttack{name: fmt.Sprintf("%s %d", name, i), text: text, want: want, ends: true})
		}
	}
	each("status line", "502", "HTTP/1.1 99 OK\r\n\r\n", "HTTP/1.1 1000 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 2 0 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
		"HTTP/1.2 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n", "HTTP/1.10 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\n\r\n",
		"evil\r\n\r\n", "<html>evil</html>", "\x00\x01\x02\x03\r\n\r\n", "\x16\x03\x01\x02\x00\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 000 OK\r\n\r\n", "HTTP/1.1 ٢٠٠ OK\r\n\r\n")
	each("field", "502", okLine+"X: a\r\n evil: b\r\n\r\n", okLine+"X: a\r\n\tb\r\n\r\n", okLine+" X: a\r\n\r\n", okLine+"X : a\r\n\r\n", okLine+": a\r\n\r\n", okLine+"X\r\n\r\n", okLine+"X y: a\r\n\r\n", okLine+"X\x00: a\r\n\r\n", okLine+"X: a\x00b\r\n\r\n", okLine+"X: a\rSet-Cookie: evil\r\n\r\n", okLine+"X: a\nSet-Cookie: evil\r\n\r\n",
		okLine+"X: a\r\r\n\r\n", okLine+"X: a\n\r\n", okLine+"X: a\r\n\n", okLine+"X: \x7f\r\n\r\n", okLine+"X: \x1b[2J\r\n\r\n", okLine+"(X): a\r\n\r\n", okLine+"X\xc3\xa4: a\r\n\r\n", okLine+"X: a\x0bb\r\n\r\n")
	for _, length := range []string{"-5", "+5", "5, 5", "5,6", "0x5", "5 5", "", "5.0", "5e0", "\"5\"", "5;", "18446744073709551621", "\x005", "٥", "1_0", "9223372036854775808"} {
		each(fmt.Sprintf("Content-Length %q", length), "502", okLine+"Content-Length: "+length+"\r\n\r\nhello")
	}
	each("lengths", "502", okLine+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", okLine+"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", okLine+"content-length: 0\r\nCONTENT-LENGTH: 5\r\n\r\nhello", okLine+"Content-Length : 5\r\n\r\nhello", okLine+"Content-Length:\r\n 5\r\n\r\nhello")
	for _, coding := range []string{"Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:", "Transfer-Encoding: ,chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked;q=1",
		"Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nTransfer-Encoding: cow"} {
		each(fmt.Sprintf("coding %q", coding), "502", okLine+coding+"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	}
	each("coding where none may be", "502", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	const hello = "5\r\nhello\r\n"
	each("chunk", "cut", okChunk+"-5\r\nhello\r\n0\r\n\r\n", okChunk+"+5\r\nhello\r\n0\r\n\r\n", okChunk+" 5\r\nhello\r\n0\r\n\r\n", okChunk+"5 \r\nhello\r\n0\r\n\r\n", okChunk+"0x5\r\nhello\r\n0\r\n\r\n", okChunk+"5\nhello\r\n0\r\n\r\n", okChunk+"\r\n5\r\nhello\r\n0\r\n\r\n", okChunk+"g\r\nhello\r\n0\r\n\r\n", okChunk+"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", okChunk+"10000000000000005\r\nhello\r\n0\r\n\r\n", okChunk+";\r\n\r\n",
		okChunk+"5\r\nhelloX\r\n0\r\n\r\n", okChunk+"5\r\nhello0\r\n\r\n", okChunk+"5\r\nhello\n0\r\n\r\n", okChunk+"4\r\nhello\r\n0\r\n\r\n", okChunk+"5;a\nb\r\nhello\r\n0\r\n\r\n", okChunk+"5;\x00\r\nhello\r\n0\r\n\r\n", okChunk+"5;"+strings.Repeat("a", 5000)+"\r\nhello\r\n0\r\n\r\n", okChunk+hello+"0\n\n", okChunk+hello+"0\r\n\n", okChunk+hello+"0\r\r\n\r\n", okChunk+hello+"-0\r\n\r\n")
	each("trailer", "cut", okChunk+hello+"0\r\nA : b\r\n\r\n", okChunk+hello+"0\r\nA: b\r\n evil\r\n\r\n", okChunk+hello+"0\r\nA: \x00\r\n\r\n", okChunk+hello+"0\r\nA: b\nC: evil\r\n\r\n", okChunk+hello+"0\r\nevil\r\n\r\n", okChunk+hello+"0\r\n"+strings.Repeat("A: evil\r\n", 40000)+"\r\n")
	each("announced trailer", "502", okLine+"Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n"+hello+"0\r\n\r\n", okLine+"Transfer-Encoding: chunked\r\nTrailer: x, Transfer-Encoding\r\n\r\n"+hello+"0\r\n\r\n")
	each("switch", "502", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\nhello")
	// Cut: quic-go's client takes fewer of those that pass than we let through.
	each("informational flood", "cut", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 1000), strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5000))
	each("informational", "502", "HTTP/1.1 103 Early Hints\r\nX: a\r\n evil: b\r\n\r\n", "HTTP/1.1 103 Early Hints\nX: a\n\n", "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	each("endless", "502", "HTTP/1.1 200 "+strings.Repeat("x", 1<<20), okLine+"X: "+strings.Repeat("x", 1<<20), okLine+strings.Repeat("X: y\r\n", 100000), okLine+strings.Repeat("x", 1<<20), strings.Repeat("\r\n", 100000))

	ending("early close", "502", "", "HTTP", "HTTP/1.1 200 OK", okLine, okLine+"Content-Length: 5", okLine+"Content-Length: 5\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n")
	ending("cut body", "cut", okLine+"Content-Length: 50\r\n\r\nhello", okLine+"Content-Length: 5\r\n\r\n", okLine+"Content-Length: 5000000\r\n\r\n"+strings.Repeat("x", 100000), okChunk, okChunk+"5", okChunk+"5\r\n", okChunk+"5\r\nhel", okChunk+"5\r\nhello", okChunk+hello, okChunk+hello+"0", okChunk+hello+"0\r\n", okChunk+hello+"0\r\nA: b\r\n")
	ending("until the end", "200 hello", "HTTP/1.0 200 OK\r\n\r\nhello", okLine+"\r\nhello", okLine+"Connection: close\r\n\r\nhello")

	// Whole answers, with something behind them that must be nobody's.
	each("surplus", "200 hello", fine, okChunk+hello+"0\r\n\r\n", okLine+"Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 103 Early Hints\r\n\r\n"+fine, "HTTP/1.1 100 Continue\r\n\r\n"+fine)
	each("surplus of an answer without a body", "200 ", okLine+"Content-Length: 0\r\n\r\n")
	each("body of an answer that has none", "204 ", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
	each("body of an answer that is not modified", "304 ", "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n")
	list = append(list,
		answerAttack{name: "body for HEAD", method: "HEAD", text: fine, want: "200 "},
		answerAttack{name: "answer behind that to HEAD", method: "HEAD", text: okLine + "Content-Length: 5\r\n\r\n" + evil, want: "200 "},
		answerAttack{name: "chunks for HEAD", method: "HEAD", text: okChunk + hello + "0\r\n\r\n", want: "200 "},
		answerAttack{name: "answer ahead of its request", text: fine, late: evil, want: "200 hello"},
		answerAttack{name: "half an answer ahead of its request", text: fine, late: "HTTP/1.1 2", want: "200 hello"},
		answerAttack{name: "line end ahead", text: fine, late: "\r\n", want: "200 hello"},
		answerAttack{name: "timeout told behind an answer", text: okChunk + hello + "0\r\n\r\n", late: "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil", want: "200 hello"},
		answerAttack{name: "answer behind the last", text: okLine + "Connection: close\r\nContent-Length: 5\r\n\r\nhello" + evil, want: "200 hello"},
		answerAttack{name: "trailers that are not", text: okLine + "Transfer-Encoding: chunked\r\nTrailer: Set-Cookie, Authorization, Host\r\n\r\n" + hello + "0\r\nSet-Cookie: evil\r\nAuthorization: evil\r\nHost: evil\r\n\r\n", want: "200 hello", reuse: true},
		answerAttack{name: "hop-by-hop", text: okLine + "Connection: X-Hop\r\nX-Hop: evil\r\nKeep-Alive: evil\r\nProxy-Authenticate: evil\r\nProxy-Connection: evil\r\nUpgrade: evil\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello", reuse: true},

		answerAttack{name: "control: length", text: fine, want: "200 hello", reuse: true},
		answerAttack{name: "control: chunks", text: okChunk + "2;a=b\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", want: "200 hello", reuse: true},
		answerAttack{name: "control: no reason", text: "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", want: "200 hello", reuse: true},
		answerAttack{name: "control: no blank for the reason", text: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello", reuse: true},
		answerAttack{name: "control: looks like an answer", text: okLine + "Content-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", want: "200 HTTP/1.1 200 OK\r\n\r\n", reuse: true},
		answerAttack{name: "control: 404", text: "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", want: "404 hello", reuse: true},
		answerAttack{name: "control: 599", text: "HTTP/1.1 599 Odd\r\nContent-Length: 5\r\n\r\nhello", want: "599 hello", reuse: true},
		answerAttack{name: "control: hints", text: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + fine, want: "200 hello", reuse: true},
		answerAttack{name: "control: HEAD", method: "HEAD", text: okLine + "Content-Length: 5\r\n\r\n", want: "200 ", reuse: true},
	)
	return list
}

// liar is a server that answers the first request by the case at hand, and any
// other in order.
type liar struct {
	attack answerAttack
	late   chan struct{} // closed when the client has its answer
	lately chan struct{} // closed when what is late has been sent

	mu     sync.Mutex
	reused []string // requests on the connection that the case had
}

func (l *liar) talk(c net.Conn, r *bufio.Reader) {
	lied := false
	for {
		head, err := readUntil(r, "\r\n\r\n")
		if err != nil {
			return
		}
		if lied {
			l.mu.Lock()
			l.reused = append(l.reused, head)
			l.mu.Unlock()
		}
		if !strings.Contains(head, " /attacked ") {
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"); err != nil {
				return
			}
			continue
		}
		lied = true
		_, _ = io.WriteString(c, l.attack.text) // the proxy may have had enough before its end
		if l.attack.ends {
			return
		}
		if l.attack.late != "" {
			<-l.late
			_, _ = io.WriteString(c, l.attack.late)
			close(l.lately)
		}
	}
}

// told is what a client gets to know: the status and the body, or that it was
// not all. Nothing evil may be in it.
func told(t *testing.T, client *http.Client, method, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://a.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "cut"
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	for _, fields := range []http.Header{res.Header, res.Trailer} {
		if all := fmt.Sprint(fields); strings.Contains(strings.ToLower(all), "evil") {
			t.Errorf("the client was told %s", all)
		}
	}
	if err != nil && res.StatusCode != http.StatusNotModified { // whose Content-Length net/http takes at its word over HTTP/2
		return "cut"
	}
	return fmt.Sprintf("%d %s", res.StatusCode, text)
}

func TestNoAnswerOfAHostileServerIsMistaken(t *testing.T) {
	attacks := answerAttacks()
	w := start(t, over3(sites()))
	protocols := map[string]*http.Client{"h1": w.client(false), "h2": w.client(true), "h3": w.client3("")}
	for _, c := range protocols {
		c.Timeout = 20 * time.Second
	}
	for protocol, client := range protocols {
		t.Run(protocol, func(t *testing.T) {
			other := protocols["h2"]
			if protocol == "h2" {
				other = protocols["h1"]
			}
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) { w.hear(t, a, client, other) })
			}
		})
	}
	w.stop()
	if len(attacks) < 60 {
		t.Errorf("only %d", len(attacks))
	}
	t.Logf("%d attacks and controls, over %d protocols", len(attacks), len(protocols))
}

// hear has a client ask for the case, and then it and another ask for more.
func (w *world) hear(t *testing.T, a answerAttack, client, other *http.Client) {
	l := &liar{attack: a, late: make(chan struct{}), lately: make(chan struct{})}
	w.commit(impatient(sites("a.test", rawBackend(t, l.talk))))
	method := a.method
	if method == "" {
		method = "GET"
	}
	got := told(t, client, method, "/attacked")
	switch a.want {
	case "502", "cut":
		// A body that broke before its first byte left may still become a 502.
		if !strings.HasPrefix(got, "502 ") && (a.want == "502" || got != "cut") || strings.Contains(got, "evil") {
			t.Errorf("the client got %q, want %s", got, a.want)
		}
	default:
		if got != a.want {
			t.Errorf("the client got %q, want %q", got, a.want)
		}
	}
	close(l.late)
	if a.late != "" {
		wait(t, l.lately, "what comes late")
	}
	for _, c := range []*http.Client{client, other, client} {
		if got := told(t, c, "GET", "/next"); got != "200 clean" {
			t.Errorf("afterwards a client got %q", got)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.reuse && len(l.reused) > 0 {
		t.Errorf("the connection was used again: %q", l.reused)
	}
	if a.reuse && len(l.reused) == 0 {
		t.Error("a control: the connection was not used again")
	}
}

// The documents say how many attacks and controls there are.
func TestTheNumberOfAttacksIsWhatTheDocumentsSay(t *testing.T) {
	h1, h2, h3, upstream := len(attacksH1()), len(streamAttacks()), len(streamAttacks())+len(frameAttacks3()), len(answerAttacks())
	want := fmt.Sprintf("%d attacks and controls", h1+h2+h3+upstream)
	for _, name := range []string{"../README.md", "../CHANGELOG.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q: %d over HTTP/1.1, %d over HTTP/2, %d over HTTP/3, %d answers of servers", name, want, h1, h2, h3, upstream)
		}
	}
}
