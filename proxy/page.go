package proxy

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// advice is what a visitor is told about a status. It says nothing about what
// is behind the proxy.
func advice(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request could not be understood."
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

// writePage answers with a plain page: HTML for clients that ask for it, text
// for the others. The request id is the handle by which an operator finds the
// reason in the log.
func writePage(w http.ResponseWriter, r *http.Request, status int) {
	format, kind := pageText, "text/plain; charset=utf-8"
	if acceptsHTML(r) {
		format, kind = pageHTML, "text/html; charset=utf-8"
	}
	body := fmt.Sprintf(format, status, http.StatusText(status), advice(status), html.EscapeString(r.Header.Get(requestID)))
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body)) // a client that left is no second failure
	}
}

func acceptsHTML(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "text/html") {
			return true
		}
	}
	return false
}
