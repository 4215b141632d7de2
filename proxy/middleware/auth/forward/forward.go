package forward

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Options says whom to ask and what to do with the answer.
type Options struct {
	// To sends requests to the server; it sets scheme and host of the URL.
	To http.RoundTripper

	// Target is the path, and query, that is asked for. Begins with "/".
	Target string

	// Host is the Host field of what is asked.
	Host string

	// Send are the fields of the client's request that the server gets, in
	// canonical form. Nil means those of DefaultSend.
	Send []string

	// Copy are the fields of a 2xx answer that are copied to the request, in
	// canonical form. What the client sent under these names is removed first,
	// whether the answer has them or not.
	Copy []string

	// SignIn is where a browser is sent, instead of the answer, when that is a
	// 401: an address or a path, to which ?rd= and the address that was asked
	// for is added, as oauth2-proxy and authentik have it. "" passes the 401.
	SignIn string

	// Timeout bounds the question and the answer; 0 or less is 10 s.
	Timeout time.Duration
}

// DefaultSend returns the fields that are sent when nothing else is asked for:
// those that say who the client is and what kind of answer it understands.
func DefaultSend() []string {
	return []string{"Accept", "Accept-Language", "Authorization", "Cookie", "Origin", "Proxy-Authorization",
		"Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "User-Agent", "X-Requested-With"}
}

// mostAnswer bounds the body of an answer that is passed on.
const mostAnswer = 1 << 20

var errFailing = &exchange.Refusal{
	Status: http.StatusBadGateway, Label: "auth_server_failed", Reason: "the authentication server answered with an error",
	Hint: "its own log should say why; forward_auth.url is what was asked",
}

// gate is a route's question.
type gate struct {
	Options
	next http.Handler
}

// New returns the middleware.
func New(o Options) func(http.Handler) http.Handler {
	if o.Send == nil {
		o.Send = DefaultSend()
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return func(next http.Handler) http.Handler { return &gate{o, next} }
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := g.ask(r)
	if err != nil {
		exchange.Refuse(w, r, fmt.Errorf("asking the authentication server: %w", err))
		return
	}
	if answer.status >= 200 && answer.status < 300 {
		g.pass(w, r, answer.header)
		return
	}
	h := w.Header()
	if answer.status == http.StatusUnauthorized && g.SignIn != "" && navigates(r) {
		h["Location"] = []string{g.signIn(r)}
		h["Cache-Control"] = []string{"no-store"}
		if cookies := answer.header["Set-Cookie"]; len(cookies) > 0 {
			h["Set-Cookie"] = append(h["Set-Cookie"], cookies...)
		}
		h["Content-Length"] = []string{"0"}
		w.WriteHeader(http.StatusFound)
		return
	}
	for name, values := range answer.header {
		if !ofTheConnection(name) {
			h[name] = append(h[name], values...)
		}
	}
	h["Content-Length"] = []string{fmt.Sprint(len(answer.body))}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // not to be guessed
	}
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(answer.body)
	}
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte // of an answer that is not 2xx
}

func (g *gate) ask(r *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), g.Timeout)
	defer cancel()
	path, query, has := strings.Cut(g.Target, "?")
	question := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Opaque: path, RawQuery: query, ForceQuery: has},
		Host:   g.Host,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:     g.fields(r),
		RemoteAddr: r.RemoteAddr,
	}).WithContext(ctx)
	res, err := g.To.RoundTrip(question)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode < 200 || res.StatusCode > 599:
		return nil, &exchange.Refusal{Status: errFailing.Status, Label: errFailing.Label, Hint: errFailing.Hint,
			Reason: fmt.Sprintf("the authentication server answered with status %d", res.StatusCode)}
	case res.StatusCode >= 500:
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection may be kept
		return nil, errFailing
	}
	a := &answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, mostAnswer+1)); err != nil {
		return nil, err
	}
	if len(a.body) > mostAnswer {
		return nil, &exchange.Refusal{Status: errFailing.Status, Label: errFailing.Label, Reason: "the authentication server's answer is larger than 1 MiB"}
	}
	return a, nil
}

// fields returns the header of the question.
func (g *gate) fields(r *http.Request) http.Header {
	x := exchange.Of(r)
	h := make(http.Header, len(g.Send)+10)
	for _, name := range g.Send {
		if values, ok := r.Header[name]; ok && !ofTheConnection(name) {
			h[name] = values
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // keeps the engine from inventing one
	}
	uri := uriOf(r)
	for name, value := range map[string]string{
		"X-Forwarded-Method": r.Method,
		"X-Forwarded-Proto":  x.Scheme(),
		"X-Forwarded-Host":   r.Host,
		"X-Forwarded-Uri":    uri,
		"X-Forwarded-For":    x.Client.String(),
		"X-Real-Ip":          x.Client.String(),
		"X-Original-Method":  r.Method,
		"X-Original-Url":     x.Scheme() + "://" + r.Host + uri,
		"X-Request-Id":       x.ID,
	} {
		h[name] = []string{value}
	}
	return h
}

// uriOf returns the path and query that are asked for.
func uriOf(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // absolute form, or none in a test
}

// pass serves a request that was let in.
func (g *gate) pass(w http.ResponseWriter, r *http.Request, from http.Header) {
	x := exchange.Of(r)
	user, other := "", ""
	for _, name := range g.Copy {
		delete(r.Header, name)
		delete(r.Trailer, name)
		values := from[name]
		if len(values) == 0 {
			continue
		}
		r.Header[name] = values
		if user == "" && namesUser(name) {
			user = values[0]
		}
		other = cmp.Or(other, values[0])
	}
	// Whoever is told apart at all has to be somebody: a cache goes by it.
	x.User = cmp.Or(x.User, user, other)
	if cookies := from["Set-Cookie"]; len(cookies) > 0 {
		x.OnHead(&session{cookies}) // a session that the server has just prolonged
	}
	g.next.ServeHTTP(w, r)
}

// session adds cookies of an authentication server to whatever is answered.
type session struct{ cookies []string }

// Head is called by the exchange.
func (s *session) Head(_ *http.Request, _ int, h http.Header) {
	h["Set-Cookie"] = append(h["Set-Cookie"][:len(h["Set-Cookie"]):len(h["Set-Cookie"])], s.cookies...)
}

// namesUser reports whether a field holds a user's name: Remote-User,
// X-Auth-Request-User, X-Authentik-Username, X-Forwarded-User.
func namesUser(name string) bool {
	return strings.HasSuffix(name, "-User") || strings.HasSuffix(name, "-Username")
}

// navigates reports whether somebody sits in front of a browser and waits for a
// page: sending a script to a login page would only confuse it.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || len(r.Header["Upgrade"]) > 0 {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// signIn returns where to log in and come back from.
func (g *gate) signIn(r *http.Request) string {
	separator := "?"
	if strings.Contains(g.SignIn, "?") {
		separator = "&"
	}
	return g.SignIn + separator + "rd=" + url.QueryEscape(exchange.Of(r).Scheme()+"://"+r.Host+uriOf(r))
}

// ofTheConnection reports whether a field is not end to end, or frames the
// message, which is not the same message on the other side.
func ofTheConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length":
		return true
	}
	return false
}
