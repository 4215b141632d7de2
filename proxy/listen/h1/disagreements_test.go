package h1

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// refused lists, by reason, requests that are answered with an error and end
// the connection. Those marked are accepted by net/http's server: they are where
// this engine is meant to be stricter. What else differs, where both accept:
//
//   - Pragma: no-cache adds no Cache-Control: requests are not changed.
//   - Trailers that have no business behind a body are left out.
//   - A Trailer field without a chunked body says nothing, and is removed.
//   - A Content-Type is not guessed, and a 304 keeps its Content-Length.
//   - A body that the handler did not read, and that is not there in full, ends
//     the connection: it is not waited for.
func refused() map[string][]string {
	const (
		host    = "GET / HTTP/1.1\r\nHost: a.test\r\n"
		post    = "POST / HTTP/1.1\r\nHost: a.test\r\n"
		chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
		last    = chunked + "1\r\nx\r\n0\r\n"
	)
	long := strings.Repeat("x", 70<<10)
	return map[string][]string{
		errRequestLine.Reason: {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\r\n\r\n", "GET / \r\n\r\n", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET / http/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n",
			"GET / HTTP/1,1\r\nHost: a\r\n\r\n", "GET / XTTP/1.1\r\nHost: a\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x00", "GET HTTP/1.1\r\nHost: a\r\n\r\n", "\x00GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		errMethod.Reason: {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "G\tT / HTTP/1.1\r\nHost: a\r\n\r\n", "G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n"},
		errTarget.Reason: {"GET / HTTP 1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\x0b HTTP/1.1\r\nHost: a\r\n\r\n"},
		errTargetForm.Reason: {"GET a.test HTTP/1.1\r\nHost: a\r\n\r\n", "GET a.test:80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
			"CONNECT http://a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", "CONNECT a.test:x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET http:///x HTTP/1.1\r\nHost:\r\n\r\n",
			"GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET http://u:p@a.test/ HTTP/1.1\r\nHost: u:p@a.test\r\n\r\n", "GET http:a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET javascript:alert(1) HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "GET \\\\a.test\\ HTTP/1.1\r\nHost: a\r\n\r\n"},
		errTargetLong.Reason: {"GET /" + long + " HTTP/1.1\r\nHost: a\r\n\r\n", "GET /" + long, long},
		errVersion.Reason:    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/0.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"},
		errLineEnd.Reason:    {"GET / HTTP/1.1\nHost: a\r\n\r\n", host + "A: b\n\r\n", host + "\n", "GET / HTTP/1.1\r\nHost: a\n\n", host + "A: b\r\n\n", chunked + "1\nx\r\n0\r\n\r\n", chunked + "\n", last + "A: b\n\r\n", last + "\n"},
		errHeadLong.Reason:   {host + "A: " + long, host + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 70)},
		errFields.Reason:     {host + strings.Repeat("A: b\r\n", 128) + "\r\n", last + strings.Repeat("A: b\r\n", 129) + "\r\n"},
		errLookalike.Reason: {post + "Content_Length: 5\r\n\r\nhello", post + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", host + "X_Forwarded_For: 6.6.6.6\r\n\r\n", host + "x-forwarded_for: 6.6.6.6\r\n\r\n", host + "X_FORWARDED-PROTO: https\r\n\r\n",
			host + "X_Real_IP: 6.6.6.6\r\n\r\n", host + "Remote_User: root\r\n\r\n", host + "X-Request_Id: 1\r\n\r\n"},
		errHostMissing.Reason: {"GET / HTTP/1.1\r\n\r\n", "GET http://a.test/ HTTP/1.1\r\n\r\n"},
		errHosts.Reason:       {host + "Host: a.test\r\n\r\n", host + "Host: b.test\r\n\r\n", host + "host:\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"},
		errHost.Reason: {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n"},
		errHostDisagrees.Reason: {"GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", "GET http://a.test/ HTTP/1.1\r\nHost:\r\n\r\n", "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "CONNECT a.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"},
		errBothFramings.Reason:  {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"},
		errCoding.Reason: {post + "Transfer-Encoding: xchunked\r\n\r\n", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
			post + "Transfer-Encoding: chunked, chunked\r\n\r\n", post + "Transfer-Encoding: identity\r\n\r\n", post + "Transfer-Encoding:\r\n\r\n", post + "Transfer-Encoding: chunked;q=1\r\n\r\n", post + "Transfer-Encoding: \"chunked\"\r\n\r\n",
			post + "Transfer-Encoding: chunked, identity\r\n\r\n", post + "Transfer-Encoding: ,chunked\r\n\r\n", post + "Transfer-Encoding: chunked,\r\n\r\n", post + "Transfer-Encoding: x, chunked\r\n\r\n"},
		errCodingUnknown.Reason:         {post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: DEFLATE, Chunked\r\n\r\n"},
		errCodingOld.Reason:             {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		errTrailerName.Reason:           {post + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: chunked\r\nTrailer: X, transfer-encoding\r\n\r\n0\r\n\r\n", last + "Content-Length: 5\r\n\r\n", last + "Transfer-Encoding: chunked\r\n\r\n", last + "Host: b.test\r\n\r\n"},
		errExpectation.Reason:           {post + "Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx", host + "Expect: x\r\n\r\n", post + "Content-Length: 1\r\nExpect: 100-continue, x\r\n\r\nx", post + "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nx"},
		string(wire.FaultChunkEnd):      {chunked + "1\r\nxy\r\n0\r\n\r\n", chunked + "1\r\nx\n0\r\n\r\n", chunked + "1\r\nx0\r\n\r\n", chunked + "1\r\nx\r0\r\n\r\n"},
		string(wire.FaultChunkLine):     {chunked + strings.Repeat("0", 300), chunked + "1;" + strings.Repeat("a", 300) + "\r\nx\r\n0\r\n\r\n"},
		string(wire.FaultChunkOverhead): {chunked + strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 200) + "0\r\n\r\n"},
		errTrailersLong.Reason:          {last + "A: " + strings.Repeat("x", 5000) + "\r\n\r\n"},
		wire.EmptyFieldName:             {host + ": a\r\n\r\n", host + ":\r\n\r\n", last + ": a\r\n\r\n"},
		wire.BadFieldName: {host + "A : b\r\n\r\n", host + "A\t: b\r\n\r\n", host + "A b: c\r\n\r\n", host + "A\x00: b\r\n\r\n", host + "A\xe9: b\r\n\r\n", host + "A\r\n\r\n", host + "(A): b\r\n\r\n", host + "A\r: b\r\n\r\n",
			post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", post + "Content-Length : 5\r\n\r\nhello", last + "A : b\r\n\r\n", post + "Transfer-Encoding\x0b: chunked\r\n\r\n", host + "\"A\": b\r\n\r\n"},
		wire.BadFieldValue: {host + "A: b\x00\r\n\r\n", host + "A: b\rc\r\n\r\n", host + "A: \x1b[0m\r\n\r\n", host + "A: \x7f\r\n\r\n", host + "A: b\r\r\n\r\n", last + "A: \x00\r\n\r\n", post + "Transfer-Encoding: \x0bchunked\r\n\r\n", post + "Content-Length: \x005\r\n\r\nhello"},
		wire.LineFolding:   {host + "A: b\r\n c\r\n\r\n", host + "A: b\r\n\tc\r\n\r\n", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", host + "A: b\r\n \r\n\r\n", last + "A: b\r\n c\r\n\r\n", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
		wire.BadContentLength: {post + "Content-Length: -1\r\n\r\n", post + "Content-Length: +1\r\n\r\nx", post + "Content-Length: 1, 1\r\n\r\nx", post + "Content-Length: 0x1\r\n\r\nx", post + "Content-Length: 1 1\r\n\r\nx", post + "Content-Length:\r\n\r\n",
			post + "Content-Length: 1000000000000000000\r\n\r\nx", post + "Content-Length: 18446744073709551617\r\n\r\nx", post + "Content-Length: 1.0\r\n\r\nx", post + "Content-Length: 1e1\r\n\r\nx", post + "Content-Length: \xef\xbc\x91\r\n\r\nx", post + "Content-Length: 1;\r\n\r\nx", post + "Content-Length: ,1\r\n\r\nx"},
		wire.ManyContentLengths: {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", post + "Content-Length: 1\r\ncontent-length: 1\r\n\r\nx", post + "Content-Length: 0\r\nContent-Length: 30\r\n\r\n"},
		wire.BadChunkSize: {chunked + "\r\n", chunked + "-1\r\nx\r\n", chunked + "+1\r\nx\r\n", chunked + " 1\r\nx\r\n", chunked + "1 \r\nx\r\n", chunked + "1\t;a\r\nx\r\n", chunked + "0x1\r\nx\r\n", chunked + "1g\r\nx\r\n", chunked + ";a\r\nx\r\n",
			chunked + "00000000000000001\r\nx\r\n", chunked + "ffffffffffffffff\r\nx", chunked + "8000000000000000\r\nx", chunked + "1_0\r\nx\r\n", chunked + "1\rx\r\nx\r\n", chunked + "x\r\n", chunked + "1, 1\r\nx\r\n"},
		wire.BadChunkExtension: {chunked + "1;a\x00\r\nx\r\n", chunked + "1;a\rb\r\nx\r\n", chunked + "1;\x7f\r\nx\r\n"},
	}
}

// TestRulesRefuse breaks each rule and expects the reason, a closed connection,
// and that nothing after it is taken for a request.
func TestRulesRefuse(t *testing.T) {
	total := 0
	for reason, scripts := range refused() {
		for _, script := range scripts {
			total++
			for _, piece := range []int{0, 1} {
				list, heard := observeOurs([]byte(script+"\r\n"+get), piece)
				inBody := len(list) == 1 && !list[0].whole
				if len(list) > 0 && !inBody {
					t.Errorf("%.200q: accepted as %v", script, list)
					continue
				}
				if inBody {
					if !strings.Contains(string(heard), "Connection: close\r\n") {
						t.Errorf("%.200q: the connection goes on: %s", script, heard)
					}
					continue
				}
				head, body, _ := strings.Cut(string(heard), "\r\n\r\n")
				status, err := strconv.Atoi(strings.Fields(head + "  x")[1])
				if err != nil || status < 400 || !strings.Contains(head, "Connection: close") || !strings.Contains(body, reason) {
					t.Errorf("%.200q: want %q, heard %q", script, reason, heard)
				}
			}
		}
	}
	t.Logf("%d requests", total)
	if total < 150 {
		t.Errorf("only %d", total)
	}
}

func TestLimitsOfTheHead(t *testing.T) {
	for script, want := range map[string]int{
		"GET /123456789 HTTP/1.1\r\nHost: a\r\n\r\n":                                  200,
		"GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n":                                 414,
		"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n":                           200,
		"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\nA: b\r\n\r\n":                   431,
		"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("x", 200-32) + "\r\n\r\n": 200,
		"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("x", 201-32) + "\r\n\r\n": 431,
	} {
		for _, piece := range []int{0, 1} {
			_, heard := observeLimited([]byte(script), piece)
			if !strings.HasPrefix(string(heard), fmt.Sprintf("HTTP/1.1 %d ", want)) {
				t.Errorf("%q: want %d, heard %.40q", script, want, heard)
			}
		}
	}
}
