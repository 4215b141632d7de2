package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tape is an HTTP/1.1 server that writes down every byte that it gets, and
// reads requests strictly: what it sees is what a backend would act on.
type tape struct {
	address string

	mu       sync.Mutex
	open     int             // connections
	accepted map[string]bool // addresses of their other ends
	bytes    bytes.Buffer
	requests []taped
	broken   []string // what was no request
}

type taped struct {
	head  string // lines without the empty one
	body  string
	whole bool
}

func newTape(t testing.TB) *tape {
	p := &tape{accepted: make(map[string]bool)}
	p.address = rawBackend(t, func(c net.Conn, _ *bufio.Reader) { p.serve(c) })
	return p
}

// serve reads requests from a connection; rawBackend's reader is passed by, so
// that nothing is lost in it.
func (p *tape) serve(c net.Conn) {
	p.count(c, 1)
	defer p.count(c, -1)
	r := bufio.NewReader(io.TeeReader(c, lockedWriter{p}))
	for {
		one, err := readStrictly(r)
		if one.head == "" && errors.Is(err, io.EOF) {
			return
		}
		p.mu.Lock()
		p.requests = append(p.requests, one)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			p.broken = append(p.broken, err.Error()+": "+one.head)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

func (p *tape) count(c net.Conn, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += by
	p.accepted[c.RemoteAddr().String()] = true
}

type lockedWriter struct{ p *tape }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.bytes.Write(b)
}

// take returns what came, when every connection has ended. One of its own comes
// behind all that the proxy has opened.
func (p *tape) take(t *testing.T) (requests []taped, broken []string, size int) {
	t.Helper()
	last, err := net.Dial("tcp", strings.TrimPrefix(p.address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	own := last.LocalAddr().String()
	_ = last.Close()
	eventually(t, "the end of all connections to the server", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.accepted[own] && p.open == 0
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests, p.broken, p.bytes.Len()
}

var (
	strictLine  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+ [^\\x00-\\x20\\x7f]+ HTTP/1\\.1$")
	strictField = regexp.MustCompile("^([A-Za-z0-9!#$%&'*+.^_`|~-]+): ([^\\x00-\\x08\\x0a-\\x1f\\x7f]*)$")
	strictSize  = regexp.MustCompile("^[0-9a-fA-F]{1,8}$")
)

// readStrictly reads a request as RFC 9112 has it and nothing else. The error is
// io.EOF or io.ErrUnexpectedEOF if the connection ended, before or within it.
func readStrictly(r *bufio.Reader) (taped, error) {
	var one taped
	var lines []string
	for {
		line, err := strictText(r)
		if err != nil {
			return one, err
		}
		if line == "" {
			break
		}
		lines = append(lines, line)
		one.head = strings.Join(lines, "\n")
	}
	if len(lines) == 0 || !strictLine.MatchString(lines[0]) {
		return one, errors.New("no request line")
	}
	count := map[string]int{}
	length, chunked := 0, false
	for _, line := range lines[1:] {
		parts := strictField.FindStringSubmatch(line)
		if parts == nil {
			return one, fmt.Errorf("no field: %q", line)
		}
		name, value := strings.ToLower(parts[1]), parts[2]
		count[name]++
		switch name {
		case "content-length":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return one, err
			}
			length = int(n)
		case "transfer-encoding":
			if value != "chunked" {
				return one, fmt.Errorf("Transfer-Encoding %q", value)
			}
			chunked = true
		}
	}
	if count["host"] != 1 || count["content-length"] > 1 || count["transfer-encoding"] > 1 || chunked && count["content-length"] > 0 {
		return one, fmt.Errorf("fields that frame or route: %v", count)
	}
	var err error
	if chunked {
		one.body, err = strictChunks(r)
	} else {
		body := make([]byte, length)
		_, err = io.ReadFull(r, body)
		one.body = string(body)
	}
	one.whole = err == nil
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return one, err
}

func strictText(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if line != "" {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("bare CR or LF: %q", line)
	}
	return line, nil
}

func strictChunks(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		line, err := strictText(r)
		if err != nil {
			return body.String(), err
		}
		if !strictSize.MatchString(line) {
			return body.String(), fmt.Errorf("chunk size %q", line)
		}
		size, _ := strconv.ParseUint(line, 16, 32)
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&body, r, int64(size)); err != nil {
			return body.String(), err
		}
		if line, err = strictText(r); err != nil || line != "" {
			return body.String(), errors.Join(err, fmt.Errorf("after a chunk: %q", line))
		}
	}
	for {
		line, err := strictText(r)
		if err != nil || line == "" {
			return body.String(), err
		}
		if !strictField.MatchString(line) {
			return body.String(), fmt.Errorf("trailer %q", line)
		}
		body.WriteString("|" + line)
	}
}

// framed speaks HTTP/2 by hand.
type framed struct {
	t       testing.TB
	conn    *tls.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	encoded bytes.Buffer
}

func (w *world) framed() *framed {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.https, &tls.Config{ServerName: "a.test", RootCAs: w.roots, NextProtos: []string{"h2"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	f := &framed{t: w.t, conn: c, framer: http2.NewFramer(c, c)}
	f.framer.AllowIllegalWrites = true
	f.encoder = hpack.NewEncoder(&f.encoded)
	write(w.t, c, http2.ClientPreface)
	if err := f.framer.WriteSettings(); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// headers sends a field section; fields are pairs of name and value.
func (f *framed) headers(stream uint32, end bool, fields ...string) {
	f.encoded.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	_ = f.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: f.encoded.Bytes(), EndHeaders: true, EndStream: end,
	})
}

// outcome says how a stream ended: a status, "reset CODE", "goaway CODE" or
// "closed".
func (f *framed) outcome(stream uint32) string {
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	status := ""
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return status + "closed"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID != stream {
				continue
			}
			if s := frame.PseudoValue("status"); s[0] != '1' {
				status = s
			}
			if frame.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if frame.StreamID == stream && frame.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return fmt.Sprint(status, "reset ", frame.ErrCode)
			}
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return fmt.Sprint("goaway ", frame.ErrCode)
			}
		}
	}
}

// streamAttack is a request over HTTP/2, and what must become of it.
type streamAttack struct {
	name   string
	fields []string // as changed by with and without
	body   []string // DATA frames; nil: the head ends the stream
	trail  []string
	passes string // what the server must see; "" if it must not see a whole request, "maybe" if it may see one
}

// ask returns the fields of a plain GET, changed: "name", "value" pairs replace
// those of that name or come last; a value of "-" takes the field away.
func ask(changes ...string) []string {
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/x"}
next:
	for i := 0; i < len(changes); i += 2 {
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == changes[i] && strings.HasPrefix(changes[i], ":") {
				if changes[i+1] == "-" {
					fields = append(fields[:j], fields[j+2:]...)
				} else {
					fields[j+1] = changes[i+1]
				}
				continue next
			}
		}
		fields = append(fields, changes[i], changes[i+1])
	}
	return fields
}

func post(changes ...string) []string { return ask(append([]string{":method", "POST"}, changes...)...) }

func streamAttacks() []streamAttack {
	list := []streamAttack{
		{name: "control: GET", fields: ask(), passes: "GET /x HTTP/1.1"},
		{name: "control: field", fields: ask("x-a", "b c"), passes: "X-A: b c"},
		{name: "control: empty value", fields: ask("x-a", ""), passes: "X-A: "},
		{name: "control: TE trailers", fields: ask("te", "trailers"), passes: "Te: trailers"},
		{name: "control: Host as :authority", fields: ask("host", "a.test"), passes: "Host: a.test"},
		{name: "control: Host alone", fields: ask(":authority", "-", "host", "a.test"), passes: "Host: a.test"},
		{name: "control: split cookies", fields: ask("cookie", "a=1", "cookie", "b=2"), passes: "Cookie: a=1; b=2"},
		{name: "control: POST", fields: post("content-length", "5"), body: []string{"he", "llo"}, passes: "Content-Length: 5"},
		{name: "control: POST of unknown length", fields: post(), body: []string{"he", "llo"}, passes: "Transfer-Encoding: chunked"},
		{name: "control: empty DATA at the end", fields: post("content-length", "5"), body: []string{"hello", ""}, passes: "Content-Length: 5"},
		{name: "control: body that looks like a request", fields: post("content-length", "29"),
			body: []string{"0\r\n\r\nGET /smuggled HTTP/1.1\r\n"}, passes: "Content-Length: 29"},
		{name: "control: trailers", fields: post("trailer", "x-sum"), body: []string{"a"}, trail: []string{"x-sum", "1"}, passes: "X-Sum: 1"},
		{name: "control: query", fields: ask(":path", "/x?a=%0d%0a"), passes: "GET /x?a=%0d%0a HTTP/1.1"},

		{name: "path: blank", fields: ask(":path", "/x HTTP/1.1")},
		{name: "path: request line", fields: ask(":path", "/x HTTP/1.1\r\nHost: b.test\r\n\r\nGET /y")},
		{name: "path: tab", fields: ask(":path", "/x\ty")},
		{name: "path: fragment", fields: ask(":path", "/x#y")},
		{name: "path: empty", fields: ask(":path", "")},
		{name: "path: none", fields: ask(":path", "-")},
		{name: "path: no slash", fields: ask(":path", "x")},
		{name: "path: absolute", fields: ask(":path", "https://b.test/x")},
		{name: "path: star for GET", fields: ask(":path", "*")},
		{name: "path: twice", fields: append(ask(), ":path", "/y")},
		{name: "path: impossible escape", fields: ask(":path", "/%zz")},
		{name: "method: empty", fields: ask(":method", "")},
		{name: "method: none", fields: ask(":method", "-")},
		{name: "method: blank", fields: ask(":method", "GET /y HTTP/1.1\r\nX:")},
		{name: "method: twice", fields: append([]string{":method", "GET"}, ask()...)},
		{name: "method: CONNECT", fields: []string{":method", "CONNECT", ":authority", "a.test:443"}},
		{name: "method: CONNECT with path", fields: ask(":method", "CONNECT")},
		{name: "method: TRACE", fields: ask(":method", "TRACE")},
		{name: "scheme: none", fields: ask(":scheme", "-")},
		{name: "scheme: ftp", fields: ask(":scheme", "ftp")},
		{name: "scheme: target", fields: ask(":scheme", "https://b.test/y?")},
		{name: "scheme: twice", fields: append([]string{":scheme", "https"}, ask()...)},
		{name: "authority: none", fields: ask(":authority", "-")},
		{name: "authority: empty", fields: ask(":authority", "")},
		{name: "authority: another site", fields: ask(":authority", "b.test")},
		{name: "authority: user", fields: ask(":authority", "b.test@a.test")},
		{name: "authority: path", fields: ask(":authority", "a.test/y")},
		{name: "authority: blank", fields: ask(":authority", "a.test b.test")},
		{name: "authority: twice", fields: append([]string{":authority", "a.test"}, ask()...)},
		{name: "Host: another", fields: ask("host", "b.test")},
		{name: "Host: another port", fields: ask("host", "a.test:444")},
		{name: "Host: twice", fields: ask("host", "a.test", "host", "a.test")},
		{name: "Host: two, no authority", fields: ask(":authority", "-", "host", "a.test", "host", "b.test")},
		{name: "pseudo: unknown", fields: append([]string{":x", "y"}, ask()...)},
		{name: "pseudo: status", fields: append([]string{":status", "200"}, ask()...)},
		{name: "pseudo: late", fields: []string{":method", "GET", ":scheme", "https", "x-a", "b", ":authority", "a.test", ":path", "/x"}},
		{name: "pseudo: late authority", fields: append(ask("x-a", "b"), ":authority", "b.test")},
		{name: "pseudo: protocol without CONNECT", fields: ask(":protocol", "websocket")},
		{name: "pseudo: protocol that is not served", fields: ask(":method", "CONNECT", ":protocol", "connect-udp")},
		{name: "pseudo: in trailers", fields: post(), body: []string{"a"}, trail: []string{":path", "/y"}},

		{name: "name: upper case", fields: ask("X-A", "b")},
		{name: "name: empty", fields: ask("", "b")},
		{name: "name: blank", fields: ask("x a", "b")},
		{name: "name: blank at the end", fields: ask("transfer-encoding ", "chunked")},
		{name: "name: colon", fields: ask("x-a: b\r\ny", "z")},
		{name: "name: field in it", fields: ask("x-a: b\r\nhost", "b.test")},
		{name: "name: NUL", fields: ask("x\x00a", "b")},
		{name: "name: not ASCII", fields: ask("x-\xc3\xa4", "b")},
		{name: "value: blank before", fields: ask("x-a", " b")},
		{name: "value: tab behind", fields: ask("x-a", "b\t")},

		{name: "framing: Transfer-Encoding", fields: post("transfer-encoding", "chunked"), body: []string{"0\r\n\r\nGET /y HTTP/1.1\r\n\r\n"}},
		{name: "framing: Transfer-Encoding identity", fields: post("transfer-encoding", "identity"), body: []string{"a"}},
		{name: "framing: Transfer-Encoding and length", fields: post("transfer-encoding", "chunked", "content-length", "5"), body: []string{"hello"}},
		{name: "framing: Transfer_Encoding", fields: post("transfer_encoding", "chunked"), body: []string{"a"}},
		{name: "framing: Content_Length", fields: post("content_length", "0"), body: []string{"a"}},
		{name: "framing: Connection", fields: ask("connection", "close")},
		{name: "framing: Connection names a field", fields: ask("connection", "x-forwarded-for")},
		{name: "framing: Keep-Alive", fields: ask("keep-alive", "timeout=5")},
		{name: "framing: Proxy-Connection", fields: ask("proxy-connection", "keep-alive")},
		{name: "framing: Upgrade", fields: ask("upgrade", "h2c")},
		{name: "framing: HTTP2-Settings", fields: ask("http2-settings", "AAMAAABkAAQAAP__")},
		{name: "framing: TE gzip", fields: ask("te", "gzip")},
		{name: "framing: TE trailers and more", fields: ask("te", "trailers, chunked")},

		{name: "length: more content", fields: post("content-length", "3"), body: []string{"hello"}},
		{name: "length: more content, later", fields: post("content-length", "5"), body: []string{"hello", "GET /y HTTP/1.1\r\n\r\n"}, passes: "maybe"},
		{name: "length: less content", fields: post("content-length", "9"), body: []string{"hello"}},
		{name: "length: none at all", fields: post("content-length", "9")},
		{name: "length: 0 with content", fields: post("content-length", "0"), body: []string{"GET /y HTTP/1.1\r\n\r\n"}, passes: "maybe"},
		{name: "length: twice", fields: post("content-length", "5", "content-length", "5"), body: []string{"hello"}},
		{name: "length: two", fields: post("content-length", "5", "content-length", "6"), body: []string{"hello"}},
		{name: "length: list", fields: post("content-length", "5, 5"), body: []string{"hello"}},
		{name: "length: plus", fields: post("content-length", "+5"), body: []string{"hello"}},
		{name: "length: minus", fields: post("content-length", "-5"), body: []string{"hello"}},
		{name: "length: hexadecimal", fields: post("content-length", "0x5"), body: []string{"hello"}},
		{name: "length: too large", fields: post("content-length", "99999999999999999999"), body: []string{"hello"}},
		{name: "length: empty", fields: post("content-length", ""), body: []string{"hello"}},
		{name: "length: less, then trailers", fields: post("content-length", "9"), body: []string{"hello"}, trail: []string{"x-a", "b"}},
		{name: "trailers: connection", fields: post("trailer", "connection"), body: []string{"a"}, trail: []string{"connection", "close"}},
		{name: "trailers: break", fields: post("trailer", "x-a"), body: []string{"a"}, trail: []string{"x-a", "b\r\n\r\nGET /y HTTP/1.1"}},
	}
	for _, c := range []string{"\r\n", "\r", "\n", "\x00", "\x01", "\x0b", "\x0c", "\x1b", "\x7f"} {
		list = append(list,
			streamAttack{name: fmt.Sprintf("value: %q", c), fields: ask("x-a", "b"+c+"transfer-encoding: chunked")},
			streamAttack{name: fmt.Sprintf("path: %q", c), fields: ask(":path", "/x"+c+"y")},
			streamAttack{name: fmt.Sprintf("authority: %q", c), fields: ask(":authority", "a.test"+c+"x: y")},
			streamAttack{name: fmt.Sprintf("cookie: %q", c), fields: ask("cookie", "a=1"+c, "cookie", "b=2")},
		)
	}
	for _, name := range []string{"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "x-request-id"} {
		list = append(list, streamAttack{name: "forged: " + name, fields: ask(name, "forged"), passes: "GET /x HTTP/1.1"},
			streamAttack{name: "forged with _: " + name, fields: ask(strings.ReplaceAll(name, "-", "_"), "forged"), passes: "maybe"},
			streamAttack{name: "forged trailer: " + name, fields: post("trailer", name), body: []string{"a"}, trail: []string{name, "forged"}, passes: "POST /x HTTP/1.1"})
	}
	return list
}

// What a client of HTTP/2 says must not become something else in HTTP/1.1.
func TestHTTP2AttacksJudgedByWhatTheServerSaw(t *testing.T) {
	w := start(t, sites())
	list := streamAttacks()
	if len(list) < 60 {
		t.Fatalf("only %d cases", len(list))
	}
	for _, a := range list {
		t.Run(a.name, func(t *testing.T) {
			tape := newTape(t)
			w.commit(sites("a.test", tape.address))
			f := w.framed()
			f.headers(1, a.body == nil && a.trail == nil, a.fields...)
			for i, piece := range a.body {
				_ = f.framer.WriteData(1, a.trail == nil && i == len(a.body)-1, []byte(piece))
			}
			if a.trail != nil {
				f.headers(1, true, a.trail...)
			}
			outcome := f.outcome(1)
			f.conn.Close()
			w.commit(sites()) // ends the connections to the tape
			judgeStream(t, tape, a, outcome)
		})
	}
}

func judgeStream(t *testing.T, tape *tape, a streamAttack, outcome string) {
	requests, broken, size := tape.take(t)
	for _, b := range broken {
		t.Errorf("%s: the server saw what is no request: %s", outcome, b)
	}
	whole := 0
	for _, r := range requests {
		if !r.whole {
			continue
		}
		whole++
		if strings.Contains(r.head+r.body, "forged") {
			t.Errorf("a claim of the client's got through: %q %q", r.head, r.body)
		}
		if !strings.Contains(r.head, "X-Forwarded-For: 127.0.0.1") {
			t.Errorf("without our own claims: %q", r.head)
		}
	}
	switch {
	case a.passes == "maybe":
		if whole > 1 {
			t.Errorf("%d requests", whole)
		}
	case a.passes != "":
		if whole != 1 || outcome != "200" || !strings.Contains(requests[0].head+requests[0].body, a.passes) {
			t.Errorf("%s: the server saw %+v, want %q", outcome, requests, a.passes)
		}
	default:
		if whole > 0 || strings.HasPrefix(outcome, "2") {
			t.Errorf("%s: the server saw %+v (%d bytes)", outcome, requests, size)
		}
	}
}

// Requests that are taken back as soon as they are made must not reach the
// server in hundreds (CVE-2023-44487), nor those that the client makes us reset
// (CVE-2025-8671); and must not cost memory.
func TestResetFloodsDoNotReachTheServer(t *testing.T) {
	for name, takeBack := range map[string]func(*framed, uint32){
		"rapid reset": func(f *framed, id uint32) { _ = f.framer.WriteRSTStream(id, http2.ErrCodeCancel) },
		"made you reset, by WINDOW_UPDATE": func(f *framed, id uint32) {
			_ = f.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, []byte{0, 0, 0, 0})
		},
		"made you reset, by PRIORITY": func(f *framed, id uint32) { _ = f.framer.WriteRawFrame(http2.FramePriority, 0, id, []byte{0}) },
		"made you reset, by DATA":     func(f *framed, id uint32) { _ = f.framer.WriteData(id, true, []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			reached := 0
			first := make(chan struct{})
			w := start(t, sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(line, "GET /first") {
						close(first)
					} else if strings.HasPrefix(line, "GET ") {
						mu.Lock()
						reached++
						mu.Unlock()
					}
				}
			})))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			f := w.framed()
			f.headers(1, true, ask(":path", "/first")...)
			wait(t, first, "the first request") // so that a connection to the server is there
			go func() {
				for id := uint32(3); id < 4002; id += 2 {
					f.headers(id, true, ask()...)
					takeBack(f, id)
				}
			}()
			if got := f.outcome(1 << 30); got != "goaway ENHANCE_YOUR_CALM" {
				t.Errorf("it ended with %q", got)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
				t.Errorf("%d bytes of memory", grown)
			}
			mu.Lock()
			defer mu.Unlock()
			t.Logf("of 2,000 requests %d reached the server", reached)
			if reached > 128 {
				t.Errorf("%d requests reached the server", reached)
			}
		})
	}
}
