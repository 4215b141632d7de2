package failure

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// advice is what a visitor is told about a status. It says nothing about what
// is behind the proxy.
func advice(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request could not be understood."
	case http.StatusUnauthorized:
		return "This address asks who you are."
	case http.StatusForbidden:
		return "You may not see what is at this address."
	case http.StatusMethodNotAllowed:
		return "What is at this address cannot be asked in this way."
	case http.StatusLengthRequired:
		return "The request does not say how long it is."
	case http.StatusPreconditionFailed:
		return "What is at this address has changed in the meantime."
	case http.StatusRequestedRangeNotSatisfiable:
		return "What is at this address has no such part."
	case http.StatusTooManyRequests:
		return "Too many requests have come from you. Please try again in a moment."
	case http.StatusNotFound:
		return "There is nothing at this address."
	case http.StatusRequestTimeout:
		return "The request took too long to arrive."
	case http.StatusRequestEntityTooLarge:
		return "The request is larger than this site accepts."
	case http.StatusRequestURITooLong:
		return "The address of the request is too long."
	case http.StatusRequestHeaderFieldsTooLarge:
		return "The request has too many or too large header fields. Deleting this site's cookies may help."
	case http.StatusMisdirectedRequest:
		return "This connection is for another site. Please try again."
	case http.StatusNotImplemented:
		return "The request's method is not supported."
	case http.StatusBadGateway:
		return "The service behind this address is not answering properly. Please try again in a moment."
	case http.StatusServiceUnavailable:
		return "The service is not available at the moment. Please try again soon."
	case http.StatusGatewayTimeout:
		return "The service behind this address took too long to answer. Please try again in a moment."
	}
	return "Something went wrong here. Please try again in a moment."
}

const pageHTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%[1]d %[2]s</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto; padding: 0 1.5rem }
h1 { font-size: 1.4rem; margin: 0 0 .5rem }
footer { margin-top: 2rem; font-size: .85rem; opacity: .65; overflow-wrap: anywhere }
</style>
<h1>%[1]d %[2]s</h1>
<p>%[3]s</p>
<footer>Request %[4]s</footer>
</html>
`

const pageText = "%d %s\n\n%s\n\nRequest %s\n"

// problem is the form of a failure for programs (RFC 9457).
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// WritePage answers with a plain page: HTML for clients that ask for it, JSON
// for those that ask for that instead, text for the others. The request id is
// the handle by which an operator finds the reason in the log.
func WritePage(w http.ResponseWriter, r *http.Request, status int) {
	x := exchange.Of(r)
	body, kind := page(x, status, preferred(r.Header["Accept"]))
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, body) // a client that left is no second failure
	}
}

// form is how a failure is told.
type form uint8

const (
	asText form = iota
	asHTML
	asJSON
)

// page is what a failure says, and its media type.
func page(x *exchange.Exchange, status int, as form) (body, kind string) {
	text := advice(status)
	if status == http.StatusNotFound && x.Site == "" {
		text = "There is no site of this name here."
	}
	switch as {
	case asHTML:
		return fmt.Sprintf(pageHTML, status, http.StatusText(status), text, html.EscapeString(x.ID)), "text/html; charset=utf-8"
	case asJSON:
		told, err := json.Marshal(problem{"about:blank", http.StatusText(status), status, text, x.ID})
		if err == nil {
			return string(told) + "\n", "application/problem+json"
		}
	}
	return fmt.Sprintf(pageText, status, http.StatusText(status), text, x.ID), "text/plain; charset=utf-8"
}

// preferred says which form an Accept field asks for. Weights do not matter:
// who can show HTML is a browser, and who names JSON is not.
func preferred(accept []string) form {
	as := asText
	for _, list := range accept {
		for item := range strings.SplitSeq(list, ",") {
			kind, _, _ := strings.Cut(item, ";")
			switch kind = strings.ToLower(strings.TrimSpace(kind)); {
			case kind == "text/html", kind == "application/xhtml+xml":
				return asHTML
			case kind == "application/json", strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"):
				as = asJSON
			}
		}
	}
	return as
}
