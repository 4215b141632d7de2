package reply

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
)

// RespondOptions are a fixed answer.
type RespondOptions struct {
	// Status is 200 to 599.
	Status int

	// Body is the content; nil: none. Statuses that have none get none. It is
	// text unless Header has a Content-Type; if that is HTML, what placeholders
	// put in is escaped.
	Body *placeholder.Template

	// Header are fields of the answer.
	Header []Field
}

// Field is a field of an answer; its name is in canonical form.
type Field struct {
	Name  string
	Value *placeholder.Template
}

// Respond returns the action.
func Respond(o RespondOptions) http.Handler {
	h := &respond{RespondOptions: o}
	for _, field := range o.Header {
		if field.Name == "Content-Type" {
			h.typed = true
			kind, _ := field.Value.Constant()
			h.html = strings.Contains(strings.ToLower(kind), "html")
		}
	}
	return h
}

type respond struct {
	RespondOptions
	typed, html bool
}

// ServeHTTP gives the answer.
func (h *respond) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 && len(r.Header["Upgrade"]) > 0 && h.Status < 300 {
		exchange.Refuse(w, r, errUpgrade)
		return
	}
	header := w.Header()
	for _, field := range h.Header {
		header[field.Name] = append(header[field.Name], field.Value.Expand(r))
	}
	if h.Status == http.StatusNoContent || h.Status == http.StatusNotModified {
		w.WriteHeader(h.Status)
		return
	}
	body := ""
	switch {
	case h.Body == nil:
	case h.html:
		body = h.Body.ExpandHTML(r)
	default:
		body = h.Body.Expand(r)
	}
	if !h.typed && body != "" {
		header["Content-Type"] = []string{"text/plain; charset=utf-8"}
	}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(h.Status)
	if r.Method != http.MethodHead && body != "" {
		_, _ = io.WriteString(w, body) // a client that left is no failure
	}
}
