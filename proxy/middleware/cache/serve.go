package cache

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

var errOnlyIfCached = &exchange.Refusal{
	Status: http.StatusGatewayTimeout, Label: "only_if_cached",
	Reason: "the client wants a stored response and there is none",
}

// Wrap returns a handler that answers from the cache and asks next for what is
// not there.
func (c *Cache) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header["Upgrade"] != nil || r.Method == http.MethodConnect:
			next.ServeHTTP(w, r)
		case r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			// The answer may depend on the body, which is in no key: stored, it
			// would be anybody's (RFC 9110 section 9.3.1 gives the body no meaning,
			// but servers do).
			next.ServeHTTP(&tap{ResponseWriter: w, head: func(_ int, h http.Header) bool {
				tell(h, "fwd=bypass")
				return true
			}}, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			c.serve(w, r, next)
		default:
			c.pass(w, r, next)
		}
	})
}

// pass sends a request on whose method is not for a cache.
func (c *Cache) pass(w http.ResponseWriter, r *http.Request, next http.Handler) {
	unsafe := r.Method != http.MethodOptions && r.Method != http.MethodTrace
	next.ServeHTTP(&tap{ResponseWriter: w, head: func(status int, h http.Header) bool {
		if unsafe && status >= 200 && status < 400 {
			c.invalidate(r, h)
		}
		tell(h, "fwd=method")
		return true
	}}, r)
}

// serve answers a GET or HEAD.
func (c *Cache) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	var want directives
	if !c.options.IgnoreRequest {
		want = parse(r.Header)
	}
	visit := visit{c: c, w: w, r: r, next: next, key: key(r), want: want}
	found, stored := c.lookup(visit.key, r)
	if c.answer(&visit, found) {
		return
	}
	visit.why = "uri-miss"
	switch {
	case found != nil && found.usable(time.Now(), directives{}):
		visit.why = "request"
	case found != nil:
		visit.why = "stale"
	case len(stored) > 0:
		visit.why = "vary-miss"
	}
	if want.onlyIfCached {
		tell(w.Header(), "fwd="+visit.why)
		exchange.Refuse(w, r, errOnlyIfCached)
		return
	}
	if !want.noStore && r.Method == http.MethodGet && r.Header["Range"] == nil && c.options.LockTimeout > 0 {
		mine, pilot := c.flights.board(visit.flightKey())
		if !pilot {
			mine.wait(r.Context(), c.options.LockTimeout)
			if found, _ = c.lookup(visit.key, r); found != nil && found.usable(time.Now(), directives{}) {
				visit.reply(found, "fwd="+visit.why+"; collapsed")
				return
			}
		} else {
			visit.flight = mine
			defer c.flights.land(visit.flightKey(), mine)
		}
	}
	visit.fetch(found)
}

// answer replies from what is stored if that may be done without waiting for
// the server.
func (c *Cache) answer(v *visit, found *entry) bool {
	now := time.Now()
	switch {
	case found == nil:
		return false
	case found.usable(now, v.want):
		v.reply(found, "hit; ttl="+strconv.Itoa(int(found.left(now)/time.Second)))
		return true
	case found.usableWhileBusy(now, v.want):
		c.revalidate(v, found)
		v.reply(found, "hit; ttl="+strconv.Itoa(int(found.left(now)/time.Second))+"; detail=STALE-WHILE-REVALIDATE")
		return true
	}
	return false
}

// revalidate asks about an entry while the client already has it. One request
// for a resource at a time, and not more of them than there are slots: who
// finds none leaves it to the next request.
func (c *Cache) revalidate(v *visit, old *entry) {
	mine, pilot := c.flights.board(v.flightKey())
	if !pilot {
		return
	}
	select {
	case c.slots <- struct{}{}:
	default:
		c.flights.land(v.flightKey(), mine)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), revalidationTime)
	unhook := context.AfterFunc(c.ctx, cancel)
	r := v.r.Clone(ctx)
	r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
	r = exchange.With(r, exchange.Of(v.r).Detached())
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		delete(r.Header, name)
	}
	behind := &visit{c: c, w: &sink{header: make(http.Header)}, r: r, next: v.next, key: v.key, why: "stale", flight: mine, behind: true}
	c.behind(func() {
		defer func() {
			_ = recover() // an aborted response; the entry stays as it is
			c.flights.land(v.flightKey(), mine)
			unhook()
			cancel()
			<-c.slots
		}()
		behind.fetch(old)
	})
}

// behind runs a revalidation, and nothing once the cache is closed.
func (c *Cache) behind(run func()) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.background.Go(run)
	}
	c.mu.Unlock()
	if closed {
		run() // its context has ended
	}
}

// visit is one request on its way through the cache.
type visit struct {
	c      *Cache
	w      http.ResponseWriter
	r      *http.Request
	next   http.Handler
	key    string
	want   directives
	why    string // why it is forwarded: RFC 9211 section 2.2
	flight *flight
	behind bool // nobody reads the answer
}

// flightKey tells apart what cannot be one request to the server.
func (v *visit) flightKey() string { return exchange.Of(v.r).Route + "\n" + v.key }

// reply sends a stored response, or the part of it or the word that it is
// unchanged, as the request's conditions ask for.
func (v *visit) reply(e *entry, status string) {
	h := v.w.Header()
	own := h["Cache-Status"]
	maps.Copy(h, e.Header)
	if len(own) > 0 {
		h["Cache-Status"] = own
	}
	delete(h, "Connection")
	h["Age"] = []string{strconv.Itoa(int(e.age(time.Now()) / time.Second))}
	tell(h, status)
	if e.Status == http.StatusOK && v.sinceThen(e) {
		delete(h, "Content-Length")
		delete(h, "Content-Type")
		v.w.WriteHeader(http.StatusNotModified)
		return
	}
	if e.Status == http.StatusOK {
		modified, _ := http.ParseTime(e.Header.Get("Last-Modified"))
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil // never guessed
		}
		if v.r.Header["Range"] == nil || e.Header.Get("Accept-Ranges") == "none" {
			h["Content-Length"] = []string{strconv.Itoa(len(e.body))} // ServeContent leaves it out for a coded body
		} else {
			delete(h, "Content-Length")
		}
		http.ServeContent(v.w, v.r, "", modified, bytes.NewReader(e.body))
		return
	}
	if e.Status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(len(e.body))}
	}
	v.w.WriteHeader(e.Status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(e.body) // a client that left is no failure of ours
	}
}

// sinceThen reports whether a client that asks by date has an entry that has
// none: the date at which it was made decides (RFC 9111 section 4.3.2).
func (v *visit) sinceThen(e *entry) bool {
	since, err := http.ParseTime(v.r.Header.Get("If-Modified-Since"))
	return err == nil && v.r.Header["If-None-Match"] == nil && e.Header["Last-Modified"] == nil && !dateOf(e.Header, e.Answered).After(since)
}

// fetch asks the server, about old if there is one to ask about, and keeps the
// answer if it may.
func (v *visit) fetch(old *entry) {
	asked := time.Now()
	r, conditional := v.request(old)
	t := &tap{ResponseWriter: v.w, limit: v.c.options.MaxObject}
	authenticated := authenticated(v.r)
	var (
		replaced   http.Header // of the 304 that confirmed old
		failed     bool        // old is served instead of a failure
		failedWith int
	)
	t.head = func(status int, h http.Header) bool {
		switch {
		case conditional && status == http.StatusNotModified:
			replaced = h.Clone()
			clear(h)
			return false
		case old != nil && status >= 500 && old.usableOnError(time.Now()):
			failed, failedWith = true, status
			clear(h)
			return false
		}
		detail := "fwd=" + v.why
		if conditional {
			detail += "; fwd-status=" + strconv.Itoa(status)
		}
		_, _, ok := v.c.storable(r, authenticated, status, h)
		if ok && v.cacheable(h) {
			t.kept = h.Clone()
			detail += "; stored"
		} else {
			v.uncacheable(old, status)
		}
		tell(h, detail)
		return v.notModified(t, status, h)
	}
	v.next.ServeHTTP(t, r)
	t.finish()
	switch {
	case replaced != nil:
		v.confirmed(old, asked, replaced, authenticated)
	case failed:
		v.land()
		v.reply(old, "hit; ttl="+strconv.Itoa(int(old.left(time.Now())/time.Second))+"; fwd=stale; fwd-status="+strconv.Itoa(failedWith)+"; detail=STALE-IF-ERROR")
	case t.kept != nil && t.whole():
		if e, ok := v.c.newEntry(v.r, authenticated, asked, t.status, t.kept, t.body.Bytes()); ok {
			v.c.store(v.key, e)
		}
	}
}

// request is what the server is asked: about old, if that has a validator (RFC
// 9111 section 4.3.1), else for the whole. The client's own conditions are
// judged here, unless they are about a part.
func (v *visit) request(old *entry) (r *http.Request, conditional bool) {
	if v.r.Method != http.MethodGet || v.r.Header["Range"] != nil || v.r.Header["If-Match"] != nil || v.r.Header["If-Unmodified-Since"] != nil {
		return v.r, false
	}
	conditional = old != nil && validator(old.Header)
	if !conditional && v.r.Header["If-None-Match"] == nil && v.r.Header["If-Modified-Since"] == nil {
		return v.r, false
	}
	r = new(http.Request)
	*r = *v.r
	r.Header = maps.Clone(v.r.Header)
	delete(r.Header, "If-None-Match")
	delete(r.Header, "If-Modified-Since")
	if conditional {
		if tag := old.Header.Get("Etag"); tag != "" {
			r.Header["If-None-Match"] = []string{tag}
		}
		if modified := old.Header.Get("Last-Modified"); modified != "" {
			r.Header["If-Modified-Since"] = []string{modified}
		}
	}
	return r, conditional
}

// cacheable reports whether this request, whose answer may be stored, is one
// to store it for.
func (v *visit) cacheable(h http.Header) bool {
	if v.r.Method != http.MethodGet || v.want.noStore || v.r.Header["Range"] != nil {
		return false
	}
	length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return err != nil || length <= v.c.options.MaxObject
}

// uncacheable lets those who wait ask for themselves, as soon as it is known
// that there will be nothing for them. A stored response that this one takes
// the place of must not be shown again (RFC 9111 section 4.3.3).
func (v *visit) uncacheable(old *entry, status int) {
	if old != nil && status < 500 && v.r.Method == http.MethodGet && v.r.Header["Range"] == nil {
		v.c.forget(v.key)
	}
	v.land()
}

func (v *visit) land() {
	if v.flight != nil {
		v.c.flights.land(v.flightKey(), v.flight)
	}
}

// confirmed takes in what a 304 said and replies with the entry that it is
// about.
func (v *visit) confirmed(old *entry, asked time.Time, h http.Header, authenticated bool) {
	fresh, ok := v.c.freshened(old, v.r, authenticated, asked, h)
	detail := "fwd=" + v.why + "; fwd-status=304"
	if ok {
		v.c.store(v.key, fresh)
		detail += "; stored"
	} else {
		v.c.forget(v.key)
	}
	v.land()
	if fresh == nil {
		fresh = old
	}
	if !v.behind {
		v.reply(fresh, detail)
	}
}

// notModified answers 304 to a client whose condition the server's whole answer
// fulfils; the body is kept all the same. It reports whether the head is to be
// sent as it is.
func (v *visit) notModified(t *tap, status int, h http.Header) bool {
	if status != http.StatusOK || v.r.Method != http.MethodGet || t.kept == nil || !unchanged(v.r, h) {
		return true
	}
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Range"} {
		delete(h, name)
	}
	t.swallow = true
	v.w.WriteHeader(http.StatusNotModified)
	return false
}

// unchanged reports whether a client has what h is the head of (RFC 9110
// sections 13.1.2 and 13.1.3).
func unchanged(r *http.Request, h http.Header) bool {
	if lists := r.Header["If-None-Match"]; len(lists) > 0 {
		tag := strings.TrimPrefix(h.Get("Etag"), "W/")
		for _, list := range lists {
			for one := range strings.SplitSeq(list, ",") {
				one = strings.TrimSpace(one)
				if one == "*" || tag != "" && strings.TrimPrefix(one, "W/") == tag {
					return true
				}
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	modified, wrong := http.ParseTime(h.Get("Last-Modified"))
	return err == nil && wrong == nil && !modified.After(since)
}

// tell adds what we did to Cache-Status (RFC 9211), after what caches nearer to
// the server said.
func tell(h http.Header, what string) {
	said := h["Cache-Status"]
	h["Cache-Status"] = append(said[:len(said):len(said)], "sallyport; "+what)
}
