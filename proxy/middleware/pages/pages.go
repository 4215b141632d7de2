package pages

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/reread"
)

// Options is what shapes a Pages.
type Options struct {
	// Files are the pages. If several are for a status, the most exact counts.
	Files []File

	// Intercept also replaces what the action itself answers with such a
	// status, for clients that ask for HTML; without it only failures of the
	// proxy and refusals get a page.
	Intercept bool
}

// File is a page and what it is for.
type File struct {
	// Status is three digits, a class ("4xx", "5xx") or "default", which is
	// every status from 400.
	Status string

	// Path is the file, absolute.
	Path string
}

// Key identifies what a Pages with these options does.
func (o Options) Key() string { return fmt.Sprintf("%#v", o) }

// Pages answers failures. It may be used by many goroutines.
type Pages struct {
	options Options
	files   map[string]*reread.File[*page]
}

// FileError is a page that cannot be used.
type FileError struct {
	Status string
	err    error
}

func (e *FileError) Error() string { return e.err.Error() }
func (e *FileError) Unwrap() error { return e.err }

// Hint says what can be done.
func (e *FileError) Hint() string {
	return "a page is a readable file; with {{ in it, it is a template of {{.Status}}, {{.Text}}, {{.RequestID}} and {{.Host}}"
}

// New reads the files. changed is called when one has changed later: with nil
// if the new page is in force, else with why the old one still is.
func New(o Options, changed func(error)) (*Pages, error) {
	p := &Pages{options: o, files: make(map[string]*reread.File[*page], len(o.Files))}
	opened := make(map[string]*reread.File[*page], len(o.Files))
	for _, f := range o.Files {
		if !KnownStatus(f.Status) {
			return nil, &FileError{f.Status, fmt.Errorf("status %q: not 400 to 599, 4xx, 5xx or default", f.Status)}
		}
		file := opened[f.Path]
		if file == nil {
			var err error
			file, err = reread.Open(f.Path, func(text []byte) (*page, error) { return parse(f.Path, text) }, changed)
			if err != nil {
				return nil, &FileError{f.Status, err}
			}
			opened[f.Path] = file
		}
		p.files[f.Status] = file
	}
	return p, nil
}

// KnownStatus reports whether a page can be for a status, a class, or default.
func KnownStatus(text string) bool {
	if text == "default" || text == "4xx" || text == "5xx" {
		return true
	}
	return len(text) == 3 && (text[0] == '4' || text[0] == '5') && digit(text[1]) && digit(text[2])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// Wrap makes the pages those of what next answers.
func (p *Pages) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exchange.Of(r).Pages = p
		if p.options.Intercept && wantsPage(r) {
			w = &interceptor{ResponseWriter: w, pages: p, request: r}
		}
		next.ServeHTTP(w, r)
	})
}

// Page implements [exchange.Pages]. A client that asks for JSON alone does not
// get a page.
func (p *Pages) Page(w http.ResponseWriter, r *http.Request, status int) bool {
	letThrough(w)
	if wantsData(r) {
		return false
	}
	found := p.find(status)
	return found != nil && found.write(w, r, status)
}

// find returns the page for a status, or nil.
func (p *Pages) find(status int) *page {
	if status < 400 || status > 599 {
		return nil
	}
	for _, key := range [...]string{fmt.Sprint(status), fmt.Sprintf("%dxx", status/100), "default"} {
		if file := p.files[key]; file != nil {
			return *file.Get()
		}
	}
	return nil
}

// interceptor replaces an answer that has a status with a page.
type interceptor struct {
	http.ResponseWriter
	pages    *Pages
	request  *http.Request
	begun    bool
	replaced bool
}

// letThrough keeps an interceptor from replacing a page that is being written.
func letThrough(w http.ResponseWriter) {
	for {
		if own, ok := w.(*interceptor); ok {
			own.begun = true
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}

// Unwrap is for [http.ResponseController].
func (i *interceptor) Unwrap() http.ResponseWriter { return i.ResponseWriter }

func (i *interceptor) WriteHeader(status int) {
	if i.replaced {
		return
	}
	if i.begun || status < 200 && status != http.StatusSwitchingProtocols {
		i.ResponseWriter.WriteHeader(status)
		return
	}
	i.begun = true
	if page := i.pages.find(status); page != nil {
		// What describes the content that is dropped goes; what describes the
		// refusal (WWW-Authenticate, Retry-After, cookies) stays.
		h := i.Header()
		dropped := make(http.Header)
		for name, values := range h {
			if slices.Contains(ofContent[:], name) {
				dropped[name] = values
				delete(h, name)
			}
		}
		if i.replaced = page.write(i.ResponseWriter, i.request, status); i.replaced {
			return
		}
		for name, values := range dropped {
			h[name] = values
		}
	}
	i.ResponseWriter.WriteHeader(status)
}

// ofContent are the fields that describe content.
var ofContent = [...]string{
	"Accept-Ranges", "Age", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
	"Content-Md5", "Content-Range", "Content-Security-Policy", "Content-Type", "Digest", "Etag", "Expires", "Last-Modified", "Repr-Digest", "Trailer",
}

func (i *interceptor) Write(p []byte) (int, error) {
	if !i.begun {
		i.WriteHeader(http.StatusOK)
	}
	if i.replaced {
		return len(p), nil
	}
	return i.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (i *interceptor) FlushError() error {
	if !i.begun {
		i.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(i.ResponseWriter).Flush()
}
