package h1

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequestHead: whatever a request is made of, its head is refused or is
// exactly the lines that it should be.
func FuzzRequestHead(f *testing.F) {
	f.Add("GET", "/a?b", "app.test", "X-A", "b")
	f.Add("POST", "//host/path", "[::1%25lo]:80", "content-length", "7")
	f.Add("G\r\nX: y", "/ HTTP/1.1\r\n", "a\r\n", "A\r\nB", "c\r\n\r\nGET / HTTP/1.1")
	f.Add("OPTIONS", "*", "", "Expect", "100-continue")
	f.Add("PUT", "/\x00", "a b", "A:", "\t trimmed \t")
	f.Add("GET", "/caf\xc3\xa9", "x", "Connection", "close, Upgrade")
	f.Fuzz(func(t *testing.T, method, target, host, name, value string) {
		req := &http.Request{Method: method, URL: &url.URL{Opaque: target}, Host: host, Header: http.Header{name: {value}}}
		var o outgoing
		if err := o.prepare(req, false); err != nil {
			return
		}
		wire := string(o.wire)
		if strings.ContainsAny(wire, "\x00\x7f\x1b\v\f") || strings.Count(wire, "\r") != strings.Count(wire, "\r\n") || strings.Count(wire, "\n") != strings.Count(wire, "\r\n") {
			t.Fatalf("%q", wire)
		}
		lines := strings.Split(wire, "\r\n")
		first := strings.Split(lines[0], " ")
		if method == "" {
			method = "GET"
		}
		if len(first) != 3 || first[0] != method || !strings.HasSuffix(first[1], target) || first[2] != "HTTP/1.1" || !strings.HasPrefix(lines[1], "Host: ") {
			t.Fatalf("%q", wire)
		}
		want := 4 // request line, Host, and what is behind the last two line ends
		if !ownField(name) {
			want++
			if lines[2] != name+": "+strings.Trim(value, " \t") {
				t.Fatalf("%q", wire)
			}
		}
		if method == "POST" || method == "PUT" || method == "PATCH" {
			want++
		}
		if len(lines) != want || lines[want-1] != "" || lines[want-2] != "" {
			t.Fatalf("%q", wire)
		}
	})
}
