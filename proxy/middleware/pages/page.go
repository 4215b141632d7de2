package pages

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	texttemplate "text/template"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/static"
)

// page is a file: fixed text, or a template.
type page struct {
	kind     string // Content-Type
	text     []byte
	template interface {
		Execute(w io.Writer, data any) error
	}
}

// values is what a template may name.
type values struct {
	Status    int
	Text      string
	RequestID string
	Host      string
}

// mostPage bounds what a template may make of itself.
const mostPage = 1 << 20

// parse reads a file. A template is executed once, since html/template finds
// some faults only then.
func parse(path string, text []byte) (*page, error) {
	if len(text) > mostPage {
		return nil, fmt.Errorf("the page is larger than %d KiB", mostPage>>10)
	}
	p := &page{kind: static.ContentType(path), text: bytes.Clone(text)}
	if !bytes.Contains(text, []byte("{{")) {
		return p, nil
	}
	var err error
	if strings.HasPrefix(p.kind, "text/html") || strings.HasPrefix(p.kind, "application/xhtml") {
		p.template, err = htmltemplate.New("page").Parse(string(text))
	} else {
		p.template, err = texttemplate.New("page").Parse(string(text))
	}
	if err == nil {
		err = p.template.Execute(io.Discard, values{Status: 500, Text: http.StatusText(500), RequestID: "0", Host: "localhost"})
	}
	if err != nil {
		return nil, fmt.Errorf("the template: %w", err)
	}
	return p, nil
}

// write answers with the page. It returns false, having sent nothing, if the
// template fails.
func (p *page) write(w http.ResponseWriter, r *http.Request, status int) bool {
	text := p.text
	if p.template != nil {
		var out bytes.Buffer
		if err := p.template.Execute(&out, values{status, http.StatusText(status), exchange.Of(r).ID, r.Host}); err != nil {
			return false
		}
		text = out.Bytes()
	}
	h := w.Header()
	h.Set("Content-Type", p.kind)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // a client that left is no second failure
	}
	return true
}

// wantsData reports whether a client asks for JSON rather than for a page.
func wantsData(r *http.Request) bool {
	accept := strings.ToLower(strings.Join(r.Header["Accept"], ","))
	return strings.Contains(accept, "json") && !strings.Contains(accept, "text/html") && !strings.Contains(accept, "*/*")
}

// wantsPage reports whether a client asks for a page, as a browser does for
// what it shows and a script does not.
func wantsPage(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Accept"], ",")), "text/html")
}
