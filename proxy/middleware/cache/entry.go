package cache

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// entry is one stored response. It never changes; a revalidation makes a new
// one.
type entry struct {
	Route  string      `json:"route,omitempty"` // that answered: routes differ in more than the target
	Status int         `json:"status"`
	Header http.Header `json:"header"` // as the server sent it, without what is for one connection
	Vary   []string    `json:"vary,omitempty"`
	Chosen []string    `json:"chosen,omitempty"` // the request's values of Vary's fields, in that order

	Answered  time.Time     `json:"answered"`
	AgeThen   time.Duration `json:"age_then"`
	Lifetime  time.Duration `json:"lifetime"`
	NoCache   bool          `json:"no_cache,omitempty"`
	NoStale   bool          `json:"no_stale,omitempty"` // must-revalidate
	WhileBusy time.Duration `json:"while_busy,omitempty"`
	IfError   time.Duration `json:"if_error,omitempty"`

	body []byte
}

// variants are the stored responses of one resource, the latest first.
type variants []*entry

// mostVariants bounds what one resource may take; the oldest goes.
const mostVariants = 16

// find returns the latest variant that a request for a route would get (RFC
// 9111 section 4.1), or nil.
func (v variants) find(r *http.Request) *entry {
	route := exchange.Of(r).Route
	for _, e := range v {
		if e.Route == route && e.matches(r) {
			return e
		}
	}
	return nil
}

// with returns v with e in the place of the variant for the same requests.
func (v variants) with(e *entry) variants {
	next := append(make(variants, 0, len(v)+1), e)
	for _, other := range v {
		if other.Route != e.Route || !slices.Equal(other.Vary, e.Vary) || !slices.Equal(other.Chosen, e.Chosen) {
			next = append(next, other)
		}
	}
	return next[:min(len(next), mostVariants)]
}

// weight is what v takes in memory, roughly but not too little.
func (v variants) weight(key string) uint32 {
	total := len(key) + 256
	for _, e := range v {
		total += e.size()
	}
	return uint32(min(total, 1<<31))
}

func (e *entry) size() int {
	total := len(e.body) + 512
	for name, values := range e.Header {
		total += len(name) + 64
		for _, value := range values {
			total += len(value) + 16
		}
	}
	return total
}

func (e *entry) matches(r *http.Request) bool {
	for i, name := range e.Vary {
		if fieldValue(r.Header, name) != e.Chosen[i] {
			return false
		}
	}
	return true
}

// fieldValue is a field's combined value, its list members set apart alike
// (RFC 9111 section 4.1 allows such normalising).
func fieldValue(h http.Header, name string) string {
	values := h[name]
	if len(values) == 0 {
		return ""
	}
	parts := strings.Split(strings.Join(values, ","), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, ",")
}

// newEntry makes the entry of a response whose body is known; ok is false if it
// must not be stored.
func (c *Cache) newEntry(r *http.Request, authenticated bool, asked time.Time, status int, h http.Header, body []byte) (*entry, bool) {
	now := time.Now()
	lifetime, d, ok := c.storable(r, authenticated, status, h)
	if !ok {
		return nil, false
	}
	e := &entry{
		Route: exchange.Of(r).Route, Status: status, Header: h, body: body,
		Answered: now, AgeThen: initialAge(h, asked, now), Lifetime: lifetime,
		NoCache: d.noCache,
		// s-maxage forbids staleness too (RFC 9111 section 5.2.2.10), but a
		// server that says both that and how stale will do means the latter.
		NoStale:   d.mustRevalidate || d.sMaxAge.set && !d.whileRevalidate.set && !d.ifError.set,
		WhileBusy: c.options.StaleWhileRevalidate, IfError: c.options.StaleIfError,
	}
	if d.whileRevalidate.set {
		e.WhileBusy = d.whileRevalidate.value
	}
	if d.ifError.set {
		e.IfError = d.ifError.value
	}
	for _, list := range h["Vary"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				e.Vary = append(e.Vary, name)
			}
		}
	}
	slices.Sort(e.Vary)
	e.Vary = slices.Compact(e.Vary)
	for _, name := range e.Vary {
		e.Chosen = append(e.Chosen, fieldValue(r.Header, name))
	}
	return e, e.size() <= int(c.options.MaxObject)
}

// freshened returns e with what a 304 said (RFC 9111 sections 3.2 and 4.3.4).
func (c *Cache) freshened(e *entry, r *http.Request, authenticated bool, asked time.Time, h http.Header) (*entry, bool) {
	merged := maps.Clone(e.Header)
	delete(merged, "Age") // what is left of it is in AgeThen, and a 304 has its own
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Etag", "Set-Cookie", "Trailer":
			continue // describes the body that we have, or belongs to one client
		}
		merged[name] = values
	}
	return c.newEntry(r, authenticated, asked, e.Status, merged, e.body)
}

// age is how old e is (RFC 9111 section 4.2.3).
func (e *entry) age(now time.Time) time.Duration {
	return e.AgeThen + max(0, now.Sub(e.Answered))
}

// left is for how long e is fresh yet; negative: since when it is not.
func (e *entry) left(now time.Time) time.Duration { return e.Lifetime - e.age(now) }

// usable reports whether e may answer without asking the server (RFC 9111
// section 4.2 and, for what the client wants, 5.2.1).
func (e *entry) usable(now time.Time, want directives) bool {
	left := e.left(now)
	switch {
	case e.NoCache, want.noCache,
		want.maxAge.set && (want.maxAge.value == 0 || e.age(now) > want.maxAge.value), // 0 is what a browser's reload says
		want.minFresh.set && left < want.minFresh.value:
		return false
	case left > 0:
		return true
	}
	return want.maxStale.set && !e.NoStale && -left <= want.maxStale.value
}

// usableWhileBusy reports whether e may answer while it is asked about (RFC
// 5861 section 3).
func (e *entry) usableWhileBusy(now time.Time, want directives) bool {
	return !e.NoCache && !e.NoStale && !want.noCache && !want.maxAge.set && !want.minFresh.set && -e.left(now) <= e.WhileBusy && e.WhileBusy > 0
}

// usableOnError reports whether e may answer instead of a failure (RFC 5861
// section 4).
func (e *entry) usableOnError(now time.Time) bool {
	return !e.NoCache && !e.NoStale && -e.left(now) <= e.IfError && e.IfError > 0
}
