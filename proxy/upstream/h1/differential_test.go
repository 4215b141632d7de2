package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http's Transport logs unsolicited bytes
	os.Exit(m.Run())
}

// scripted is a connection to a server that answers the first request with
// fixed bytes and then closes. It hands them out in pieces of a given size.
type scripted struct {
	asked, gone chan struct{}
	once, end   sync.Once
	mu          sync.Mutex
	script      []byte
	piece       int
}

func newScripted(script []byte, piece int) *scripted {
	return &scripted{asked: make(chan struct{}), gone: make(chan struct{}), script: script, piece: piece}
}

func (s *scripted) Read(p []byte) (int, error) {
	select {
	case <-s.gone:
		return 0, net.ErrClosed
	case <-s.asked:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.script) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.script)
	s.script = s.script[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.asked) })
	return len(p), nil
}

func (s *scripted) Close() error {
	s.end.Do(func() { close(s.gone) })
	return nil
}

func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// outcome is all that a caller sees of an exchange.
type outcome struct {
	headErr, bodyErr error
	status           string
	code             int
	proto            string
	header, trailer  http.Header
	length           int64
	codings          []string
	closes           bool
	body             string
	informed         []int
	kept             bool
}

func (o *outcome) err() error { return errors.Join(o.headErr, o.bodyErr) }

func (o *outcome) String() string {
	if o.err() != nil {
		return fmt.Sprintf("%d, %q, head error %v, body error %v", o.code, o.body, o.headErr, o.bodyErr)
	}
	return fmt.Sprintf("%s %q %v length %d %v close %t body %q trailer %v 1xx %v kept %t",
		o.proto, o.status, o.header, o.length, o.codings, o.closes, o.body, o.trailer, o.informed, o.kept)
}

// observe has an exchange and reads the response with read.
func observe(rt http.RoundTripper, method string, read func(io.Reader) ([]byte, error)) *outcome {
	o := new(outcome)
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			o.informed = append(o.informed, code)
			return nil
		},
		PutIdleConn: func(err error) { o.kept = err == nil }, // theirs
	})
	req := (&http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: "a.test", Path: "/"}, Header: http.Header{}}).WithContext(ctx)
	res, err := rt.RoundTrip(req)
	if err != nil {
		o.headErr = err
		return o
	}
	body, err := read(res.Body)
	o.bodyErr = err
	res.Body.Close()
	o.status, o.code, o.proto, o.header, o.trailer = res.Status, res.StatusCode, res.Proto, res.Header, res.Trailer
	o.length, o.codings, o.closes, o.body = res.ContentLength, res.TransferEncoding, res.Close, string(body)
	return o
}

func observeOurs(script []byte, method string, piece int, read func(io.Reader) ([]byte, error)) *outcome {
	t := New(Options{Dial: func(context.Context) (net.Conn, error) { return newScripted(script, piece), nil }})
	defer t.Close()
	o := observe(t, method, read)
	o.kept = len(t.pool.idle) == 1
	return o
}

func observeTheirs(script []byte, method string) *outcome {
	t := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return newScripted(script, len(script)+1), nil
		},
		DisableCompression: true,
	}
	defer t.CloseIdleConnections()
	return observe(t, method, io.ReadAll)
}

// copied reads by way of WriteTo; trickled with a small buffer.
func copied(r io.Reader) ([]byte, error) {
	var b strings.Builder
	_, err := io.Copy(&b, r)
	return []byte(b.String()), err
}

func trickled(r io.Reader) (all []byte, err error) {
	for {
		var p [3]byte
		n, err := r.Read(p[:])
		all = append(all, p[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// compare returns what is wrong with our outcome in the light of theirs, which
// it changes by the disagreements that are intended where both accept.
func compare(script []byte, method string, ours, theirs *outcome) string {
	if ours.err() != nil {
		if theirs.err() != nil {
			return ""
		}
		broken, ok := errors.AsType[*ProtocolError](ours.err())
		if !ok {
			return "ours failed, theirs did not"
		}
		if _, listed := intended()[broken.Reason]; !listed {
			return "ours is stricter for a reason that is not listed"
		}
		return ""
	}
	if theirs.err() != nil {
		return "ours accepts what theirs refuses"
	}
	forgiveFields(ours, theirs)
	switch {
	case ours.status != theirs.status, ours.code != theirs.code, ours.proto != theirs.proto:
		return "status lines differ"
	case !maps.EqualFunc(ours.header, theirs.header, slices.Equal):
		return "headers differ"
	case !maps.EqualFunc(ours.trailer, theirs.trailer, slices.Equal):
		return "trailers differ"
	case ours.length != theirs.length, !reflect.DeepEqual(ours.codings, theirs.codings), ours.closes != theirs.closes:
		return "framing differs"
	case ours.body != theirs.body:
		return "bodies differ"
	case !slices.Equal(ours.informed, theirs.informed):
		return "informational responses differ"
	case ours.kept && !theirs.kept:
		return "ours keeps a connection that theirs closes"
	case theirs.kept && !ours.kept && !surplus(script, method, ours):
		return "ours closes a connection that theirs keeps"
	}
	return ""
}

// forgiveFields makes equal what is intended to differ although both accept.
func forgiveFields(ours, theirs *outcome) {
	// Connection stays in the header, so that a proxy sees which fields it
	// names; net/http removes it when it has "close".
	if wire.HasOption(ours.header["Connection"], "close") {
		theirs.header["Connection"] = ours.header["Connection"]
	}
	// A response is not changed: no Cache-Control is made of a Pragma.
	if _, ok := ours.header["Cache-Control"]; !ok && len(ours.header["Pragma"]) > 0 && ours.header["Pragma"][0] == "no-cache" {
		delete(theirs.header, "Cache-Control")
	}
	// Content-Length does not belong into a 204 (RFC 9110 section 8.6), and
	// nothing is known to be nothing, also for HEAD.
	if ours.code == http.StatusNoContent {
		if len(theirs.header["Content-Length"]) > 0 {
			delete(theirs.header, "Content-Length")
			ours.closes, theirs.closes = false, false
		}
		theirs.length = 0
	}
	// Trailers that have no business behind a body are dropped, as are
	// announcements of what is no field name.
	for name := range theirs.trailer {
		if _, ok := ours.trailer[name]; !ok && (wire.ForbiddenTrailer(name) || !wire.IsToken(name)) {
			delete(theirs.trailer, name)
		}
	}
}

// surplus reports whether a server sent more than a response, or said that it
// would: then the connection is not kept. Theirs is kept for a moment and
// closed with a line in the log.
func surplus(script []byte, method string, ours *outcome) bool {
	if ours.code == http.StatusNoContent {
		return true // with a Content-Length, as forgiven above
	}
	// A byte less must change the outcome, or it was not needed.
	shorter := observeOurs(script[:len(script)-1], method, len(script), io.ReadAll)
	return shorter.err() == nil && shorter.body == ours.body
}

func check(t *testing.T, method string, script []byte) {
	t.Helper()
	watchdog := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("stuck: %s %q", method, script)) })
	defer watchdog.Stop()
	whole := len(script) + 1
	ours, theirs := observeOurs(script, method, whole, io.ReadAll), observeTheirs(script, method)
	if wrong := compare(script, method, ours, theirs); wrong != "" {
		t.Errorf("%s\n%s %q\nours:   %v\ntheirs: %v", wrong, method, script, ours, theirs)
	}
	// However the bytes come and however they are read, it is the same.
	for name, other := range map[string]*outcome{
		"byte by byte":    observeOurs(script, method, 1, io.ReadAll),
		"by WriteTo":      observeOurs(script, method, whole, copied),
		"WriteTo, pieces": observeOurs(script, method, 5, copied),
		"small reads":     observeOurs(script, method, 7, trickled),
	} {
		if surplus := ours.kept != other.kept && ours.err() == nil; surplus {
			other.kept = ours.kept // what follows may not have come yet
		}
		if ours.err() != nil && other.err() != nil {
			continue // what comes first is refused first
		}
		if wire.HasOption(ours.header["Connection"], "close") {
			other.header["Connection"] = ours.header["Connection"] // forgiven above
		}
		if other.closes = ours.closes; ours.String() != other.String() {
			t.Errorf("%s: %s %q\nwhole: %v\nhere:  %v", name, method, script, ours, other)
		}
	}
}

// corpus returns exchanges that begin the fuzzing and are tested always.
func corpus() []string {
	const ok = "HTTP/1.1 200 OK\r\n"
	all := []string{
		ok + "Content-Length: 5\r\n\r\nhello",
		ok + "content-length: 5\r\nX-a: b\r\nx-A: c\r\nETAG: \"x\"\r\n\r\nhello",
		ok + "Content-Length: 5\r\n\r\nhel",
		ok + "Content-Length: 5\r\n\r\nhello, and more",
		ok + "Content-Length: 0\r\n\r\n",
		ok + "\r\nuntil the end",
		ok + "Connection: close\r\nContent-Length: 2\r\n\r\nok",
		ok + "Connection: X-A, close\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: Chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n00a\r\n0123456789\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Missing, Host\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nx-more: 2\r\nHost: evil\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nsurplus",
		ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
		ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\n\r\nold",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nEtag: x\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx",
		"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"\x15\x03\x01\x00\x02\x02\x16",
		"",
		"HTTP/1.1 200 OK\r\nContent-Length: 5",
		ok + "Pragma: no-cache\r\nContent-Length: 0\r\n\r\n",
		ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		ok + "Content-Length: +1\r\n\r\nab",
		ok + "Content-Length:\r\n\r\nab",
		ok + "Content-Length: 99999999999999999999\r\n\r\nab",
		ok + "No colon\r\n\r\n",
		ok + ": no name\r\n\r\n",
		ok + "A: b\x00c\r\n\r\n",
		ok + "A: b\rc\r\n\r\n",
		ok + "A\x01: b\r\n\r\n",
		ok + "A: \t b \t \r\nB:\r\nContent-Length: 0\r\n\r\n",
		ok + "A: caf\xe9\r\nContent-Length: 0\r\n\r\n",
		ok + "A: " + strings.Repeat("long", 3000) + "\r\nContent-Length: 1\r\n\r\nx",
		ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 3000) + "0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("x", 5000) + "\r\n\r\n",
	}
	for _, d := range intended() {
		all = append(all, d.script)
	}
	return all
}

func TestDifferential(t *testing.T) {
	for _, script := range corpus() {
		for _, method := range []string{"GET", "HEAD"} {
			check(t, method, []byte(script))
		}
	}
}

// TestDifferentialOverSockets does the same where bytes come as they like.
func TestDifferentialOverSockets(t *testing.T) {
	for _, script := range corpus() {
		o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
			if _, err := http.ReadRequest(r); err == nil {
				io.WriteString(c, script)
			}
		})
		rts := engines(t, o.dial)
		ours, theirs := observe(rts["h1"], "GET", copied), observe(rts["nethttp"], "GET", io.ReadAll)
		theirs.kept = false // what comes when is not the same each time
		if wrong := compare([]byte(script), "GET", ours, theirs); wrong != "" {
			t.Errorf("%s\n%.500q\nours:   %v\ntheirs: %v", wrong, script, ours, theirs)
		}
	}
}

func FuzzDifferential(f *testing.F) {
	for _, script := range corpus() {
		f.Add([]byte(script), false)
		f.Add([]byte(script), true)
	}
	f.Fuzz(func(t *testing.T, script []byte, head bool) {
		if len(script) == 0 || len(script) > 16<<10 {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		check(t, method, script)
	})
}
