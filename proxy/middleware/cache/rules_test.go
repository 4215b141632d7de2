package cache_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/cache"
)

// step is one request and what it must lead to.
type step struct {
	after  time.Duration // since the step before
	method string        // "": GET
	target string        // "": /
	ask    string        // request fields: "Name: value\n..."
	user   string        // whom a middleware before found the client to be

	origin string // response fields, and ":status NNN"; what the server would answer now
	body   string // its body; "" is "body N", N counting the server's answers

	calls  int    // how often the server has been asked in all, afterwards
	status int    // wanted; 0: 200
	want   string // body wanted, if not ""
	says   string // what Cache-Status must have in it
	field  string // "Name: value" wanted in the answer, "Name:" for none
}

// The rules of RFC 9111 and of what it refers to, as a table. Time is that of a
// synctest bubble, so an age is exact.
func TestTheRulesOfRFC9111(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	cases := []struct {
		name    string
		options func(*cache.Options)
		steps   []step
	}{
		{"section 3: max-age makes a GET storable", nil, []step{
			{origin: fresh, calls: 1, says: "fwd=uri-miss; stored"},
			{calls: 1, want: "body 1", says: "hit; ttl=60", field: "Age: 0"},
			{after: 59 * time.Second, calls: 1, says: "hit; ttl=1", field: "Age: 59"},
			{after: time.Second, calls: 2, says: "fwd=stale"},
		}},
		{"section 3: nothing said, nothing stored", nil, []step{{calls: 1}, {calls: 2}}},
		{"section 3: a POST is not stored", nil, []step{{method: "POST", origin: fresh, calls: 1, says: "fwd=method"}, {method: "POST", origin: fresh, calls: 2}}},
		{"section 3: no-store", nil, []step{{origin: "Cache-Control: max-age=60, no-store", calls: 1}, {calls: 2}}},
		{"section 3: private", nil, []step{{origin: "Cache-Control: max-age=60, private", calls: 1}, {calls: 2}}},
		{"section 3: private with a field name counts as private", nil, []step{{origin: `Cache-Control: max-age=60, private="x-y"`, calls: 1}, {calls: 2}}},
		{"section 3: 404 with max-age", nil, []step{{origin: ":status 404\n" + fresh, calls: 1, status: 404}, {calls: 1, status: 404, want: "body 1"}}},
		{"section 3: 302 with max-age", nil, []step{{origin: ":status 302\nLocation: /x\n" + fresh, calls: 1, status: 302}, {calls: 1, status: 302, field: "Location: /x"}}},
		{"section 3: 500 with max-age is final and understood", nil, []step{{origin: ":status 500\n" + fresh, calls: 1, status: 500}, {calls: 1, status: 500}}},
		{"section 3: a status that is not understood, with must-understand", nil, []step{{origin: ":status 418\nCache-Control: max-age=60, must-understand", calls: 1, status: 418}, {calls: 2}}},
		{"section 5.2.2.3: must-understand lifts no-store for a known status", nil, []step{{origin: "Cache-Control: max-age=60, must-understand, no-store", calls: 1}, {calls: 1}}},
		{"section 3: a part is not stored", nil, []step{{ask: "Range: bytes=0-1", origin: ":status 206\nContent-Range: bytes 0-1/6\n" + fresh, calls: 1, status: 206}, {calls: 2}}},
		{"section 3.5: Authorization", nil, []step{{ask: "Authorization: x", origin: fresh, calls: 1}, {ask: "Authorization: x", origin: fresh, calls: 2}}},
		{"section 3.5: Authorization and public", nil, []step{{ask: "Authorization: x", origin: "Cache-Control: max-age=60, public", calls: 1}, {calls: 1}}},
		{"section 3.5: Authorization and s-maxage", nil, []step{{ask: "Authorization: x", origin: "Cache-Control: s-maxage=60", calls: 1}, {calls: 1}}},
		{"section 3.5: Authorization and must-revalidate", nil, []step{{ask: "Authorization: x", origin: "Cache-Control: max-age=60, must-revalidate", calls: 1}, {calls: 1}}},
		{"section 3.5: a user whom a middleware knows counts as authenticated", nil, []step{{user: "ann", origin: fresh, calls: 1}, {user: "bob", origin: fresh, calls: 2}}},
		{"section 7.3: Set-Cookie is never shared", nil, []step{{origin: "Set-Cookie: a=b\n" + fresh, calls: 1}, {calls: 2}}},
		{"section 4: another query is another resource", nil, []step{{target: "/?a", origin: fresh, calls: 1}, {target: "/?b", calls: 2, want: "body 2"}}},
		{"section 4.1: Vary", nil, []step{
			{ask: "X: 1", origin: "Vary: X\n" + fresh, calls: 1},
			{ask: "X: 2", origin: "Vary: x\n" + fresh, calls: 2, says: "fwd=vary-miss; stored"},
			{ask: "X: 1", calls: 2, want: "body 1"}, {ask: "X: 2", calls: 2, want: "body 2"},
			{calls: 3}, // without the field is another one again
		}},
		{"section 4.1: Vary, blanks and lines do not matter", nil, []step{
			{ask: "X: 1,2", origin: "Vary: X\n" + fresh, calls: 1}, {ask: "X:  1 , 2", calls: 1}, {ask: "X: 1\nX: 2", calls: 1}, {ask: "X: 2,1", calls: 2},
		}},
		{"section 4.1: Vary: *", nil, []step{{origin: "Vary: *\n" + fresh, calls: 1}, {calls: 2}}},
		{"section 4.1: Vary: * among others", nil, []step{{origin: "Vary: X, *\n" + fresh, calls: 1}, {calls: 2}}},
		{"section 4.2.1: s-maxage beats max-age", nil, []step{{origin: "Cache-Control: max-age=1, s-maxage=60", calls: 1}, {after: 59 * time.Second, calls: 1}, {after: time.Second, calls: 2}}},
		{"section 4.2.1: max-age beats Expires", nil, []step{{origin: fresh + "\nExpires: Sat, 01 Jan 2000 00:00:00 GMT", calls: 1}, {after: 59 * time.Second, calls: 1}}},
		{"section 4.2.1: Expires counts from Date", nil, []step{{origin: "Date: Sat, 01 Jan 2000 00:00:00 GMT\nExpires: Sat, 01 Jan 2000 00:01:00 GMT", calls: 1}, {after: 59 * time.Second, calls: 1}, {after: time.Second, calls: 2}}},
		{"section 5.3: Expires: 0 is stale", nil, []step{{origin: "Expires: 0", calls: 1}, {calls: 2}}},
		{"section 4.2.1: the first of two max-age counts", nil, []step{{origin: "Cache-Control: max-age=60, max-age=1", calls: 1}, {after: 30 * time.Second, calls: 1}}},
		{"section 4.2.1: a bad max-age is stale", nil, []step{{origin: "Cache-Control: max-age=60s", calls: 1}, {calls: 2}}},
		{"section 4.2.1: a negative max-age is stale", nil, []step{{origin: "Cache-Control: max-age=-1", calls: 1}, {calls: 2}}},
		{"section 1.2.2: a max-age past counting is long", nil, []step{{origin: "Cache-Control: max-age=99999999999999999999", calls: 1}, {after: 1000 * time.Hour, calls: 1}}},
		{"section 5.2: a quoted max-age and other directives", nil, []step{{origin: `Cache-Control: foo="a, no-store, b", MAX-AGE="60"`, calls: 1}, {calls: 1}}},
		{"section 4.2.2: no heuristic unless asked for", nil, []step{{origin: "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT", calls: 1}, {calls: 2}}},
		{"section 4.2.2: a tenth of the age", func(o *cache.Options) { o.Heuristic = true }, []step{
			{origin: "Date: Sat, 01 Jan 2000 00:00:00 GMT\nLast-Modified: Fri, 31 Dec 1999 23:50:00 GMT", calls: 1}, {after: 59 * time.Second, calls: 1}, {after: time.Second, calls: 2},
		}},
		{"a ttl for what says nothing", func(o *cache.Options) { o.TTL = time.Minute }, []step{{calls: 1}, {after: 59 * time.Second, calls: 1}, {after: time.Second, calls: 2}}},
		{"a ttl is not for every status", func(o *cache.Options) { o.TTL = time.Minute }, []step{{origin: ":status 500", status: 500, calls: 1}, {calls: 2}}},
		{"section 4.2.3: Age counts", nil, []step{{origin: "Age: 50\n" + fresh, calls: 1}, {after: 9 * time.Second, calls: 1, field: "Age: 59"}, {after: time.Second, calls: 2}}},
		{"section 4.2.3: Age with two members", nil, []step{{origin: "Age: 50, 0\n" + fresh, calls: 1}, {after: 10 * time.Second, calls: 2}}},
		{"section 4.2.3: an old Date counts as age", nil, []step{{origin: "Date: Fri, 31 Dec 1999 23:59:10 GMT\n" + fresh, calls: 1}, {after: 10 * time.Second, calls: 2}}},
		{"section 4.2.4: no-cache asks each time", nil, []step{{origin: "Etag: \"a\"\nCache-Control: max-age=60, no-cache", calls: 1}, {origin: ":status 304", calls: 2, want: "body 1", says: "fwd=stale; fwd-status=304"}}},
		{"section 4.3: a validator and 304", nil, []step{
			{origin: "Etag: \"a\"\nX: old\n" + fresh, calls: 1},
			{after: time.Minute, origin: ":status 304\nX: new\n" + fresh, calls: 2, want: "body 1", field: "X: new"},
			{after: 59 * time.Second, calls: 2, want: "body 1", field: "X: new"},
		}},
		{"section 4.3.3: a whole answer replaces", nil, []step{{origin: "Etag: \"a\"\n" + fresh, calls: 1}, {after: time.Minute, origin: fresh, calls: 2, want: "body 2"}, {calls: 2, want: "body 2"}}},
		{"section 4.3.3: a private answer takes the place of a stored one", nil, []step{
			{origin: "Etag: \"a\"\n" + fresh, calls: 1}, {after: time.Minute, origin: "Cache-Control: private", calls: 2, want: "body 2"}, {origin: ":status 304", calls: 3, status: 304},
		}},
		{"section 4.3.2: If-None-Match of the client", nil, []step{
			{origin: "Etag: \"a\"\n" + fresh, calls: 1}, {ask: `If-None-Match: "a"`, calls: 1, status: 304}, {ask: `If-None-Match: W/"a"`, calls: 1, status: 304}, {ask: `If-None-Match: "b"`, calls: 1, want: "body 1"},
		}},
		{"section 4.3.2: If-Modified-Since of the client", nil, []step{
			{origin: "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT\n" + fresh, calls: 1},
			{ask: "If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT", calls: 1, status: 304}, {ask: "If-Modified-Since: Thu, 30 Dec 1999 00:00:00 GMT", calls: 1, want: "body 1"},
		}},
		{"section 4.3.2: If-Modified-Since without Last-Modified goes by Date", nil, []step{
			{origin: "Date: Fri, 31 Dec 1999 23:59:59 GMT\n" + fresh, calls: 1},
			{ask: "If-Modified-Since: Fri, 31 Dec 1999 23:59:59 GMT", calls: 1, status: 304}, {ask: "If-Modified-Since: Fri, 31 Dec 1999 23:59:58 GMT", calls: 1, want: "body 1"},
		}},
		{"section 3.2: what a 304 must not change", nil, []step{
			{origin: "Etag: \"a\"\n" + fresh, calls: 1}, {after: time.Minute, origin: ":status 304\nEtag: \"b\"\nContent-Length: 0\n" + fresh, calls: 2, want: "body 1", field: `Etag: "a"`},
		}},
		{"section 5.1: an Age that is no number is ignored", nil, []step{{origin: "Age: abc\n" + fresh, calls: 1}, {after: 59 * time.Second, calls: 1}}},
		{"a condition of the client does not keep the whole from being stored", nil, []step{{ask: `If-None-Match: "a"`, origin: "Etag: \"a\"\n" + fresh, calls: 1, status: 304}, {calls: 1, want: "body 1"}}},
		{"RFC 9110 section 14: a part of what is stored", nil, []step{
			{origin: fresh + "\nContent-Length: 6", body: "abcdef", calls: 1},
			{ask: "Range: bytes=1-2", calls: 1, status: 206, want: "bc", field: "Content-Range: bytes 1-2/6"}, {ask: "Range: bytes=9-", calls: 1, status: 416},
		}},
		{"RFC 9110 section 13.1.5: If-Range that does not match", nil, []step{{origin: "Etag: \"a\"\n" + fresh, body: "abcdef", calls: 1}, {ask: "Range: bytes=1-2\nIf-Range: \"b\"", calls: 1, want: "abcdef"}}},
		{"section 4: HEAD from a stored GET", nil, []step{{origin: fresh, calls: 1}, {method: "HEAD", calls: 1, field: "Content-Length: 6"}}},
		{"HEAD alone is not stored as a GET", nil, []step{{method: "HEAD", origin: fresh, calls: 1}, {calls: 2, want: "body 2"}}},
		{"section 4.4: POST invalidates", nil, []step{{origin: fresh, calls: 1}, {method: "POST", calls: 2}, {origin: fresh, calls: 3, want: "body 3"}}},
		{"section 4.4: an unknown method invalidates", nil, []step{{origin: fresh, calls: 1}, {method: "FROB", calls: 2}, {calls: 3}}},
		{"section 4.4: a failed POST does not", nil, []step{{origin: fresh, calls: 1}, {method: "POST", origin: ":status 500", status: 500, calls: 2}, {calls: 2, want: "body 1"}}},
		{"section 4.4: OPTIONS does not", nil, []step{{origin: fresh, calls: 1}, {method: "OPTIONS", calls: 2}, {calls: 2}}},
		{"section 4.4: Location on the same host", nil, []step{
			{target: "/a", origin: fresh, calls: 1}, {method: "POST", target: "/b", origin: ":status 201\nLocation: /a", status: 201, calls: 2}, {target: "/a", calls: 3},
		}},
		{"section 4.4: Content-Location elsewhere is left alone", nil, []step{
			{target: "/a", origin: fresh, calls: 1}, {method: "POST", target: "/b", origin: "Content-Location: https://other.example/a", calls: 2}, {target: "/a", calls: 2},
		}},
		{"section 5.2.1.1: max-age=0 of the client", nil, []step{{origin: fresh, calls: 1}, {ask: "Cache-Control: max-age=0", calls: 2}, {origin: fresh, calls: 3}}},
		{"section 5.2.1.2: max-stale", nil, []step{{origin: fresh, calls: 1}, {after: 90 * time.Second, ask: "Cache-Control: max-stale=30", calls: 1}, {ask: "Cache-Control: max-stale=29", calls: 2}}},
		{"section 5.2.1.2: max-stale and must-revalidate", nil, []step{{origin: fresh + ", must-revalidate", calls: 1}, {after: 90 * time.Second, ask: "Cache-Control: max-stale", calls: 2}}},
		{"section 5.2.1.3: min-fresh", nil, []step{{origin: fresh, calls: 1}, {ask: "Cache-Control: min-fresh=60", calls: 1}, {ask: "Cache-Control: min-fresh=61", calls: 2}}},
		{"section 5.2.1.4: no-cache of the client", nil, []step{{origin: fresh, calls: 1}, {ask: "Cache-Control: no-cache", origin: fresh, calls: 2, says: "fwd=request"}, {calls: 2, want: "body 2"}}},
		{"section 5.4: Pragma: no-cache", nil, []step{{origin: fresh, calls: 1}, {ask: "Pragma: no-cache", calls: 2}}},
		{"section 5.4: Cache-Control beats Pragma", nil, []step{{origin: fresh, calls: 1}, {ask: "Pragma: no-cache\nCache-Control: foo", calls: 1}}},
		{"section 5.2.1.5: no-store of the client", nil, []step{{ask: "Cache-Control: no-store", origin: fresh, calls: 1}, {calls: 2}}},
		{"section 5.2.1.7: only-if-cached", nil, []step{{ask: "Cache-Control: only-if-cached", calls: 0, status: 504}, {origin: fresh, calls: 1}, {ask: "Cache-Control: only-if-cached", calls: 1}}},
		{"the client's wishes may be ignored", func(o *cache.Options) { o.IgnoreRequest = true }, []step{{ask: "Cache-Control: no-store", origin: fresh, calls: 1}, {ask: "Cache-Control: no-cache", calls: 1}}},
		{"RFC 5861 section 4: stale-if-error", nil, []step{
			{origin: "Cache-Control: max-age=60, stale-if-error=30", calls: 1}, {after: 89 * time.Second, origin: ":status 503", calls: 2, want: "body 1", says: "STALE-IF-ERROR"},
			{after: 2 * time.Second, origin: ":status 503", calls: 3, status: 503},
		}},
		{"RFC 5861 section 4: not for a 404", nil, []step{{origin: "Cache-Control: max-age=60, stale-if-error=30", calls: 1}, {after: time.Minute, origin: ":status 404", calls: 2, status: 404}}},
		{"stale-if-error by configuration", func(o *cache.Options) { o.StaleIfError = 30 * time.Second }, []step{{origin: fresh, calls: 1}, {after: 89 * time.Second, origin: ":status 500", calls: 2, want: "body 1"}}},
		{"stale-if-error never beats must-revalidate", func(o *cache.Options) { o.StaleIfError = 30 * time.Second }, []step{{origin: fresh + ", must-revalidate", calls: 1}, {after: time.Minute, origin: ":status 500", calls: 2, status: 500}}},
		{"stale-if-error by configuration never beats s-maxage", func(o *cache.Options) { o.StaleIfError = 30 * time.Second }, []step{{origin: "Cache-Control: s-maxage=60", calls: 1}, {after: time.Minute, origin: ":status 500", calls: 2, status: 500}}},
		{"RFC 5861 section 3: stale-while-revalidate", nil, []step{
			{origin: "Cache-Control: max-age=60, stale-while-revalidate=30", calls: 1},
			{after: 89 * time.Second, origin: fresh, calls: 2, want: "body 1", says: "STALE-WHILE-REVALIDATE"}, {calls: 2, want: "body 2", says: "hit"},
		}},
		{"RFC 5861 section 3: past its time one waits", nil, []step{{origin: "Cache-Control: max-age=60, stale-while-revalidate=30", calls: 1}, {after: 91 * time.Second, origin: fresh, calls: 2, want: "body 2"}}},
		{"what is too large passes and is not stored", func(o *cache.Options) { o.MaxObject = 2048 }, []step{{origin: fresh, body: strings.Repeat("x", 3000), calls: 1}, {calls: 2}}},
		{"what is too large by its length", func(o *cache.Options) { o.MaxObject = 2048 }, []step{{origin: fresh + "\nContent-Length: 3000", body: strings.Repeat("x", 3000), calls: 1}, {calls: 2}}},
		{"trailers would be lost", nil, []step{{origin: fresh + "\nTrailer: X", calls: 1}, {calls: 2}}},
		{"RFC 9211: a cache nearer to the server speaks first", nil, []step{{origin: "Cache-Status: Origin; hit\n" + fresh, calls: 1, field: "Cache-Status: Origin; hit"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := cache.Options{Size: 8 << 20, MaxObject: 1 << 20, LockTimeout: 5 * time.Second}
				if c.options != nil {
					c.options(&o)
				}
				run(t, o, c.steps)
			})
		})
	}
	t.Logf("%d rules", len(cases))
}

func run(t *testing.T, o cache.Options, steps []step) {
	t.Helper()
	made, err := cache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	calls := 0
	var now step
	handler := made.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		answer(w, r, now, calls)
	}))
	for i, s := range steps {
		time.Sleep(s.after)
		now = s
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request(s))
		synctest.Wait() // for what goes on behind
		at := fmt.Sprintf("step %d", i+1)
		if calls != s.calls {
			t.Errorf("%s: the server was asked %d times, want %d (%s)", at, calls, s.calls, w.Header()["Cache-Status"])
		}
		if want := max(s.status, 200); w.Code != want {
			t.Errorf("%s: status %d, want %d", at, w.Code, want)
		}
		if s.want != "" && w.Body.String() != s.want {
			t.Errorf("%s: body %q, want %q", at, w.Body, s.want)
		}
		if said := strings.Join(w.Header()["Cache-Status"], ", "); s.says != "" && !strings.Contains(said, s.says) {
			t.Errorf("%s: Cache-Status %q does not say %q", at, said, s.says)
		}
		if name, value, ok := strings.Cut(s.field, ": "); ok && w.Header().Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", at, name, w.Header()[name], value)
		}
	}
}

func request(s step) *http.Request {
	target := cmp.Or(s.target, "/")
	r := httptest.NewRequest(cmp.Or(s.method, "GET"), "https://a.example"+target, nil)
	r.RequestURI = target
	for line := range strings.Lines(s.ask) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		r.Header[name] = append(r.Header[name], strings.TrimSpace(value))
	}
	return exchange.With(r, &exchange.Exchange{User: s.user, Secure: true})
}

// answer is the server: it does what the step says, and 304 only if it was
// asked a condition.
func answer(w http.ResponseWriter, r *http.Request, s step, calls int) {
	status := 200
	for line := range strings.Lines(s.origin) {
		line = strings.TrimSpace(line)
		if n, ok := strings.CutPrefix(line, ":status "); ok {
			_, _ = fmt.Sscan(n, &status)
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		w.Header().Add(name, value)
	}
	w.WriteHeader(status)
	if status != http.StatusNotModified && r.Method != http.MethodHead {
		body := s.body
		if body == "" {
			body = fmt.Sprintf("body %d", calls)
		}
		_, _ = w.Write([]byte(body))
	}
}
