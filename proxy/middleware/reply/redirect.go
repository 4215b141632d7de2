package reply

import (
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
)

// RedirectOptions say where clients are sent.
type RedirectOptions struct {
	// To is the address: absolute, or a path on the same site.
	To *placeholder.Template

	// Status is 301, 302, 303, 307 or 308. 0 is 302 for GET and HEAD and 307
	// for other methods.
	Status int
}

// optionError is an address that must not be redirected to.
type optionError struct{ message, hint string }

func (e *optionError) Error() string { return e.message }
func (e *optionError) Hint() string  { return e.hint }

// Redirect returns the action. The error says what is wrong with To, and has a
// Hint.
func Redirect(o RedirectOptions) (http.Handler, error) {
	if err := checkAddress(o.To); err != nil {
		return nil, err
	}
	return &redirect{o}, nil
}

// checkAddress makes sure that a client cannot choose where it is sent.
func checkAddress(to *placeholder.Template) error {
	const anything = "\x00"
	outline := to.Outline(func(word string) string {
		switch word {
		case "uri", "path":
			return "/"
		case "host":
			return "host"
		case "scheme":
			return "https"
		}
		return anything
	})
	scheme, rest, absolute := strings.Cut(outline, "://")
	switch {
	case strings.HasPrefix(outline, "//"), strings.HasPrefix(outline, `/\`):
		return &optionError{"begins with two slashes, which browsers take for a host", "write https://HOST, or one slash"}
	case strings.HasPrefix(outline, "/"):
		return nil
	case !absolute || strings.Contains(scheme, anything):
		return &optionError{"begins neither with https:// nor with a slash", "write https://HOST{uri}, or a path; what comes from the client can stand behind it"}
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if strings.Contains(rest, anything) {
		return &optionError{"lets the client choose the host", "put a slash between the host and what comes from the client: https://HOST/{capture.1}"}
	}
	if rest == "" {
		return &optionError{"has no host", "write https://HOST"}
	}
	return nil
}

type redirect struct{ RedirectOptions }

// ServeHTTP answers with the redirect and without a body.
func (h *redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := h.Status
	if status == 0 {
		status = http.StatusTemporaryRedirect
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			status = http.StatusFound
		}
	}
	w.Header()["Location"] = []string{onSite(h.To.ExpandTarget(r))}
	w.Header()["Content-Length"] = []string{"0"}
	w.WriteHeader(status)
}

// onSite makes sure that what begins as a path is one: browsers take //host and
// /\host for another host.
func onSite(location string) string {
	if !strings.HasPrefix(location, "/") {
		return location
	}
	return "/" + strings.TrimLeft(location, `/\`)
}

// errUpgrade refuses to open a tunnel with an answer of our own: over HTTP/2
// and HTTP/3 every success does (RFC 8441 section 4).
var errUpgrade = &exchange.Refusal{Status: http.StatusNotImplemented, Label: "upgrade_refused", Reason: "a fixed answer speaks no other protocol"}
