package header_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/middleware/header"
)

// FuzzCookies: whatever an application sets, flags are only added behind it,
// and adding them twice adds nothing.
func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"a=b", "a=b; Path=/; Secure", "__Host-a=; HttpOnly;;", "=x", "a", ";", "a=b;samesite", "a=\"x; Secure\""} {
		f.Add(seed)
	}
	rules := header.Cookies([]header.CookieRule{{Secure: true, HTTPOnly: true, SameSite: "None"}})
	f.Fuzz(func(t *testing.T, cookie string) {
		once, _ := through(t, rules, get(), http.Header{"Set-Cookie": {cookie}})
		flagged := once.Header()["Set-Cookie"][0]
		if !strings.HasPrefix(flagged, strings.TrimRight(cookie, "; \t")) {
			t.Fatalf("%q became %q", cookie, flagged)
		}
		twice, _ := through(t, rules, get(), http.Header{"Set-Cookie": {flagged}})
		if again := twice.Header()["Set-Cookie"][0]; again != flagged {
			t.Fatalf("%q became %q, and then %q", cookie, flagged, again)
		}
	})
}
