package rewrite_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
	"github.com/sallyport/sallyport/proxy/middleware/rewrite"
)

func template(t testing.TB, text string) *placeholder.Template {
	t.Helper()
	parsed, err := placeholder.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// rewritten returns what the action gets, "" if the request was refused.
func rewritten(t testing.TB, o rewrite.Options, uri string) string {
	t.Helper()
	wrap, err := rewrite.New(o)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	h := wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.RequestURI
		if r.URL.RequestURI() != r.RequestURI && !strings.HasPrefix(r.RequestURI, "//") && r.RequestURI != "*" {
			t.Errorf("RequestURI is %s, and the URL says %s", r.RequestURI, r.URL.RequestURI())
		}
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r.RequestURI = uri
	h.ServeHTTP(httptest.NewRecorder(), r)
	return got
}

func TestNothingToDoCostsNothing(t *testing.T) {
	if wrap, err := rewrite.New(rewrite.Options{Merge: true}); wrap != nil || err != nil {
		t.Error("a middleware that does nothing", err)
	}
}

func TestStepsFollowEachOther(t *testing.T) {
	all := rewrite.Options{
		StripPrefix: "/in", To: template(t, "/x/{capture.1}{path}"), Match: regexp.MustCompile("^/([a-z]+)"), AddPrefix: "/out ä",
	}
	for uri, want := range map[string]string{
		"/in/abc/1?q": "/out%20%C3%A4/x/abc/abc/1?q", "/in/1?q": "/out%20%C3%A4/1?q", "/other": "/out%20%C3%A4/x/other/other", "*": "*",
	} {
		if got := rewritten(t, all, uri); got != want {
			t.Errorf("%s became %s, want %s", uri, got, want)
		}
	}
}

// The groups of the route's own expression are there again behind a rewrite.
func TestCapturesOfTheRouteComeBack(t *testing.T) {
	wrap, err := rewrite.New(rewrite.Options{To: template(t, "/{capture.1}"), Match: regexp.MustCompile("b(.)")})
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange.Exchange{Captures: []string{"a", "b"}}
	wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/c" || x.Captures[1] != "b" {
			t.Errorf("%s, captures %q", r.RequestURI, x.Captures)
		}
	})).ServeHTTP(httptest.NewRecorder(), exchange.With(httptest.NewRequest("GET", "/abc", nil), x))
}

// FuzzRewrite: whatever the request, what comes out of a prefix stays under it.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{"/in/../x", "/in/%2e%2e/", "/in//x", "/in/..%2f", "/in;..", "/in?a=/..", "/in/%zz"} {
		f.Add(seed)
	}
	wrap, err := rewrite.New(rewrite.Options{StripPrefix: "/in", To: template(f, "/p{path}/{query.a}"), AddPrefix: "/out"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !strings.HasPrefix(uri, "/") || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c == '#' || c == 0x7f }) {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = uri
		wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.RequestURI, "/out/p/") {
				t.Fatalf("%q became %q", uri, r.RequestURI)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}
