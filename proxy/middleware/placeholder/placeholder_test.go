package placeholder_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
)

// request is one of which everything is known.
func request() *http.Request {
	r := httptest.NewRequest("POST", "https://App.Test:8443/a%2Fb/c?x=1&y=a%20b&x=2", nil)
	r.RequestURI = "/a%2Fb/c?x=1&y=a%20b&x=2&z=%0d%0aX"
	r.Header.Set("X-Team", "blue")
	r.Header.Set("Cookie", `a=1; session="s 1"; b=2`)
	certificate := &x509.Certificate{Raw: []byte("certificate"), Subject: pkix.Name{CommonName: "alice", Organization: []string{"Ops"}}}
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{certificate}, VerifiedChains: [][]*x509.Certificate{{certificate}}}
	return exchange.With(r, &exchange.Exchange{
		ID: "0123", Client: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("[::ffff:10.0.0.1]:4711"), Secure: true,
		Site: "app.test", User: "bob", Status: 404, Captures: []string{"/x", "ä b/c?", "100%25"},
	})
}

func TestEveryPlaceholderStandsForItsValue(t *testing.T) {
	r := request()
	values := map[string]string{
		"{host}": "app.test", "{uri}": "/a%2Fb/c?x=1&y=a%20b&x=2&z=%0d%0aX", "{path}": "/a%2Fb/c", "{query}": "x=1&y=a%20b&x=2&z=%0d%0aX", "{method}": "POST", "{scheme}": "https",
		"{client_ip}": "192.0.2.1", "{peer_ip}": "10.0.0.1", "{request_id}": "0123", "{site}": "app.test", "{user}": "bob", "{status}": "404",
		"{header.x-team}": "blue", "{header.None}": "", "{header.Host}": "App.Test:8443", "{cookie.session}": "s 1", "{cookie.b}": "2", "{cookie.none}": "",
		"{query.x}": "1", "{query.y}": "a b", "{query.none}": "", "{query.z}": "X", "{capture.1}": "ä b/c?", "{capture.9}": "",
		"{tls.version}": "TLS 1.3", "{tls.subject}": "CN=alice,O=Ops", "{tls.fingerprint}": fmt.Sprintf("%x", sha256.Sum256([]byte("certificate"))),
	}
	for text, want := range values {
		template, err := placeholder.Parse("<" + text + ">")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := template.Expand(r); got != "<"+want+">" {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	// The list in doc.go is the whole list.
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, listed := range regexp.MustCompile(`(?m)^//\t(\{[a-z_.]+)(NAME|N)?\}`).FindAllStringSubmatch(string(doc), -1) {
		found := false
		for text := range values {
			found = found || strings.HasPrefix(text, listed[1])
		}
		if !found {
			t.Errorf("%s is listed and not tested", listed[0])
		}
	}
}

func TestWhatIsNotProvenIsNotSaid(t *testing.T) {
	r := httptest.NewRequest("GET", "http://a.test/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "mallory"}}}}
	for _, text := range []string{"{tls.subject}", "{tls.fingerprint}", "{user}", "{site}", "{capture.1}"} {
		template, err := placeholder.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.Expand(r); got != "" {
			t.Errorf("%s is %q", text, got)
		}
	}
}

func TestBracesThatBeginNoPlaceholderStay(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "{{host}": "{host}", "a{{b}}": "a{b}}", `{"ok": true}`: `{"ok": true}`, "{ host }": "{ host }", "}": "}", "{": "{", "x{": "x{", "{}": "{}", "{1}": "{1}",
		`{"{{{host}}`: `{"{app.test}`,
	} {
		template, err := placeholder.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := template.Expand(request()); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

func TestMistakesAreNamedWithTheirCure(t *testing.T) {
	for text, want := range map[string]string{
		"{hots}": "did you mean {host}?", "{remote_addr}": "did you mean {client_ip}?", "{request_uri}": "did you mean {uri}?", "{headers.X-A}": "did you mean {header.X-A}?",
		"{http.request.header.X-A}": "did you mean {header.X-A}?", "{re.name.1}": "did you mean {capture.1}?", "{env.HOME}": "The environment is never consulted",
		"{nothing.like.it}": "the placeholders are {host} {uri}", "{capture.one}": "write {capture.1}", "{host": "write {{", "{host {uri}": "write {{", "{tls.versoin}": "did you mean {tls.version}?",
	} {
		_, err := placeholder.Parse(text)
		wrong, ok := errors.AsType[*placeholder.Error](err)
		if !ok || !strings.Contains(wrong.Hint(), want) {
			t.Errorf("%s: %v, want the hint %q", text, err, want)
		}
	}
}

func TestTargetsAreEncoded(t *testing.T) {
	for text, want := range map[string]string{
		"/{capture.1}": "/%C3%A4%20b/c%3F", "/{capture.2}": "/100%25", "{uri}": "/a%2Fb/c?x=1&y=a%20b&x=2&z=%0d%0aX", "/{query.y}": "/a%20b", "/?q={header.Host}": "/?q=App.Test:8443",
		"/{cookie.session}": "/s%201",
	} {
		template, err := placeholder.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.ExpandTarget(request()); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
	template, err := placeholder.Parse("<b>{query.x}")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/?x=%3Cscript%3E%26", nil)
	if got := template.ExpandHTML(r); got != "<b>&lt;script&gt;&amp;" {
		t.Errorf("in HTML: %s", got)
	}
}

func TestConstantsCostNothing(t *testing.T) {
	r := request()
	template, err := placeholder.Parse("max-age=31536000; {{x")
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _ = template.Expand(r) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// FuzzParse: whatever can be parsed can be expanded, for every request, without
// a control character of the request's.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://{host}{uri}", "{{", "{header.X}{query.a}", "{capture.1}", "{", "{\"a\":1}", "{cookie.a b}", "}{"} {
		f.Add(seed, "/x?a=%0a")
	}
	f.Fuzz(func(t *testing.T, text, uri string) {
		template, err := placeholder.Parse(text)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = uri
		r.Header.Set("X", uri)
		r.Host = uri
		r = exchange.With(r, &exchange.Exchange{User: uri, Captures: []string{uri, uri}})
		fromText := strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
		for _, got := range []string{template.Expand(r), template.ExpandTarget(r), template.ExpandHTML(r)} {
			if !fromText && strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Fatalf("%q became %q", text, got)
			}
		}
		if constant, ok := template.Constant(); ok && constant != template.Expand(r) {
			t.Fatalf("%q is a constant, and became something else", text)
		}
		_, _ = url.Parse(template.ExpandTarget(r))
	})
}

func BenchmarkExpand(b *testing.B) {
	r := request()
	template, err := placeholder.Parse("https://{host}{uri}")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = template.ExpandTarget(r)
	}
}
