package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// heuristic lists the statuses that may be stored without being told to (RFC
// 9110 section 15.1), except 206: parts are not stored.
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood reports whether we know what a status means for a cache (RFC
// 9111 section 3). 206 and 304 are parts and updates of something else.
func understood(status int) bool {
	return status >= 200 && status < 600 && status != http.StatusPartialContent && status != http.StatusNotModified
}

// storable reports whether the answer to a request may be kept for others (RFC
// 9111 section 3), and how long it stays fresh.
func (c *Cache) storable(r *http.Request, authenticated bool, status int, h http.Header) (lifetime time.Duration, d directives, ok bool) {
	d = parse(h)
	if d.mustUnderstand && heuristic(status) {
		d.noStore = false // section 5.2.2.3
	}
	switch {
	case !understood(status), d.mustUnderstand && !heuristic(status),
		d.noStore, d.private,
		parse(r.Header).noStore && !c.options.IgnoreRequest,
		authenticated && !d.public && !d.sMaxAge.set && !d.mustRevalidate, // section 3.5
		len(h["Set-Cookie"]) > 0,                                          // section 7.3 leaves it to us: somebody else's session is too high a price
		len(h["Content-Range"]) > 0,                                       // a part, whatever the status says
		slices.Contains(h["Vary"], "*"),                                   // never matches: section 4.1
		strings.Contains(h.Get("Vary"), "*"),
		len(h["Trailer"]) > 0: // would be lost
		return 0, d, false
	}
	lifetime, explicit := c.lifetime(status, h, d)
	switch {
	case explicit, d.public && heuristic(status), lifetime > 0:
		return lifetime, d, true
	case d.noCache && validator(h):
		return 0, d, true // worth keeping for its validator
	}
	return 0, d, false
}

// lifetime is how long a response is fresh, and whether it says so itself
// (RFC 9111 section 4.2.1).
func (c *Cache) lifetime(status int, h http.Header, d directives) (time.Duration, bool) {
	switch {
	case d.sMaxAge.set:
		return d.sMaxAge.value, true
	case d.maxAge.set:
		return d.maxAge.value, true
	case len(h["Expires"]) > 0:
		expires, err := http.ParseTime(h["Expires"][0])
		if err != nil || len(h["Expires"]) > 1 {
			return 0, true // section 5.3: invalid, as "0" is, means already expired
		}
		return max(0, expires.Sub(dateOf(h, time.Now()))), true
	case !heuristic(status):
		return 0, false
	case c.options.TTL > 0:
		return c.options.TTL, false
	}
	if modified, err := http.ParseTime(h.Get("Last-Modified")); err == nil && c.options.Heuristic {
		return min(max(0, dateOf(h, time.Now()).Sub(modified)/10), 24*time.Hour), false // section 4.2.2
	}
	return 0, false
}

// dateOf is when a response was made: now, if it does not say (RFC 9110
// section 6.6.1).
func dateOf(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

// validator reports whether a response can be asked about again.
func validator(h http.Header) bool {
	return h.Get("Etag") != "" || h.Get("Last-Modified") != ""
}

// initialAge is how old a response was when it came (RFC 9111 section 4.2.3).
func initialAge(h http.Header, asked, answered time.Time) time.Duration {
	apparent := max(0, answered.Sub(dateOf(h, answered)))
	var value time.Duration
	if ages := h["Age"]; len(ages) > 0 {
		first, _, _ := strings.Cut(ages[0], ",") // section 5.1: the first member counts
		if n, err := strconv.ParseUint(strings.TrimSpace(first), 10, 31); err == nil {
			value = time.Duration(n) * time.Second
		}
	}
	return max(apparent, value+answered.Sub(asked))
}
