package accesslog_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/exchange"
)

func visit(target string) (*http.Request, *exchange.Exchange) {
	r := httptest.NewRequest("GET", "https://app.example/", nil)
	r.RequestURI, r.Host = target, "app.example"
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	r.Header.Set("User-Agent", "curl/8")
	return r, &exchange.Exchange{
		ID: "0123456789abcdef0123456789abcdef", Started: time.Date(2026, 11, 23, 21, 0, 0, 5e6, time.UTC),
		Peer: netip.MustParseAddrPort("10.0.0.1:4711"), Client: netip.MustParseAddr("192.0.2.7"), Secure: true,
		Target: target, Site: "app.example", Status: 200, Sent: 13,
	}
}

func line(t testing.TB, o accesslog.Options, r *http.Request, x *exchange.Exchange) string {
	t.Helper()
	var out bytes.Buffer
	o.Sink = &out
	l, err := accesslog.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Done(r, x, 1234567*time.Nanosecond)
	return out.String()
}

func TestTheTwoFormats(t *testing.T) {
	r, x := visit("/a?b=c")
	x.Upstream, x.Server, x.Attempts, x.UpstreamTime = "api", "http://10.0.0.9:80", 2, time.Millisecond
	want := `{"time":"2026-11-23T21:00:00.005Z","request_id":"0123456789abcdef0123456789abcdef","client":"192.0.2.7","peer":"10.0.0.1",` +
		`"method":"GET","scheme":"https","host":"app.example","target":"/a?b=c","protocol":"HTTP/1.1","status":200,"bytes":13,"duration_ms":1.234,` +
		`"site":"app.example","upstream":"api","server":"http://10.0.0.9:80","attempts":2,"upstream_ms":1.000,"tls":"TLS 1.3","user_agent":"curl/8"}` + "\n"
	if got := line(t, accesslog.Options{}, r, x); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	want = `192.0.2.7 - - [23/Nov/2026:21:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 13 "-" "curl/8"` + "\n"
	if got := line(t, accesslog.Options{Format: accesslog.Combined}, r, x); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestNothingThatAClientSendsCanForgeALine(t *testing.T) {
	evil := "a\"b\\c\nd\re\x00f\x1b[2Jg\x7fh\u0085i\u2028j\xffk</script>"
	r, x := visit("/" + evil)
	x.User = evil
	r.Host, r.Method = evil, evil
	r.Header["User-Agent"] = []string{evil}
	r.Header["Referer"] = []string{evil}
	r.Header["X-Y"] = []string{evil}
	o := accesslog.Options{Headers: []string{"x-y"}}
	got := line(t, o, r, x)
	if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "}\n") {
		t.Errorf("not one line: %q", got)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(got), &fields); err != nil {
		t.Fatalf("%v in %q", err, got)
	}
	meant := strings.ReplaceAll(evil, "\xff", "\ufffd")
	for _, key := range []string{"user", "host", "method", "user_agent", "x_y", "referer"} {
		if fields[key] != meant {
			t.Errorf("%s is %q, want %q", key, fields[key], meant)
		}
	}
	o.Format = accesslog.Combined
	got = line(t, o, r, x)
	if strings.Count(got, "\n") != 1 || strings.Count(got, `"`) != 6 {
		t.Errorf("not one line of six quotes: %q", got)
	}
	for i := range len(got) - 1 {
		if got[i] < ' ' || got[i] > '~' {
			t.Fatalf("%q at %d in %q", got[i], i, got)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	const secret = "s3cr3t"
	r, x := visit("/cb?code=" + secret + "&x=1&%54oken=" + secret + ";TOKEN=" + secret + "&token")
	r.Header.Set("Referer", "https://app.example/?token="+secret)
	for _, name := range accesslog.Secretive() {
		r.Header.Set(name, secret)
	}
	for _, format := range []accesslog.Format{accesslog.JSON, accesslog.Combined} {
		got := line(t, accesslog.Options{Format: format, RedactQuery: []string{"Code", "token"}, Headers: accesslog.Secretive()}, r, x)
		if strings.Contains(got, secret) {
			t.Errorf("%s: the secret is in %s", format, got)
		}
		if !strings.Contains(got, "/cb?code=***&x=1&%54oken=***&TOKEN=***&token") {
			t.Errorf("%s: the target is not as wanted: %s", format, got)
		}
	}
	if got := line(t, accesslog.Options{Headers: []string{"cookie"}, Reveal: []string{"COOKIE"}}, r, x); !strings.Contains(got, `"cookie":"`+secret) {
		t.Errorf("revealed on demand: %s", got)
	}
}

func TestWhatIsLeftOut(t *testing.T) {
	o := accesslog.Options{Exclude: []string{"/healthz", "/static/"}}
	for target, logged := range map[string]bool{"/healthz": false, "/healthz?x": false, "/healthz/": true, "/static/a.css": false, "/static": true, "/": true} {
		r, x := visit(target)
		if got := line(t, o, r, x) != ""; got != logged {
			t.Errorf("%s logged: %v", target, got)
		}
		x.Status = 502
		if line(t, o, r, x) == "" {
			t.Errorf("%s: a failure was left out", target)
		}
	}
}

func TestASampleIsAShare(t *testing.T) {
	var out bytes.Buffer
	l, err := accesslog.New(accesslog.Options{Sample: 0.1, Sink: &out})
	if err != nil {
		t.Fatal(err)
	}
	r, x := visit("/")
	for range 10_000 {
		l.Done(r, x, 0)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n < 800 || n > 1200 { // 6 standard deviations
		t.Errorf("%d of 10,000", n)
	}
}

func TestALongValueIsCut(t *testing.T) {
	r, x := visit("/" + strings.Repeat("x", 1<<20))
	if got := line(t, accesslog.Options{}, r, x); len(got) > 4096 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestWrongOptions(t *testing.T) {
	for name, o := range map[string]accesslog.Options{
		"format": {Format: "xml", Sink: io.Discard}, "sample": {Sample: 2, Sink: io.Discard}, "no sink": {},
	} {
		if _, err := accesslog.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("/a?b", "ua", "h")
	f.Add("/\n\"\\?token=1&token=2", "\xff\x00\u0080", "\x1b")
	f.Fuzz(func(t *testing.T, target, agent, host string) {
		r, x := visit(target)
		r.Host = host
		r.Header["User-Agent"] = []string{agent}
		got := line(t, accesslog.Options{RedactQuery: []string{"token"}}, r, x)
		if !json.Valid([]byte(got)) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q", got)
		}
		got = line(t, accesslog.Options{Format: accesslog.Combined}, r, x)
		if strings.Count(got, "\n") != 1 || strings.Count(got, `"`) != 6 {
			t.Errorf("%q", got)
		}
	})
}

func BenchmarkDone(b *testing.B) {
	for _, format := range []accesslog.Format{accesslog.JSON, accesslog.Combined} {
		b.Run(fmt.Sprint(format), func(b *testing.B) {
			l, err := accesslog.New(accesslog.Options{Format: format, Sink: io.Discard, RedactQuery: []string{"token"}})
			if err != nil {
				b.Fatal(err)
			}
			r, x := visit("/api/items?page=3")
			b.ReportAllocs()
			for b.Loop() {
				l.Done(r, x, time.Millisecond)
			}
		})
	}
}

func TestTheTraceIsLoggedIfItIsOne(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for value, logged := range map[string]bool{
		"00-" + id + "-00f067aa0ba902b7-01":                        true,
		"cc-" + id + "-00f067aa0ba902b7-01-what-the-future-brings": true,
		"00-" + id + "-00f067aa0ba902b7-01-more":                   false,
		"ff-" + id + "-00f067aa0ba902b7-01":                        false,
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":       false,
		"00-" + id + "-0000000000000000-01":                        false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  false,
		"00-" + id + "-00f067aa0ba902b7-0\n":                       false,
		"":                                                         false, "00": false,
	} {
		r, x := visit("/")
		r.Header.Set("Traceparent", value)
		if got := strings.Contains(line(t, accesslog.Options{}, r, x), `"trace_id":"`+id+`"`); got != logged {
			t.Errorf("%q: logged %v", value, got)
		}
		r.Header.Add("Traceparent", value)
		if got := line(t, accesslog.Options{}, r, x); strings.Contains(got, "trace_id") {
			t.Errorf("%q twice: %s", value, got)
		}
	}
}
