package h2_test

import (
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

func TestCheckRefusesWhatHTTP1WouldReadDifferently(t *testing.T) {
	whole := func(change func(*http.Request)) *http.Request {
		r := &http.Request{Method: "POST", Host: "a.test:443", RequestURI: "/x?a=b", Header: http.Header{
			"X-A": {"b c", ""}, "Te": {"trailers"}, "Content-Length": {"5"}, "Cookie": {"a=1; b=2"},
		}}
		change(r)
		return r
	}
	if why := h2.Check(whole(func(*http.Request) {})); why != "" {
		t.Errorf("a plain request was refused: %s", why)
	}
	for name, change := range map[string]func(*http.Request){
		"method":           func(r *http.Request) { r.Method = "GET /y" },
		"host":             func(r *http.Request) { r.Host = "a.test\r\nx: y" },
		"no host":          func(r *http.Request) { r.Host = "" },
		"user":             func(r *http.Request) { r.Host = "a@b.test" },
		"blank in path":    func(r *http.Request) { r.RequestURI = "/x y" },
		"break in path":    func(r *http.Request) { r.RequestURI = "/x\r\n" },
		"absolute path":    func(r *http.Request) { r.RequestURI = "https://b.test/" },
		"star":             func(r *http.Request) { r.RequestURI = "*" },
		"break in value":   func(r *http.Request) { r.Header["X-A"] = []string{"b", "c\r\nd: e"} },
		"NUL in value":     func(r *http.Request) { r.Header["X-A"] = []string{"b\x00"} },
		"blank at the end": func(r *http.Request) { r.Header["X-A"] = []string{"b "} },
		"name":             func(r *http.Request) { r.Header["X-A: b"] = []string{"c"} },
		"framing":          func(r *http.Request) { r.Header["Transfer-Encoding"] = []string{"chunked"} },
		"disguised":        func(r *http.Request) { r.Header["Transfer_encoding"] = []string{"chunked"} },
		"connection":       func(r *http.Request) { r.Header["Connection"] = []string{"close"} },
		"upgrade":          func(r *http.Request) { r.Header["Upgrade"] = []string{"h2c"} },
		"te":               func(r *http.Request) { r.Header["Te"] = []string{"gzip"} },
		"two lengths":      func(r *http.Request) { r.Header["Content-Length"] = []string{"5", "5"} },
		"length":           func(r *http.Request) { r.Header["Content-Length"] = []string{"+5"} },
	} {
		if h2.Check(whole(change)) == "" {
			t.Errorf("%s passed", name)
		}
	}
}
