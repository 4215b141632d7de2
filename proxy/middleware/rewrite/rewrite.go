package rewrite

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
	"github.com/sallyport/sallyport/proxy/target"
)

// Options say how targets change. The zero value changes nothing.
type Options struct {
	// StripPrefix is taken off the path at the end of a segment; a path
	// without it stays. In canonical form, without a slash at its end.
	StripPrefix string

	// To replaces the path, and the query if it has a "?". Nil: it stays.
	To *placeholder.Template

	// Match restricts To to paths, in canonical form, that it matches
	// somewhere; its groups are To's captures. Nil: all.
	Match *regexp.Regexp

	// AddPrefix is put before the path. In canonical form, without a slash at
	// its end.
	AddPrefix string

	// Merge makes one slash of several in a row.
	Merge bool
}

// errTarget is what a request's own texts can make of a template.
var errTarget = &exchange.Refusal{Status: http.StatusBadRequest, Label: "rewrite_invalid", Reason: "the rewritten target is not well-formed"}

// optionError is a template that makes no path.
type optionError struct{ message, hint string }

func (e *optionError) Error() string { return e.message }
func (e *optionError) Hint() string  { return e.hint }

// New returns the middleware, nil if there is nothing to change. The error
// says what is wrong with To, and has a Hint.
func New(o Options) (func(http.Handler) http.Handler, error) {
	if o.StripPrefix == "" && o.AddPrefix == "" && o.To == nil {
		return nil, nil
	}
	if o.To != nil {
		outline := o.To.Outline(func(word string) string {
			if word == "uri" || word == "path" {
				return "/"
			}
			return "x"
		})
		path, _, _ := strings.Cut(outline, "?")
		if !strings.HasPrefix(path, "/") {
			return nil, &optionError{"does not begin with a slash", "write /PATH; what comes from the client can stand behind it"}
		}
		if strings.Contains(outline, "#") {
			return nil, &optionError{"has a #, which no request has", "write %23 if it is meant"}
		}
		switch normal, err := target.Normalize(path, false); {
		case err != nil:
			return nil, &optionError{"is not a path: " + err.Error(), ""}
		case normal != path:
			return nil, &optionError{"has a dot segment", "write the path that it leads to"}
		}
	}
	o.AddPrefix = target.Encode(o.AddPrefix)
	return func(next http.Handler) http.Handler { return &rewriter{o, next} }, nil
}

type rewriter struct {
	Options
	next http.Handler
}

// ServeHTTP rewrites one request. OPTIONS * has no path to change.
func (w *rewriter) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.RequestURI == "*" {
		w.next.ServeHTTP(rw, r)
		return
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if w.StripPrefix != "" {
		path, _ = target.CutPrefix(path, w.StripPrefix)
	}
	if w.To != nil {
		var err error
		if path, query, err = w.replace(r, path, query); err != nil {
			exchange.Refuse(rw, r, err)
			return
		}
	}
	if !target.Plain(path) {
		normal, err := target.Normalize(path, w.Merge)
		if err != nil {
			exchange.Refuse(rw, r, err)
			return
		}
		path = normal
	}
	path = w.AddPrefix + path // now that nothing can lead out of it
	out, err := exchange.WithTarget(r, path, query)
	if err != nil || strings.HasPrefix(path, "//") && out.URL.EscapedPath() != path {
		exchange.Refuse(rw, r, errTarget)
		return
	}
	w.next.ServeHTTP(rw, out)
}

// replace returns what To makes of a path and a query.
func (w *rewriter) replace(r *http.Request, path, query string) (string, string, error) {
	x := exchange.Of(r)
	if w.Match != nil {
		groups := w.Match.FindStringSubmatch(target.Canonical(path))
		if groups == nil {
			return path, query, nil
		}
		outer := x.Captures
		x.Captures = groups
		defer func() { x.Captures = outer }()
	}
	seen, err := exchange.WithTarget(r, path, query)
	if err != nil {
		return "", "", errTarget
	}
	to, after, has := strings.Cut(w.To.ExpandTarget(exchange.With(seen, x)), "?")
	if has {
		query = after
	}
	for i := range len(to) {
		if to[i] <= ' ' || to[i] == '#' {
			return "", "", errTarget
		}
	}
	// To has no dot segment itself: one that is there now would lead a client
	// out of what To puts before it.
	if normal, err := target.Normalize(to, false); err != nil || normal != to {
		return "", "", errTarget
	}
	return to, query, nil
}
