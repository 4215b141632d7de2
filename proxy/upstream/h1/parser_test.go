package h1

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// TestParserRules breaks each rule and expects the reason, a closed connection
// and no byte of what follows.
func TestParserRules(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	const trailers = chunked + "1\r\nx\r\n0\r\n"
	for reason, scripts := range map[string][]string{
		notHTTP: {"HTTP/1.2 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
			"HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1200 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.01 200 OK\r\n\r\n",
			"SSH-2.0-x\r\n", "SSH", "\x15\x03\x01", "220 mail ESMTP", "<html>", "ICY 200 OK\r\n\r\n"},
		badStatusCode: {"HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
			"HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200\tOK\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 \r\n\r\n"},
		badReasonPhrase: {"HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.1 200 O\x7fK\r\n\r\n", "HTTP/1.1 200 \r\r\n\r\n"},
		badLineEnd: {"HTTP/1.1 200 OK\n\n", ok + "A: b\n\r\n", ok + "A: b\r\n\n", ok + "\n", chunked + "1\nx\r\n0\r\n\r\n", chunked + "\n",
			trailers + "A: b\n\r\n", trailers + "\n"},
		wire.EmptyFieldName: {ok + ": a\r\n\r\n", ok + ":\r\n\r\n", trailers + ": a\r\n\r\n"},
		wire.BadFieldName: {ok + "A : b\r\n\r\n", ok + "A\t: b\r\n\r\n", ok + "A b: c\r\n\r\n", ok + "A\x00: b\r\n\r\n", ok + "A\xe9: b\r\n\r\n", ok + "A\r\n\r\n",
			ok + "(A): b\r\n\r\n", ok + "\x7fA: b\r\n\r\n", ok + "A\r: b\r\n\r\n", ok + "\r \r\n\r\n", trailers + "A : b\r\n\r\n", ok + "Transfer-Encoding : chunked\r\n\r\n"},
		wire.BadFieldValue: {ok + "A: b\x00\r\n\r\n", ok + "A: b\rc\r\n\r\n", ok + "A: \x1b[0m\r\n\r\n", ok + "A: \x7f\r\n\r\n", ok + "A: b\r\r\n\r\n", trailers + "A: \x00\r\n\r\n"},
		wire.LineFolding:   {ok + "A: b\r\n c\r\n\r\n", ok + "A: b\r\n\tc\r\n\r\n", ok + " A: b\r\n\r\n", ok + "A: b\r\n \r\n\r\n", trailers + "A: b\r\n c\r\n\r\n"},
		headTooLong:        {ok + "A: " + strings.Repeat("x", 70<<10), "HTTP/1.1 200 " + strings.Repeat("x", 70<<10), ok + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 70)},
		tooManyFields:      {ok + strings.Repeat("A: b\r\n", 257) + "\r\n", trailers + strings.Repeat("A: b\r\n", 257) + "\r\n"},
		wire.BadContentLength: {ok + "Content-Length: -1\r\n\r\n", ok + "Content-Length: +1\r\n\r\nx", ok + "Content-Length: 1, 1\r\n\r\nx", ok + "Content-Length: 0x1\r\n\r\nx",
			ok + "Content-Length: 1 1\r\n\r\nx", ok + "Content-Length:\r\n\r\n", ok + "Content-Length: 1000000000000000000\r\n\r\nx", ok + "Content-Length: 1.0\r\n\r\nx",
			ok + "Content-Length: \xef\xbc\x91\r\n\r\nx", "HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 103 x\r\nContent-Length: x\r\n\r\n" + ok + "\r\n"},
		wire.ManyContentLengths: {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", ok + "Content-Length: 1\r\ncontent-length: 1\r\n\r\nx"},
		badTransferEncoding: {ok + "Transfer-Encoding: gzip\r\n\r\n", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", ok + "Transfer-Encoding: chunked, chunked\r\n\r\n",
			ok + "Transfer-Encoding: identity\r\n\r\n", ok + "Transfer-Encoding:\r\n\r\n", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
			ok + "Transfer-Encoding: xchunked\r\n\r\n", ok + "Transfer-Encoding: \"chunked\"\r\n\r\n", ok + "Transfer-Encoding: chunked;a=b\r\n\r\n", ok + "Transfer-Encoding: ,chunked\r\n\r\n"},
		bothFramings: {ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", ok + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		codingNotAllowed: {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
			"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n"},
		wire.BadChunkSize: {chunked + "\r\n", chunked + "-1\r\nx\r\n", chunked + "+1\r\nx\r\n", chunked + " 1\r\nx\r\n", chunked + "1 \r\nx\r\n", chunked + "1\t;a\r\nx\r\n",
			chunked + "0x1\r\nx\r\n", chunked + "1g\r\nx\r\n", chunked + ";a\r\nx\r\n", chunked + "00000000000000001\r\nx\r\n", chunked + "ffffffffffffffff\r\nx",
			chunked + "8000000000000000\r\nx", chunked + "1_0\r\nx\r\n", chunked + "1\rx\r\nx\r\n"},
		wire.BadChunkExtension: {chunked + "1;a\x00\r\nx\r\n", chunked + "1;a\rb\r\nx\r\n", chunked + "1;\x7f\r\nx\r\n"},
		badChunkEnd:            {chunked + "1\r\nxy\r\n0\r\n\r\n", chunked + "1\r\nx\n0\r\n\r\n", chunked + "1\r\nx0\r\n\r\n", chunked + "1\r\nx\r0\r\n\r\n", chunked + "1\r\nxy"},
		chunkLineTooLong:       {chunked + strings.Repeat("0", 300), chunked + "1;" + strings.Repeat("a", 300) + "\r\nx\r\n"},
		chunkOverhead:          {chunked + strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 200) + "0\r\n\r\n"},
		trailersTooLong:        {trailers + "A: " + strings.Repeat("x", 5000) + "\r\n\r\n", trailers + strings.Repeat("A: "+strings.Repeat("x", 100)+"\r\n", 50) + "\r\n"},
		badTrailerName:         {ok + "Transfer-Encoding: chunked\r\nTrailer: A, content-length\r\n\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\nTrailer: Trailer\r\n\r\n0\r\n\r\n"},
		manyInformational:      {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + ok + "\r\n", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)},
		switchNotAsked:         {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n"},
	} {
		for _, script := range scripts {
			for _, piece := range []int{1, len(script)} {
				o := observeOurs([]byte(script), "GET", piece, io.ReadAll)
				if broken, ok := errors.AsType[*ProtocolError](o.err()); !ok || broken.Reason != reason {
					t.Errorf("%.200q in pieces of %d: want %q, got %v", script, piece, reason, o)
				}
				if o.kept {
					t.Errorf("%.200q: the connection was kept", script)
				}
			}
		}
	}
}

// TestTruncation cuts whole responses at every byte: whatever is missing, it
// is noticed, and nothing is made up.
func TestTruncation(t *testing.T) {
	for _, whole := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nhel\r\n02\r\nlo\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	} {
		if o := observeOurs([]byte(whole), "GET", len(whole), io.ReadAll); o.err() != nil || o.body != "hello" || !o.kept {
			t.Fatalf("%q: %v", whole, o)
		}
		for cut := range len(whole) {
			o := observeOurs([]byte(whole[:cut]), "GET", cut+1, io.ReadAll)
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = ErrServerClosed
			}
			if !errors.Is(o.err(), want) || o.kept || !strings.HasPrefix("hello", o.body) {
				t.Errorf("%q: %v", whole[:cut], o)
			}
		}
	}
}

func TestFieldsAreKeptInOrderAndApart(t *testing.T) {
	script := "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nX: 1\r\nSET-COOKIE: c\r\nX-EMPTY:\r\nContent-Length: 0\r\n\r\n"
	o := observeOurs([]byte(script), "GET", len(script), io.ReadAll)
	if got := o.header["Set-Cookie"]; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
	// Values share an array: appending to one must not reach the next.
	_ = append(o.header["Set-Cookie"][:1:1], "y")
	x := append(o.header["X"], "2")
	if o.header["X-Empty"][0] != "" || o.header["Content-Length"][0] != "0" || len(x) != 2 {
		t.Errorf("got %q", o.header)
	}
}

// TestManyFields is about heads that do not fit into the space that there is.
func TestManyFields(t *testing.T) {
	for _, n := range []int{15, 16, 17, 254} {
		var script strings.Builder
		script.WriteString("HTTP/1.1 200 OK\r\n")
		for i := range n {
			script.WriteString("X-" + strconv.Itoa(i) + ": " + strings.Repeat("v", i) + "\r\n")
		}
		script.WriteString("Content-Length: 4\r\n\r\nbody")
		for _, piece := range []int{1, 100, script.Len()} {
			o := observeOurs([]byte(script.String()), "GET", piece, io.ReadAll)
			if o.err() != nil || len(o.header) != n+1 || o.body != "body" || !o.kept {
				t.Fatalf("%d fields: %v", n, o.err())
			}
			for i := range n {
				if len(o.header.Get("X-"+strconv.Itoa(i))) != i {
					t.Errorf("field %d of %d: %q", i, n, o.header.Get("X-"+strconv.Itoa(i)))
				}
			}
		}
	}
}
