package header

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// CookieRule says which flags an application's cookies get.
type CookieRule struct {
	// Name of the cookies; one that ends in "*" stands for all that begin with
	// what is before it. Empty: all.
	Name string

	// Secure: sent back over TLS only. It is not added to a response that
	// itself goes out without TLS, where browsers would drop the cookie.
	Secure bool

	// HTTPOnly: out of the reach of scripts.
	HTTPOnly bool

	// SameSite is Lax, Strict or None, for cookies that say nothing about it.
	// None needs TLS, and brings Secure with it. Empty adds nothing.
	SameSite string
}

// Check reports what is wrong with a rule.
func (c CookieRule) Check() error {
	if c.SameSite == "" && !c.Secure && !c.HTTPOnly {
		return errors.New("the rule adds nothing")
	}
	if !slices.Contains([]string{"", "Lax", "Strict", "None"}, c.SameSite) {
		return fmt.Errorf("%q is no SameSite", c.SameSite)
	}
	if strings.ContainsFunc(strings.TrimSuffix(c.Name, "*"), notToken) {
		return fmt.Errorf("%q is not the name of a cookie", c.Name)
	}
	return nil
}

// Cookies adds flags to the cookies that an application sets: the first rule
// that a cookie's name matches counts. Flags are only added, never taken away,
// and nothing else of a cookie is touched. A name that begins with __Host- or
// __Secure- always gets Secure over TLS, because browsers refuse it without
// (RFC 6265bis section 4.1.3).
func Cookies(rules []CookieRule) func(http.Handler) http.Handler {
	hook := &cookies{rules: slices.Clone(rules)}
	return func(next http.Handler) http.Handler {
		if len(rules) == 0 {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			exchange.Of(r).OnHead(hook)
			next.ServeHTTP(w, r)
		})
	}
}

type cookies struct{ rules []CookieRule }

// Head implements [exchange.HeadHook].
func (c *cookies) Head(r *http.Request, _ int, h http.Header) {
	have := h["Set-Cookie"]
	if len(have) == 0 {
		return
	}
	secure := exchange.Of(r).Secure
	changed := make([]string, len(have)) // the application's slice may be shared, by a cache
	for i, cookie := range have {
		changed[i] = c.flag(cookie, secure)
	}
	h["Set-Cookie"] = changed
}

// flag returns a Set-Cookie with what its rule adds.
func (c *cookies) flag(cookie string, secure bool) string {
	pair, attributes, _ := strings.Cut(cookie, ";")
	name, _, ok := strings.Cut(pair, "=")
	if !ok {
		return cookie // no cookie; browsers have opinions, we have none
	}
	name = strings.TrimSpace(name)
	rule := c.rule(name)
	if rule == nil {
		return cookie
	}
	var has struct{ secure, httpOnly, sameSite bool }
	for attribute := range strings.SplitSeq(attributes, ";") {
		key, _, _ := strings.Cut(attribute, "=")
		switch key = strings.TrimSpace(key); {
		case strings.EqualFold(key, "secure"):
			has.secure = true
		case strings.EqualFold(key, "httponly"):
			has.httpOnly = true
		case strings.EqualFold(key, "samesite"):
			has.sameSite = true
		}
	}
	cookie = strings.TrimRight(cookie, "; \t")
	none := rule.SameSite == "None" && !has.sameSite
	if secure && !has.secure && (rule.Secure || none || prefixed(name)) {
		cookie += "; Secure"
		has.secure = true
	}
	if rule.HTTPOnly && !has.httpOnly {
		cookie += "; HttpOnly"
	}
	if rule.SameSite != "" && !has.sameSite && (!none || has.secure) {
		cookie += "; SameSite=" + rule.SameSite
	}
	return cookie
}

func (c *cookies) rule(name string) *CookieRule {
	for i := range c.rules {
		rule := &c.rules[i]
		prefix, open := strings.CutSuffix(rule.Name, "*")
		if rule.Name == "" || rule.Name == name || open && strings.HasPrefix(name, prefix) {
			return rule
		}
	}
	return nil
}

// prefixed reports whether browsers demand Secure because of the name; they
// compare without regard to case.
func prefixed(name string) bool {
	for _, prefix := range []string{"__Host-", "__Secure-"} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
