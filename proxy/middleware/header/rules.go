package header

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Template is a text with placeholders.
type Template interface {
	// Expand returns the text for a request.
	Expand(r *http.Request) string
}

// Field is a field to be written.
type Field struct {
	// Name in canonical form.
	Name string

	// Value is the text if Template is nil.
	Value string

	// Template makes the value for each request. What may not stand in a field
	// (CR, LF, NUL and other control characters) becomes a blank.
	Template Template
}

// Rules say how fields are changed, in this order: remove, set, add, default.
type Rules struct {
	// Remove names fields to take away; a name that ends in "*" stands for all
	// that begin with what is before it.
	Remove []string

	// Set writes fields in place of those of the same name. A name may occur
	// more than once: then all its values are written.
	Set []Field

	// Add writes fields beside those of the same name.
	Add []Field

	// Default writes fields of whose name there is none.
	Default []Field
}

// Empty reports whether the rules change nothing.
func (r *Rules) Empty() bool {
	return len(r.Remove)+len(r.Set)+len(r.Add)+len(r.Default) == 0
}

// Merge adds the rules of a route to those of its site. Unlike nginx's
// add_header, which forgets the outer fields as soon as there is an inner one,
// it takes nothing of the site's away except what the route speaks of itself:
// a field that the route sets or removes is the route's.
func Merge(site, route Rules) Rules {
	spoken := func(name string) bool {
		return route.removes(name) || holds(route.Set, name)
	}
	without := func(fields []Field, drop func(name string) bool) []Field {
		return slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return drop(f.Name) })
	}
	own := func(name string) bool { return spoken(name) || holds(route.Default, name) }
	return Rules{
		Remove:  slices.Concat(site.Remove, route.Remove),
		Set:     slices.Concat(without(site.Set, spoken), route.Set),
		Add:     slices.Concat(without(site.Add, spoken), route.Add),
		Default: slices.Concat(without(site.Default, own), route.Default),
	}
}

func holds(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool { return f.Name == name })
}

func (r *Rules) removes(name string) bool {
	return slices.ContainsFunc(r.Remove, func(pattern string) bool { return matches(pattern, name) })
}

// matches compares names in canonical form.
func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
	}
	return pattern == name
}

// apply changes h. The values of constant fields are shared by all requests:
// whoever changes a field afterwards replaces its slice.
func (r *compiled) apply(h http.Header, req *http.Request) {
	for _, name := range r.remove {
		delete(h, name)
	}
	for _, prefix := range r.prefixes {
		for name := range h {
			if matches(prefix, name) && !framing(name) {
				delete(h, name)
			}
		}
	}
	for i := range r.set {
		f := &r.set[i]
		h[f.name] = f.expand(req)
	}
	for i := range r.add {
		f := &r.add[i]
		have := h[f.name]
		h[f.name] = append(have[:len(have):len(have)], f.expand(req)...)
	}
	for i := range r.fallback {
		f := &r.fallback[i]
		if len(h[f.name]) == 0 {
			h[f.name] = f.expand(req)
		}
	}
}

// compiled is Rules in the form that costs the least at each request.
type compiled struct {
	remove, prefixes   []string
	set, add, fallback []entry
}

// entry is all values of one name.
type entry struct {
	name      string
	constant  []string   // nil if there is a template
	templates []Template // beside fixed for the others
	fixed     []string
}

func compile(r Rules) *compiled {
	c := &compiled{set: group(r.Set), add: group(r.Add), fallback: group(r.Default)}
	for _, name := range r.Remove {
		if strings.HasSuffix(name, "*") {
			c.prefixes = append(c.prefixes, name)
		} else {
			c.remove = append(c.remove, name)
		}
	}
	return c
}

// group puts the values of each name together.
func group(fields []Field) []entry {
	var entries []entry
	for _, f := range fields {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == f.Name })
		if i < 0 {
			i = len(entries)
			entries = append(entries, entry{name: f.Name})
		}
		e := &entries[i]
		e.fixed = append(e.fixed, f.Value)
		e.templates = append(e.templates, f.Template)
	}
	for i := range entries {
		e := &entries[i]
		if !slices.ContainsFunc(e.templates, func(t Template) bool { return t != nil }) {
			e.constant = slices.Clip(e.fixed)
		}
	}
	return entries
}

// expand returns the values for a request.
func (e *entry) expand(r *http.Request) []string {
	if e.constant != nil {
		return e.constant
	}
	values := make([]string, len(e.fixed))
	for i, t := range e.templates {
		if values[i] = e.fixed[i]; t != nil {
			values[i] = clean(t.Expand(r))
		}
	}
	return values
}

// clean makes a text fit for a field (RFC 9110 section 5.5): a control
// character becomes a blank rather than the end of the field and the begin of
// another, and blanks at the ends go.
func clean(value string) string {
	bad := func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
	if strings.ContainsFunc(value, bad) {
		value = strings.Map(func(c rune) rune {
			if bad(c) {
				return ' '
			}
			return c
		}, value)
	}
	return strings.Trim(value, " \t")
}

// Request changes the fields of requests on their way to the action. They are
// changed in place.
func Request(rules Rules) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if rules.Empty() {
			return next
		}
		c := compile(rules)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.apply(r.Header, r)
			next.ServeHTTP(w, r)
		})
	}
}

// Response changes the fields of every response.
func Response(rules Rules) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if rules.Empty() {
			return next
		}
		c := compile(rules)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			exchange.Of(r).OnHead(c)
			next.ServeHTTP(w, r)
		})
	}
}

// Head implements [exchange.HeadHook].
func (r *compiled) Head(req *http.Request, _ int, h http.Header) { r.apply(h, req) }

// Name returns the canonical form of a field's name for use in [Rules], or an
// error that says why it cannot be changed: it is no name (RFC 9110 section
// 5.1), or it is the proxy's own business, in requests more than in responses.
// pattern allows a trailing "*".
func Name(name string, request, pattern bool) (string, error) {
	body, star := name, ""
	if pattern && strings.HasSuffix(name, "*") && len(name) > 1 {
		body, star = name[:len(name)-1], "*"
	}
	if body == "" || strings.ContainsFunc(body, notToken) {
		return "", &NameError{Name: name, Reason: "is not the name of a field", Cure: "names are made of letters, digits and hyphens"}
	}
	canonical := textproto.CanonicalMIMEHeaderKey(body)
	if star == "" {
		if wrong := refused(canonical, request); wrong != nil {
			wrong.Name = name
			return "", wrong
		}
	}
	return canonical + star, nil
}

// NameError is the name of a field that cannot be changed.
type NameError struct {
	Name   string
	Reason string // continues the name
	Cure   string
}

func (e *NameError) Error() string { return fmt.Sprintf("%q %s", e.Name, e.Reason) }

// Hint says what to do instead.
func (e *NameError) Hint() string { return e.Cure }

// refused says why a field cannot be changed, or returns nil.
func refused(name string, request bool) *NameError {
	switch {
	case framing(name):
		return &NameError{Reason: "belongs to the connection, which is the proxy's", Cure: "remove it: the proxy writes such fields as they are needed"}
	case !request:
		return nil
	case name == "Host":
		return &NameError{Reason: "is not an ordinary field", Cure: "write host: upstream, or host: NAME"}
	case name == "Expect":
		return &NameError{Reason: "belongs to the connection, which is the proxy's", Cure: "remove it: the proxy answers it"}
	case name == "X-Forwarded-For", name == "X-Forwarded-Proto", name == "X-Forwarded-Host", name == "X-Real-Ip", name == "X-Request-Id":
		return &NameError{Reason: "is written by the proxy", Cure: "list the proxies before this one in trusted_proxies if it should come from them"}
	}
	return nil
}

// framing reports whether a field says where a message ends or what becomes of
// the connection.
func framing(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

func notToken(c rune) bool {
	return c > '~' || c <= ' ' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}

// Value returns an error if a text cannot stand in a field.
func Value(text string) error {
	if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
		return fmt.Errorf("a field cannot hold the control character %q", text[i])
	}
	return nil
}
