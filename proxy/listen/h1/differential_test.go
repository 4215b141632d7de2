package h1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/zap"
)

// scripted is a connection on which a client says fixed bytes, in pieces of a
// given size, and no more. What it hears is kept.
type scripted struct {
	mu     sync.Mutex
	script io.Reader
	heard  bytes.Buffer
	once   sync.Once
	gone   chan struct{}
}

func newScripted(script []byte, piece int) *scripted {
	var r io.Reader = bytes.NewReader(script)
	if piece == 1 {
		r = iotest.OneByteReader(r)
	}
	return &scripted{script: r, gone: make(chan struct{})}
}

func (s *scripted) Read(p []byte) (int, error) {
	select {
	case <-s.gone:
		return 0, net.ErrClosed
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.Read(p)
}

func (s *scripted) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.Write(p)
}

func (s *scripted) Close() error                     { s.once.Do(func() { close(s.gone) }); return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// Accept makes it a listener for itself.
func (s *scripted) Accept() (net.Conn, error) {
	var c net.Conn
	s.once.Do(func() { c = oneConn{s, new(sync.Once)} })
	if c != nil {
		return c, nil
	}
	<-s.gone
	return nil, net.ErrClosed
}
func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

// oneConn is what it accepts.
type oneConn struct {
	*scripted
	end *sync.Once
}

func (c oneConn) Close() error { c.end.Do(func() { close(c.gone) }); return nil }

// seen is all that a handler can tell of a request.
type seen struct {
	method, uri, proto, host string
	url                      string
	header, trailer          http.Header
	length                   int64
	codings                  []string
	closes                   bool
	body                     string
	whole                    bool // the body was read to its end
}

func (s seen) String() string {
	return fmt.Sprintf("%s %s %s host %q url %q %v length %d %v close %t body %q whole %t trailer %v",
		s.method, s.uri, s.proto, s.host, s.url, s.header, s.length, s.codings, s.closes, s.body, s.whole, s.trailer)
}

// recorder answers each request and remembers it.
type recorder struct {
	mu   sync.Mutex
	list []seen
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := seen{method: r.Method, uri: r.RequestURI, proto: r.Proto, host: r.Host, url: r.URL.String() + "|" + r.URL.Path + "|" + r.URL.RawPath + "|" + r.URL.RawQuery,
		header: r.Header.Clone(), length: r.ContentLength, codings: r.TransferEncoding, closes: r.Close}
	body, err := io.ReadAll(r.Body)
	s.body, s.trailer, s.whole = string(body), r.Trailer, err == nil
	rec.mu.Lock()
	rec.list = append(rec.list, s)
	rec.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Seen", strconv.Itoa(len(body)))
	switch r.URL.Path {
	case "/length":
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "12345")
	case "/chunks":
		io.WriteString(w, "12")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "345")
	case "/large":
		for range 9 {
			w.Write(bytes.Repeat([]byte("x"), 7000))
		}
	case "/204", "/304", "/404", "/599":
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(status)
	case "/hints":
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		io.WriteString(w, "x")
	case "/trailers":
		w.Header().Set("Trailer", "X-One")
		io.WriteString(w, "x")
		w.Header().Set("X-One", "1")
		w.Header().Set(http.TrailerPrefix+"X-Two", "2")
	case "/close":
		w.Header().Set("Connection", "close")
	case "/copy":
		io.Copy(w, strings.NewReader(strings.Repeat("y", 50000)))
	case "/values":
		w.Header()["X-Bad"] = []string{"a\r\nInjected: 1", "  trimmed\t"}
		w.Header()["Bad Name"] = []string{"x"}
	default:
		io.WriteString(w, "ok")
	}
}

func observeOurs(script []byte, piece int) ([]seen, []byte) {
	var rec recorder
	c := newScripted(script, piece)
	s := New(Options{Handler: &rec, Logger: zap.NewNop()})
	s.Serve(c)
	return rec.list, c.heard.Bytes()
}

func observeTheirs(script []byte) ([]seen, []byte) {
	var rec recorder
	l := newScripted(script, 0)
	idle := make(chan struct{})
	server := &http.Server{Handler: &rec, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(idle)
			}
		}}
	_ = server.Serve(l)
	<-idle
	_ = server.Shutdown(context.Background())
	return rec.list, l.heard.Bytes()
}

// forgive makes equal what is meant to differ although both accept: see
// disagreements_test.go.
func forgive(ours, theirs *seen) {
	if pragma := ours.header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" {
		if _, ok := ours.header["Cache-Control"]; !ok {
			delete(theirs.header, "Cache-Control")
		}
	}
	for name := range theirs.trailer {
		if _, ok := ours.trailer[name]; !ok && (unsafeTrailer(name) || !isName(name)) {
			delete(theirs.trailer, name)
		}
	}
	if ours.length >= 0 {
		ours.trailer, theirs.trailer = nil, nil // there can be none
		delete(ours.header, "Trailer")
		delete(theirs.header, "Trailer")
	}
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r) })
}

// same tells how two see a request differently, or "".
func same(ours, theirs seen) string {
	forgive(&ours, &theirs)
	switch {
	case !ours.whole && !theirs.whole:
		return "" // both know that it is broken; what of it came through is a matter of buffers
	case ours.method != theirs.method, ours.uri != theirs.uri, ours.proto != theirs.proto, ours.host != theirs.host, ours.url != theirs.url:
		return "the request line"
	case !maps.EqualFunc(ours.header, theirs.header, slices.Equal):
		return "the header"
	case ours.length != theirs.length, !slices.Equal(ours.codings, theirs.codings), ours.closes != theirs.closes:
		return "the framing"
	case !ours.whole:
		return ""
	case ours.body != theirs.body || !theirs.whole:
		return "the body"
	case len(ours.trailer)+len(theirs.trailer) > 0 && !maps.EqualFunc(ours.trailer, theirs.trailer, slices.Equal):
		return "the trailers"
	}
	return ""
}

// strictly is a second reader of requests, written for nothing but being
// plain to see through: no streaming, no limits, no mercy. It returns methods,
// targets and bodies, up to where it does not understand.
func strictly(script []byte) (list []seen) {
	rest := string(script)
	for rest != "" {
		head, after, ok := strings.Cut(rest, "\r\n\r\n")
		if !ok {
			return list
		}
		lines := strings.Split(head, "\r\n")
		parts := strings.Split(lines[0], " ")
		if len(parts) != 3 {
			return list
		}
		s := seen{method: parts[0], uri: parts[1], proto: parts[2], whole: true}
		h := make(textproto.MIMEHeader)
		for _, line := range lines[1:] {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.Trim(name, " \t") != name || strings.ContainsAny(line, "\r\n\x00") {
				return list
			}
			h.Add(name, strings.Trim(value, " \t"))
		}
		switch {
		case h.Get("Transfer-Encoding") != "":
			if s.body, rest, ok = strictChunks(after); !ok {
				s.whole = false
				return append(list, s)
			}
		case h.Get("Content-Length") != "":
			n, err := strconv.ParseUint(h.Get("Content-Length"), 10, 62)
			if err != nil || strings.ContainsAny(h.Get("Content-Length"), "+_") {
				return list
			}
			if uint64(len(after)) < n {
				s.whole = false
				return append(list, s)
			}
			s.body, rest = after[:n], after[n:]
		default:
			rest = after
		}
		list = append(list, s)
	}
	return list
}

func strictChunks(text string) (body, rest string, ok bool) {
	for {
		line, after, found := strings.Cut(text, "\r\n")
		if !found {
			return "", "", false
		}
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(digits, 16, 62)
		if err != nil || strings.ContainsAny(digits, "+_") {
			return "", "", false
		}
		if n == 0 {
			if strings.HasPrefix(after, "\r\n") {
				return body, after[2:], true
			}
			_, rest, ok = strings.Cut(after, "\r\n\r\n")
			return body, rest, ok
		}
		if uint64(len(after)) < n+2 || after[n:n+2] != "\r\n" {
			return "", "", false
		}
		body, text = body+after[:n], after[n+2:]
	}
}

// check compares what three readers make of the same bytes.
func check(t *testing.T, script []byte, piece int) (ours []seen) {
	t.Helper()
	ours, _ = observeOurs(script, piece)
	theirs, _ := observeTheirs(script)
	plain := strictly(script)
	for i, o := range ours {
		if i >= len(theirs) {
			t.Fatalf("%.300q: request %d is one only for us: %v", script, i, o)
		}
		if what := same(o, theirs[i]); what != "" {
			t.Fatalf("%.300q: request %d: %s differs\nours   %v\ntheirs %v", script, i, what, o, theirs[i])
		}
		if i >= len(plain) {
			t.Fatalf("%.300q: request %d is none for the strict reader: %v", script, i, o)
		}
		if p := plain[i]; p.method != o.method || p.uri != o.uri || p.proto != o.proto || o.whole && (!p.whole || p.body != o.body) {
			t.Fatalf("%.300q: request %d: the strict reader saw\n%v\nwe saw\n%v", script, i, p, o)
		}
	}
	return ours
}

// responses compares the responses of both as a client reads them.
func responses(t *testing.T, script []byte) {
	t.Helper()
	ours, oursHeard := observeOurs(script, 0)
	_, theirsHeard := observeTheirs(script)
	a, b := digest(ours, oursHeard), digest(ours, theirsHeard)
	if a != b {
		t.Errorf("%.300q\nours   %s\ntheirs %s", script, a, b)
	}
}

// digest tells what a client understands of what it heard.
func digest(requests []seen, heard []byte) string {
	var out strings.Builder
	r := newReader(heard)
	for _, s := range requests {
		for {
			res, err := http.ReadResponse(r, &http.Request{Method: s.method})
			if err != nil {
				fmt.Fprintf(&out, "error %v\n", err)
				return out.String()
			}
			body, err := io.ReadAll(res.Body)
			delete(res.Header, "Date")
			delete(res.Header, "Connection") // what it means is in Close; to HTTP/1.0 it is said more often
			fmt.Fprintf(&out, "%s %d %v length %d %v close %t trailer %v body %d %x %v\n", res.Proto, res.StatusCode, res.Header, res.ContentLength,
				res.TransferEncoding, res.Close, res.Trailer, len(body), body[:min(len(body), 20)], errors.Is(err, io.ErrUnexpectedEOF))
			if res.StatusCode >= 200 {
				break
			}
		}
	}
	return out.String()
}
