package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rateLimits checks the limits that routes share.
func (v *validator) rateLimits() {
	for i := range v.cfg.RateLimits {
		limit := &v.cfg.RateLimits[i]
		v.rateLimit(limit, "rate_limits["+limit.Name+"]", false)
	}
}

// rateLimit checks one limit. One in a route may name another instead.
func (v *validator) rateLimit(l *RateLimit, path string, inRoute bool) {
	switch {
	case l.Use != "" && !inRoute:
		v.fail(path+".use", v.name(path)+" names another limit", "write its rate here")
		return
	case l.Use != "":
		v.usedLimit(l, path)
		return
	case l.Rate == "":
		v.missing(path, "rate", v.name(path)+" has no rate", "add rate: 10/s")
	default:
		_, _, wrong := parseRate(l.Rate)
		v.bad(path+".rate", l.Rate, wrong)
	}
	v.bad(path+".key", l.Key, keyFault(l.Key))
	const mostKeys = 1 << 28
	if l.Keys > mostKeys {
		v.fail(path+".keys", fmt.Sprintf("%s.keys %d takes more than 4 GiB", v.name(path), l.Keys), "the keys are counted in pieces of 16 bytes")
	}
}

// usedLimit checks that the limit that a route names exists.
func (v *validator) usedLimit(l *RateLimit, path string) {
	var names []string
	for _, limit := range v.cfg.RateLimits {
		names = append(names, limit.Name)
	}
	at := path
	if v.src.has(v.name(path + ".use")) {
		at = path + ".use"
	}
	switch {
	case !slices.Contains(names, l.Use):
		hint := "add it under rate_limits, or write {rate: 10/s}"
		if near, ok := nearest(l.Use, names); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		} else if _, _, wrong := parseRate(l.Use); wrong == nil {
			hint = "write {rate: " + l.Use + "}"
		}
		v.bad(at, l.Use, &fault{"is no limit under rate_limits", hint})
	case l.Rate != "":
		v.fail(at, v.name(path)+" both names a limit and says what it is", "keep use, or everything else")
	}
}

// Limit returns the numbers of a rate that was validated.
func (l *RateLimit) Limit() (requests int, per time.Duration) {
	requests, per, _ = parseRate(l.Rate)
	return requests, per
}

// parseRate reads a number of requests in a time: 5/m.
func parseRate(text string) (requests int, per time.Duration, wrong *fault) {
	wrong = &fault{"is not a rate", "write 10/s, 5/m, 100/h or 1000/d"}
	number, unit, ok := strings.Cut(text, "/")
	if !ok {
		return 0, 0, wrong
	}
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil {
		return 0, 0, wrong
	}
	per, ok = map[string]time.Duration{
		"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
		"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
		"sec": time.Second, "min": time.Minute,
	}[strings.TrimSpace(unit)]
	switch {
	case !ok:
		return 0, 0, wrong
	case n < 1:
		return 0, 0, &fault{"lets nobody through", "write at least 1; respond: 403 refuses all"}
	case n > 1_000_000_000:
		return 0, 0, &fault{"is more than a limit can count", "write at most 1000000000/s"}
	}
	return n, per, nil
}

// keyFault says what is wrong with a key by which requests count together.
func keyFault(text string) *fault {
	words := []string{"client_ip", "peer_ip", "host", "path", "method", "site", "user"}
	for word := range strings.FieldsSeq(text) {
		kind, name, named := strings.Cut(word, ":")
		switch {
		case (kind == "header" || kind == "cookie") && isToken(name):
		case kind == "header" || kind == "cookie":
			return &fault{"has no name after " + kind, "write " + kind + ":NAME"}
		case named || !slices.Contains(words, kind):
			hint := "client_ip, peer_ip, host, path, method, site, user, header:NAME, cookie:NAME, or several with blanks between"
			if near, ok := nearest(kind, words); ok && !named {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return &fault{"is no key to count by", hint}
		}
	}
	return nil
}

// shaping checks what requests may take, and what is done with their bodies.
func (v *validator) shaping(h *Handling, path string) {
	for i := range h.RateLimit {
		v.rateLimit(&h.RateLimit[i], v.item(path+".rate_limit", i), true)
	}
	if c := h.MaxConnections; c != nil {
		v.bad(path+".max_connections.key", c.Key, keyFault(c.Key))
	}
	for _, timeout := range []struct {
		key   string
		value *time.Duration
	}{{"request_timeout", h.RequestTimeout}, {"response_timeout", h.ResponseTimeout}} {
		if timeout.value != nil && *timeout.value < 0 {
			v.fail(path+"."+timeout.key, v.name(path)+"."+timeout.key+" is negative", "0 is no limit")
		}
	}
	if h.Compress != nil {
		v.compress(h.Compress, path+".compress")
	}
	if b := h.BufferRequest; b != nil && b.Enabled && h.MaxBody != nil && *h.MaxBody > b.Max {
		v.warn(path+".max_body", fmt.Sprintf("%s.max_body is larger than buffer_request.max, which refuses larger bodies all the same", v.name(path)), "raise buffer_request.max, or lower max_body")
	}
	if m := h.Mirror; m != nil {
		v.mirror(m, path+".mirror")
	}
}

func (v *validator) compress(c *Compress, path string) {
	for i, name := range c.Encodings {
		if name != "" && name != "zstd" && name != "gzip" {
			hint := "zstd and gzip are there"
			if name == "br" || name == "brotli" {
				hint = "zstd is smaller and faster, and gzip serves who does not know it; files that were compressed by brotli beforehand are served as they are"
			}
			v.bad(v.item(path+".encodings", i), name, &fault{"is no encoding that we can make", hint})
		}
	}
	for i, text := range c.Types {
		v.bad(v.item(path+".types", i), text, mediaFault(text))
	}
}

// mediaFault says what is wrong with a media type.
func mediaFault(text string) *fault {
	major, minor, ok := strings.Cut(text, "/")
	suffix, isSuffix := strings.CutPrefix(text, "*+")
	switch {
	case text == "", isSuffix && isToken(suffix) && !strings.Contains(suffix, "*"), ok && isToken(major) && major != "*" && (minor == "*" || isToken(minor) && !strings.Contains(minor, "*")):
		return nil
	}
	return &fault{"is not a media type", "write application/json, text/* or *+json"}
}

func (v *validator) mirror(m *Mirror, path string) {
	if m.To == "" {
		v.missing(path, "to", v.name(path)+" says nothing about where to", "write mirror: {to: http://HOST:PORT, percent: 10}")
	} else if v.cfg.upstream(m.To) < 0 {
		v.bad(path+".to", m.To, v.proxyFault(m.To))
	}
	if !(m.Percent >= 0 && m.Percent <= 100) {
		v.fail(path+".percent", fmt.Sprintf("%s.percent %v is not from 0 to 100", v.name(path), m.Percent), "")
	}
}
