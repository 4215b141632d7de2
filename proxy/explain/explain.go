package explain

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// mostHeaders bounds the fields of a question.
const mostHeaders = 100

// Somebody is who asks if a question does not say: an address that nobody has
// (RFC 5737).
const Somebody = "192.0.2.1"

// Question is a request that somebody could send.
type Question struct {
	// URL is its address; without a scheme it is https.
	URL string

	// Method is GET if empty.
	Method string

	// Headers are its fields, "Name: value" each. Host is what the request
	// says; the server name of the handshake is always that of the URL.
	Headers []string

	// From is the address that the connection comes from; [Somebody] if empty.
	From string
}

// Form writes the question as the parameters of a request.
func (q Question) Form() url.Values {
	form := url.Values{"url": {q.URL}, "header": q.Headers}
	if q.Method != "" {
		form.Set("method", q.Method)
	}
	if q.From != "" {
		form.Set("from", q.From)
	}
	return form
}

// FromForm is the reverse of Form.
func FromForm(form url.Values) Question {
	return Question{URL: form.Get("url"), Method: form.Get("method"), Headers: form["header"], From: form.Get("from")}
}

// Error is a question that is none. It has a Hint.
type Error struct{ message, hint string }

func (e *Error) Error() string { return e.message }

// Hint says how to ask.
func (e *Error) Hint() string { return e.hint }

// Request makes the request as a server would after having read it from a
// connection. The target goes into it byte for byte. Errors are of type *Error.
func (q Question) Request() (*http.Request, error) {
	scheme, rest, ok := strings.Cut(q.URL, "://")
	if !ok {
		scheme, rest = "https", q.URL
	}
	if scheme != "https" && scheme != "http" {
		return nil, &Error{fmt.Sprintf("%q is not the address of a request", q.URL), "write https://HOST/PATH or http://HOST/PATH"}
	}
	rest, _, _ = strings.Cut(rest, "#") // clients keep it
	i := strings.IndexAny(rest, "/?")
	host, target := rest, "/"
	if i >= 0 {
		host, target = rest[:i], rest[i:]
	}
	if target[0] == '?' {
		target = "/" + target
	}
	parsed, err := url.ParseRequestURI(target)
	if err != nil || host == "" || strings.Contains(host, "@") {
		return nil, &Error{fmt.Sprintf("%q is not the address of a request", q.URL), "write https://HOST/PATH; blanks in the path are %20"}
	}
	from := q.From
	if from == "" {
		from = Somebody
	}
	client, err := netip.ParseAddr(from)
	if err != nil {
		return nil, &Error{fmt.Sprintf("%q is not an IP address", from), "from is the address that the connection comes from: 203.0.113.7"}
	}
	method := q.Method
	if method == "" {
		method = http.MethodGet
	}
	r := &http.Request{
		Method: method, URL: parsed, RequestURI: target, Host: host, Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: netip.AddrPortFrom(client, 50000).String(),
	}
	return r, q.fields(r)
}

// fields puts the headers into the request.
func (q Question) fields(r *http.Request) error {
	if len(q.Headers) > mostHeaders {
		return &Error{fmt.Sprintf("%d headers are too many", len(q.Headers)), ""}
	}
	for _, line := range q.Headers {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return &Error{"a header has no colon", "write --header 'Name: value'"} // it may hold a secret
		}
		if strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return nil
}

// Secure reports whether the question is about a request over TLS, and Hostname
// returns the name that it would be sent to: lower case, without port.
func (q Question) Secure() bool { return !strings.HasPrefix(q.URL, "http://") }

// Hostname is described at Secure.
func (q Question) Hostname() string {
	host, _ := q.authority()
	return host
}

// Port returns the port of the URL, that of its scheme if it has none.
func (q Question) Port() string {
	if _, port := q.authority(); port != "" {
		return port
	}
	if q.Secure() {
		return "443"
	}
	return "80"
}

func (q Question) authority() (host, port string) {
	_, rest, ok := strings.Cut(q.URL, "://")
	if !ok {
		rest = q.URL
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port = strings.Trim(rest, "[]"), ""
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")), port
}

// Answer says what would become of a request. Fields that are not known, or do
// not apply, are left out.
type Answer struct {
	Method string `json:"method"`
	URL    string `json:"url"`

	// Online says that the running process has answered, not a file.
	Online bool `json:"online"`

	// Client is who the request is counted as, and Via who says so if that is
	// not the connection.
	Client string `json:"client,omitempty"`
	Via    string `json:"client_named_by,omitempty"`

	Site      string `json:"site,omitempty"`
	SitePlace string `json:"site_place,omitempty"` // file:line:column

	// Refused is why the request gets no further, nil if it reaches the action.
	Refused *Refusal `json:"refused,omitempty"`

	// Routes are those that were looked at, in order: the last is the one taken
	// unless the request was refused.
	Routes []Route `json:"routes,omitempty"`

	// Readings are the ways in which applications could read the path, if they
	// differ.
	Readings []Reading `json:"readings,omitempty"`

	Middleware []Step  `json:"middleware,omitempty"` // in the order in which a request meets it
	Target     string  `json:"target,omitempty"`     // what the action gets, after rewriting
	Action     *Action `json:"action,omitempty"`

	Certificate *Certificate `json:"certificate,omitempty"`

	// Notes are what looks like a mistake, or is worth knowing.
	Notes []Note `json:"notes,omitempty"`
}

// Note adds one.
func (a *Answer) Note(message, hint string) { a.Notes = append(a.Notes, Note{message, hint}) }

// Note is something about the request, with what to do.
type Note struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Refusal is why a request is not served.
type Refusal struct {
	Status int    `json:"status,omitempty"` // 0: the connection comes to nothing
	Label  string `json:"label"`            // as in logs and metrics
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// Route is one that was looked at.
type Route struct {
	Name  string `json:"name"`
	Place string `json:"place,omitempty"`
	Taken bool   `json:"taken"`
	Why   string `json:"why_not,omitempty"` // the first condition that failed
}

// Reading is one way to read a path and the route that it leads to, "" for none.
type Reading struct {
	Path  string `json:"path"`
	Route string `json:"route"`
}

// Step is one concern of a route's middleware.
type Step struct {
	Name    string `json:"name"` // the key of the configuration
	Place   string `json:"place,omitempty"`
	Verdict string `json:"verdict,omitempty"` // if it is known what it makes of the request
}

// Action is what answers.
type Action struct {
	Kind  string `json:"kind"` // proxy, redirect, files, php, respond
	Place string `json:"place,omitempty"`

	// Text says it in words: the redirect's target, the files' folder.
	Text   string `json:"text,omitempty"`
	Status int    `json:"status,omitempty"` // of redirect, respond and files

	Upstream string   `json:"upstream,omitempty"`
	Balance  string   `json:"balance,omitempty"` // how one of several servers is chosen
	Rule     string   `json:"rule,omitempty"`    // that, in words, for this request
	Server   string   `json:"server,omitempty"`  // the address of the server that is asked, if that is certain
	Servers  []Server `json:"servers,omitempty"`

	File *File `json:"file,omitempty"` // of files and php
}

// Server is one that a request could go to.
type Server struct {
	Address string `json:"address"`
	State   string `json:"state,omitempty"` // up, down, draining; online only
	Cause   string `json:"cause,omitempty"` // of being down
	Weight  int    `json:"weight,omitempty"`
	Backup  bool   `json:"backup,omitempty"`
	Chosen  bool   `json:"chosen,omitempty"`  // this one is asked first, for certain
	Why     string `json:"why_not,omitempty"` // it is not among those that one is chosen from
}

// File is what a path leads to in a folder, as the user sees it who answers.
// Paths are whole.
type File struct {
	Path    string `json:"path,omitempty"`    // of the file or listing that is served, or the script that is run
	Variant string `json:"variant,omitempty"` // of the compressed file that is sent in its place
	Coding  string `json:"coding,omitempty"`  // of that
	Type    string `json:"type,omitempty"`    // Content-Type
	Listing bool   `json:"listing,omitempty"`
	Script  bool   `json:"script,omitempty"`

	// Tried were looked for before, in order.
	Tried []Tried `json:"tried,omitempty"`
}

// Tried is a path that was looked for.
type Tried struct {
	Path string `json:"path"`
	Why  string `json:"why_not"`
}

// Certificate is what the handshake shows.
type Certificate struct {
	Name       string     `json:"name"` // perhaps a wildcard
	Issuer     string     `json:"issuer"`
	CA         string     `json:"ca,omitempty"`
	Zone       string     `json:"zone,omitempty"`
	Credential string     `json:"credential,omitempty"`
	File       string     `json:"file,omitempty"`
	State      string     `json:"state,omitempty"` // online only
	NotAfter   *time.Time `json:"not_after,omitempty"`
	Error      string     `json:"error,omitempty"`
	Hint       string     `json:"hint,omitempty"`
}
