package reply_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
	"github.com/sallyport/sallyport/proxy/middleware/reply"
)

// FuzzRedirect: no request leads a redirect to another host than the one that
// it names, or away from the site if it names none.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{"//evil.test", `/\evil.test`, "/%2f%2fevil.test", "///evil", "@evil.test", ":8443", "/\t/evil", "https://evil.test", "..//evil"} {
		f.Add(seed)
	}
	texts := map[string]string{
		"/{capture.1}": "/", "{path}": "/", "{uri}": "/", "/go/{query.to}": "/go/", "https://good.test/{capture.1}": "https://good.test/", "https://good.test{uri}": "https://good.test/",
	}
	f.Fuzz(func(t *testing.T, said string) {
		for text, beginning := range texts {
			to, err := placeholder.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			h, err := reply.Redirect(reply.RedirectOptions{To: to})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.RequestURI = "/" + said + "?to=" + said
			w := httptest.NewRecorder()
			h.ServeHTTP(w, exchange.With(r, &exchange.Exchange{Captures: []string{said, said}}))
			location := w.Header().Get("Location")
			if !strings.HasPrefix(location, beginning) || strings.HasPrefix(location, "//") || strings.HasPrefix(location, `/\`) {
				t.Fatalf("%q leads to %q", said, location)
			}
			if strings.ContainsAny(location, "\r\n\t\x00") {
				t.Fatalf("%q has a control character", location)
			}
		}
	})
}

func TestOpenRedirectsAreNotMade(t *testing.T) {
	for _, text := range []string{
		"{query.to}", "{header.Referer}", "//{host}/", `/\evil`, "https://{query.h}/", "https://a.test{capture.1}", "https://{header.X}.a.test/", "{capture.1}://a.test/",
		"a/b", "https://", "", "{method}{uri}",
	} {
		to, err := placeholder.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reply.Redirect(reply.RedirectOptions{To: to}); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	for _, text := range []string{"/", "/x{uri}", "{uri}", "https://a.test", "https://a.test?x={query.y}", "https://{host}:8443{uri}", "{scheme}://{host}/", "https://a.test/{header.X}", "app://open/{capture.1}"} {
		to, err := placeholder.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reply.Redirect(reply.RedirectOptions{To: to}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
