package access_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/access"
)

func prefixes(texts ...string) []netip.Prefix {
	list := []netip.Prefix{}
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestDenyWinsAndAllowIsExclusive(t *testing.T) {
	for name, c := range map[string]struct {
		o       access.Options
		in, out []string
	}{
		"allow":      {access.Options{Allow: prefixes("192.168.0.0/16", "2001:db8::/32")}, []string{"192.168.1.1", "::ffff:192.168.1.1", "2001:db8::5"}, []string{"192.169.0.1", "2001:db9::1", ""}},
		"deny":       {access.Options{Deny: prefixes("192.168.0.0/16")}, []string{"192.0.2.1", "2001:db8::1"}, []string{"192.168.1.1", "::ffff:192.168.1.1", ""}},
		"both":       {access.Options{Allow: prefixes("192.168.0.0/16"), Deny: prefixes("192.168.7.0/24")}, []string{"192.168.1.1"}, []string{"192.168.7.7", "192.0.2.1"}},
		"deny wider": {access.Options{Allow: prefixes("192.168.7.0/24"), Deny: prefixes("192.168.0.0/16")}, nil, []string{"192.168.7.7"}},
		"nobody":     {access.Options{Allow: prefixes()}, nil, []string{"192.0.2.1"}},
		"neither":    {access.Options{}, []string{"192.0.2.1", ""}, nil},
	} {
		handler := access.New(c.o)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		ask := func(client string) int {
			r := httptest.NewRequest("GET", "/", nil)
			x := exchange.New(r)
			x.Client, _ = netip.ParseAddr(client)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, exchange.With(r, x))
			return w.Code
		}
		for _, client := range c.in {
			if got := ask(client); got != 204 {
				t.Errorf("%s: %q got %d", name, client, got)
			}
		}
		for _, client := range c.out {
			if got := ask(client); got != 403 {
				t.Errorf("%s: %q got %d", name, client, got)
			}
		}
	}
}

func TestTheConnectionsAddressAndHeadersDoNotCount(t *testing.T) {
	handler := access.New(access.Options{Allow: prefixes("10.0.0.0/8")})(http.NotFoundHandler())
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1" // a trusted proxy, say
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	x := exchange.New(r)
	x.Client = netip.MustParseAddr("192.0.2.1")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, exchange.With(r, x))
	if w.Code != 403 {
		t.Errorf("got %d", w.Code)
	}
}
