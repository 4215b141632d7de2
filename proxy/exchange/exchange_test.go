package exchange_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
)

func TestOfKnowsAnExchangeThatWasGivenAndOneThatWasNot(t *testing.T) {
	r := httptest.NewRequest("GET", "https://a.example/x?y", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	bare := exchange.Of(r)
	if bare.Client != netip.MustParseAddr("192.0.2.7") || !bare.Secure || bare.Scheme() != "https" || bare.Target != r.RequestURI {
		t.Errorf("of the request itself: %+v", bare)
	}
	given := &exchange.Exchange{ID: "17"}
	if got := exchange.Of(exchange.With(r, given)); got != given {
		t.Errorf("got %p, want %p", got, given)
	}
}

type hook struct {
	name string
	seen *[]string
}

func (h hook) Head(_ *http.Request, status int, _ http.Header) {
	*h.seen = append(*h.seen, fmt.Sprint(h.name, status))
}

func TestTheOutermostHookHasTheLastWord(t *testing.T) {
	var seen []string
	var x exchange.Exchange
	x.OnHead(hook{"outer", &seen})
	x.OnHead(hook{"inner", &seen})
	x.Head(nil, 200, nil)
	if fmt.Sprint(seen) != "[inner200 outer200]" {
		t.Errorf("hooks ran as %v", seen)
	}
}

func TestRefuseWithoutAProxyAnswersTheStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{&exchange.Refusal{Status: 403, Label: "denied"}, 403},
		{fmt.Errorf("wrapped: %w", &exchange.Refusal{Status: 429}), 429},
		{fmt.Errorf("anything"), 500},
	} {
		w := httptest.NewRecorder()
		exchange.Refuse(w, httptest.NewRequest("GET", "/", nil), c.err)
		if w.Code != c.want {
			t.Errorf("%v: %d, want %d", c.err, w.Code, c.want)
		}
	}
}

func TestWithTargetKeepsRequestURIAndURLTheSame(t *testing.T) {
	for _, c := range []struct {
		path, query, uri, decoded string
		ok                        bool
	}{
		{"/a%2Fb/c", "x=1", "/a%2Fb/c?x=1", "/a/b/c", true},
		{"/", "", "/", "/", true},
		{"//a", "", "//a", "//a", true},
		{"/%zz", "", "", "", false},
		{"a", "", "", "", false},
		{"", "", "", "", false},
	} {
		r := httptest.NewRequest("GET", "/old?q", nil)
		got, err := exchange.WithTarget(r, c.path, c.query)
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.path, err)
			continue
		}
		if err != nil {
			continue
		}
		if got.RequestURI != c.uri || got.URL.Path != c.decoded || got.URL.EscapedPath() != c.path || got.URL.RawQuery != c.query {
			t.Errorf("%q: RequestURI %q, URL %#v", c.path, got.RequestURI, got.URL)
		}
		if r.RequestURI != "/old?q" || r.URL.Path != "/old" {
			t.Errorf("%q changed the request it was made from", c.path)
		}
	}
}
