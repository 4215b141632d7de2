package upstream

import (
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

func TestClientsAreToldApartByAddressAndIPv6ByNetwork(t *testing.T) {
	same := [][2]string{{"192.0.2.1:1", "192.0.2.1:2"}, {"192.0.2.1", "[::ffff:192.0.2.1]:9"}, {"[2001:db8::1]:1", "[2001:db8::ffff:2]:2"}}
	for _, pair := range same {
		if clientKey(pair[0]) != clientKey(pair[1]) {
			t.Errorf("%s and %s have different keys", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"192.0.2.1:1", "192.0.2.2:1"}, {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"}} {
		if clientKey(pair[0]) == clientKey(pair[1]) {
			t.Errorf("%s and %s have one key", pair[0], pair[1])
		}
	}
	if clientKey("@") != balance.NoKey {
		t.Error("a client on a unix socket has a key")
	}
}

func TestCookieIsFoundInAnyForm(t *testing.T) {
	for line, want := range map[string]string{
		"id=1": "1", "a=b; id=2": "2", "a=b;id=3 ; c=d": "3", `id="4"`: "4", "xid=5": "", "id": "", "idx=6; id=7": "7", "": "", "; ;id=8": "8",
	} {
		if got := cookie(http.Header{"Cookie": {line}}, "id"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
