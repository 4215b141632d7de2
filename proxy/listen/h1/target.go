package h1

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/proxy/internal/wire"
)

// target reads the request target (RFC 9112 section 3.2): one form for each
// kind of request.
func (x *exchange) target() error {
	r, u := &x.request, &x.url
	target := r.RequestURI
	switch {
	case r.Method == http.MethodConnect:
		// Authority form: a host and a port, and nothing else.
		colon := strings.LastIndexByte(target, ':')
		if colon <= 0 || colon == len(target)-1 || !wire.IsHost(target) || strings.Trim(target[colon+1:], "0123456789") != "" {
			return errTargetForm
		}
		u.Host = target
		return nil
	case target[0] == '/':
		return x.originForm(target)
	case target == "*":
		if r.Method != http.MethodOptions {
			return errTargetForm
		}
		u.Path = "*"
		return nil
	}
	return x.absoluteForm(target)
}

// originForm reads a path and a query. Nearly all paths have only characters
// that stand for themselves; the others are left to net/url.
func (x *exchange) originForm(target string) error {
	path, query, has := strings.Cut(target, "?")
	for i := range len(path) {
		if !plain(path[i]) {
			return x.parseTarget(target)
		}
	}
	if strings.HasPrefix(path, "//") {
		return x.parseTarget(target)
	}
	x.url.Path, x.url.RawQuery, x.url.ForceQuery = path, query, has && query == ""
	return nil
}

// plain reports whether a path with c is its own escaped form.
func plain(c byte) bool {
	const (
		low  = (1<<10-1)<<'0' | 1<<'-' | 1<<'.' | 1<<'$' | 1<<'&' | 1<<'+' | 1<<',' | 1<<'/' | 1<<':' | 1<<';' | 1<<'='
		high = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64) | 1<<('_'-64) | 1<<('~'-64) | 1<<('@'-64)
	)
	if c < 64 {
		return uint64(low)>>c&1 != 0
	}
	return c < 128 && uint64(high)>>(c-64)&1 != 0
}

func (x *exchange) parseTarget(target string) error {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return errTarget
	}
	x.url = *u
	return nil
}

// absoluteForm reads http://host/path, which a server must understand (RFC
// 9112 section 3.2.2). Whoever names a user there means to deceive (RFC 9110
// section 4.2.4).
func (x *exchange) absoluteForm(target string) error {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return errTargetForm
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	if authority == "" || !wire.IsHost(authority) {
		return errTargetForm // "@" is not a character of hosts
	}
	if err := x.parseTarget(target); err != nil {
		return err
	}
	if x.url.Host != authority {
		return errTargetForm // percent-encoding: two readers could disagree on it
	}
	return nil
}
