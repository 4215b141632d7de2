package h1

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// disagreement is an answer that net/http's Transport takes and we refuse.
type disagreement struct {
	why    string
	method string // "": GET
	script string
}

// intended lists every reason for which we refuse what net/http takes. Where
// both accept but differ, see forgiveFields and surplus.
func intended() map[string]disagreement {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	return map[string]disagreement{
		notHTTP: {"a version that does not exist or that is not ours to speak (RFC 9112 section 2.3)", "",
			"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n"},
		badStatusCode: {"signs, further spaces and codes under 100 (RFC 9110 section 15)", "",
			"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n"},
		badReasonPhrase: {"goes into logs and, without care, into responses (RFC 9112 section 4)", "",
			"HTTP/1.1 200 O\x1bK\r\nContent-Length: 0\r\n\r\n"},
		badLineEnd: {"a bare LF is read differently by different recipients (RFC 9112 section 2.2 says MAY)", "",
			"HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		wire.BadFieldName: {"whitespace before the colon: a proxy must remove or refuse it (RFC 9112 section 5.1)", "",
			ok + "Content-Length : 0\r\n\r\n"},
		wire.LineFolding: {"a proxy must replace or refuse it (RFC 9112 section 5.2)", "",
			ok + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n"},
		headTooLong: {"64 KiB unless configured; net/http's limit is 10 MiB", "",
			ok + "A: " + strings.Repeat("x", 64<<10) + "\r\nContent-Length: 0\r\n\r\n"},
		tooManyFields: {"256 unless configured", "",
			ok + strings.Repeat("A: b\r\n", 257) + "\r\n"},
		wire.ManyContentLengths: {"identical ones too: RFC 9110 section 8.6 allows to refuse", "",
			ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
		wire.BadContentLength: {"more than 18 digits, even if they are zeros", "",
			ok + "Content-Length: 0000000000000000001\r\n\r\nx"},
		bothFramings: {"the signature of response splitting (RFC 9112 section 6.3)", "",
			ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"},
		codingNotAllowed: {"HTTP/1.0, 1xx and 204 have none: the framing is faulty (RFC 9112 section 6.1)", "",
			"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		wire.BadChunkSize: {"whitespace behind a size (RFC 9112 section 7.1), sizes over 2^62", "",
			chunked + "1 \r\nx\r\n0\r\n\r\n"},
		wire.BadChunkExtension: {"control characters (RFC 9112 section 7.1.1)", "",
			chunked + "1;a=\x00\r\nx\r\n0\r\n\r\n"},
		chunkLineTooLong: {"256 bytes for a size and extensions that nobody reads; net/http takes 4,096", "",
			chunked + "1;" + strings.Repeat("x", 300) + "\r\nx\r\n0\r\n\r\n"},
		manyInformational: {"16; net/http bounds their bytes", "",
			strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 17) + ok + "Content-Length: 0\r\n\r\n"},
		switchNotAsked: {"only what the request asked for may be switched to (RFC 9110 section 7.8)", "",
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"},
	}
}

func TestDisagreements(t *testing.T) {
	for reason, d := range intended() {
		method := d.method
		if method == "" {
			method = "GET"
		}
		ours := observeOurs([]byte(d.script), method, len(d.script), io.ReadAll)
		if broken, ok := errors.AsType[*ProtocolError](ours.err()); !ok || broken.Reason != reason || ours.kept {
			t.Errorf("%s: ours: %v", reason, ours)
		}
		if theirs := observeTheirs([]byte(d.script), method); theirs.err() != nil {
			t.Errorf("%s: theirs agrees, so it need not be listed: %v", reason, theirs)
		}
	}
}
