package cache

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// directives is a Cache-Control field, of a request or a response (RFC 9111
// section 5.2). Of a directive that stands twice the first counts (section
// 4.2.1).
type directives struct {
	noStore, noCache, private, public   bool
	mustRevalidate, mustUnderstand      bool
	onlyIfCached                        bool
	maxAge, sMaxAge, minFresh, maxStale seconds
	whileRevalidate, ifError            seconds
}

// seconds is the argument of a directive.
type seconds struct {
	set   bool
	value time.Duration
}

// forever is what a number of seconds too large to hold means (RFC 9111
// section 1.2.2).
const forever = time.Duration(math.MaxInt32) * time.Second

// parse reads the Cache-Control of h and, in requests without one, Pragma.
func parse(h http.Header) directives {
	var d directives
	values := h["Cache-Control"]
	for _, list := range values {
		for list != "" {
			var one string
			one, list = cutDirective(list)
			name, argument, has := strings.Cut(one, "=")
			d.take(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(argument), has)
		}
	}
	if len(values) == 0 && strings.Contains(strings.ToLower(h.Get("Pragma")), "no-cache") {
		d.noCache = true // RFC 9111 section 5.4
	}
	return d
}

// cutDirective cuts a list at its first comma outside quotes.
func cutDirective(list string) (one, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, ""
}

func (d *directives) take(name, argument string, has bool) {
	switch name {
	case "no-store":
		d.noStore = true
	case "no-cache": // with field names it is treated as without: stricter
		d.noCache = true
	case "private":
		d.private = true
	case "public":
		d.public = true
	case "must-revalidate", "proxy-revalidate":
		d.mustRevalidate = true
	case "must-understand":
		d.mustUnderstand = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		d.maxAge.take(argument)
	case "s-maxage":
		d.sMaxAge.take(argument)
	case "min-fresh":
		d.minFresh.take(argument)
	case "max-stale":
		if !has {
			argument = "2147483647" // any staleness will do
		}
		d.maxStale.take(argument)
	case "stale-while-revalidate":
		d.whileRevalidate.take(argument)
	case "stale-if-error":
		d.ifError.take(argument)
	}
}

// take reads delta-seconds, quoted or not. What is no such number is 0: the
// response counts as stale, as RFC 9111 section 4.2.1 encourages.
func (s *seconds) take(argument string) {
	if s.set {
		return
	}
	s.set = true
	argument = strings.Trim(argument, `"`)
	for _, c := range argument {
		if c < '0' || c > '9' {
			return
		}
	}
	n, err := strconv.ParseInt(argument, 10, 64)
	switch {
	case argument == "":
	case err != nil || n > math.MaxInt32:
		s.value = forever
	default:
		s.value = time.Duration(n) * time.Second
	}
}
