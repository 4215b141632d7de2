package forward_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/auth/forward"
)

// to sends requests to a server, as the proxy's pools do.
type to struct{ address string }

func (t to) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", t.address
	return http.DefaultTransport.RoundTrip(r)
}

// app answers with what it was told.
var app = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "user=%v groups=%v by=%s body=%s", r.Header["Remote-User"], r.Header["Remote-Groups"], exchange.Of(r).User, body)
})

// behind serves app behind a server of authentication, over real sockets, with
// a request record as the proxy makes it.
func behind(t *testing.T, authority http.HandlerFunc, change func(*forward.Options)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(authority)
	t.Cleanup(server.Close)
	o := forward.Options{To: to{server.Listener.Addr().String()}, Target: "/api/authz?x=1", Host: "authelia:9091", Copy: []string{"Remote-User", "Remote-Groups"}}
	if change != nil {
		change(&o)
	}
	h := forward.New(o)(app)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange.New(r)
		x.Client, x.Secure, x.ID = netip.MustParseAddr("203.0.113.9"), true, "17"
		h.ServeHTTP(&headed{w, r, x, false}, exchange.With(r, x))
	}))
	t.Cleanup(front.Close)
	return front
}

// headed runs the exchange's hooks, as the proxy's writer does.
type headed struct {
	http.ResponseWriter
	r    *http.Request
	x    *exchange.Exchange
	done bool
}

func (w *headed) WriteHeader(status int) {
	w.done = true
	w.x.Head(w.r, status, w.Header())
	w.ResponseWriter.WriteHeader(status)
}

func (w *headed) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(200)
	}
	return w.ResponseWriter.Write(p)
}

func do(t *testing.T, front *httptest.Server, method, path, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, front.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "app.example.com"
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestTheServerIsToldWhatIsAskedAndNotMore(t *testing.T) {
	asked := make(chan *http.Request, 1)
	front := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); n > 0 {
			t.Error("the body was sent")
		}
		asked <- r
	}, nil)
	_, body := do(t, front, "POST", "/a%2Fb?c=d", "payload", "Cookie: session=1", "Accept: text/html", "X-Secret: s",
		"X-Forwarded-Method: GET", "X-Forwarded-Uri: /public", "X-Forwarded-For: 127.0.0.1", "X-Original-Url: https://evil/", "Connection: Upgrade", "Upgrade: websocket")
	if body != "user=[] groups=[] by= body=payload" {
		t.Errorf("the application got %q", body)
	}
	r := <-asked
	if r.Method != "GET" || r.RequestURI != "/api/authz?x=1" || r.Host != "authelia:9091" || r.ContentLength != 0 {
		t.Errorf("asked %s %s of %s with %d bytes", r.Method, r.RequestURI, r.Host, r.ContentLength)
	}
	for name, want := range map[string]string{
		"X-Forwarded-Method": "POST", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com", "X-Forwarded-Uri": "/a%2Fb?c=d",
		"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9", "X-Original-Method": "POST", "X-Original-Url": "https://app.example.com/a%2Fb?c=d",
		"Cookie": "session=1", "Accept": "text/html", "X-Request-Id": "17",
	} {
		if got := r.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-Secret", "Upgrade", "Content-Length", "Content-Type"} {
		if _, ok := r.Header[name]; ok {
			t.Errorf("%s was sent", name)
		}
	}
}

func TestForgedCopiesOfTheServersFieldsAreRemoved(t *testing.T) {
	front := behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			w.Header().Set("Remote-User", "ann")
		}
		for _, name := range []string{"Remote-User", "Remote-Groups"} {
			if _, ok := r.Header[name]; ok {
				t.Errorf("a forged %s reached the server", name)
			}
		}
	}, nil)
	forgeries := []string{"Remote-User: admin", "Remote-User: root", "remote-groups: admins"}
	if _, body := do(t, front, "GET", "/", "", forgeries...); body != "user=[] groups=[] by= body=" {
		t.Errorf("without an answer: %q", body)
	}
	if _, body := do(t, front, "GET", "/", "", append(forgeries, "Cookie: s=1")...); body != "user=[ann] groups=[] by=ann body=" {
		t.Errorf("with an answer: %q", body)
	}
}

// TestWhoIsToldApartIsSomebody keeps answers for one user out of a cache that
// serves others: it goes by the exchange's User.
func TestWhoIsToldApartIsSomebody(t *testing.T) {
	front := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Remote-Groups", "staff") }, nil)
	if _, body := do(t, front, "GET", "/", ""); !strings.Contains(body, "by=staff ") {
		t.Errorf("got %q", body)
	}
}

func TestTheAnswerIsPassedOnUnlessItIsASuccess(t *testing.T) {
	front := behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		switch r.Header.Get("Cookie") {
		case "302":
			http.Redirect(w, r, "https://auth.example.com/?rd=x", http.StatusFound)
		case "401":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
			_, _ = io.WriteString(w, "who are you?")
		case "202":
			w.WriteHeader(202)
		}
	}, nil)
	for cookie, c := range map[string]struct {
		status int
		body   string
		field  string
		value  string
	}{
		"302": {302, "Found", "Location", "https://auth.example.com/?rd=x"},
		"401": {401, "who are you?", "Www-Authenticate", "Basic"},
		"202": {200, "user=", "Content-Type", "text/plain; charset=utf-8"},
	} {
		res, body := do(t, front, "GET", "/", "", "Cookie: "+cookie)
		if res.StatusCode != c.status || !strings.Contains(body, c.body) || res.Header.Get(c.field) != c.value {
			t.Errorf("%s: %d %q %v", cookie, res.StatusCode, body, res.Header)
		}
		if got := fmt.Sprint(res.Header["Set-Cookie"]); got != "[a=1 b=2]" {
			t.Errorf("%s: cookies %s", cookie, got)
		}
	}
	if res, body := do(t, front, "HEAD", "/", "", "Cookie: 401"); res.StatusCode != 401 || body != "" {
		t.Errorf("HEAD: %d %q", res.StatusCode, body)
	}
}

func TestABrowserIsSentToSignInAndAScriptIsNot(t *testing.T) {
	front := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		func(o *forward.Options) { o.SignIn = "/oauth2/sign_in" })
	res, _ := do(t, front, "GET", "/a?b=c&d", "", "Accept: text/html,*/*")
	if got, want := res.Header.Get("Location"), "/oauth2/sign_in?rd=https%3A%2F%2Fapp.example.com%2Fa%3Fb%3Dc%26d"; res.StatusCode != 302 || got != want {
		t.Errorf("%d %q, want %q", res.StatusCode, got, want)
	}
	for _, fields := range [][]string{{"Accept: application/json"}, {"Accept: text/html", "Sec-Fetch-Mode: cors"}} {
		if res, _ := do(t, front, "GET", "/", "", fields...); res.StatusCode != 401 {
			t.Errorf("%v: %d", fields, res.StatusCode)
		}
	}
	if res, _ := do(t, front, "POST", "/", "x", "Accept: text/html"); res.StatusCode != 401 {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

func TestAFailingServerLetsNobodyIn(t *testing.T) {
	hang := make(chan struct{})
	front := behind(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Cookie") {
		case "500":
			w.WriteHeader(500)
		case "large":
			w.WriteHeader(403)
			_, _ = w.Write(make([]byte, 1<<20+1))
		case "cut":
			panic(http.ErrAbortHandler)
		case "hang":
			<-hang
		}
	}, func(o *forward.Options) { o.Timeout = 200 * time.Millisecond })
	for _, how := range []string{"500", "large", "cut", "hang"} {
		res, body := do(t, front, "GET", "/", "", "Cookie: "+how)
		if res.StatusCode < 500 || strings.Contains(body, "user=") {
			t.Errorf("%s: %d %q", how, res.StatusCode, body)
		}
	}
	close(hang)
	broken := forward.New(forward.Options{To: failing{}, Target: "/"})(app)
	w := httptest.NewRecorder()
	broken.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 {
		t.Errorf("no server: %d", w.Code)
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }
