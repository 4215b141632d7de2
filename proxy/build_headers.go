package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/middleware/header"
)

// requestHeaders changes what the action sees.
func (b *routeBuilder) requestHeaders() func(http.Handler) http.Handler {
	rules := b.place.RequestHeaders
	if rules == nil {
		return nil
	}
	return header.Request(b.headerRules("request_headers", rules, true))
}

// responseHeaders changes what the client sees.
func (b *routeBuilder) responseHeaders() func(http.Handler) http.Handler {
	rules := b.place.ResponseHeaders
	if rules == nil {
		return nil
	}
	return header.Response(b.headerRules("response_headers", rules, false))
}

// headerRules turns the rules of a route, and those of its site that they were
// added to, into one set.
func (b *routeBuilder) headerRules(key string, rules *config.HeaderRules, request bool) header.Rules {
	own := header.Rules{
		Set:     b.fields(key+".set", rules.Set, request),
		Add:     b.fields(key+".add", rules.Add, request),
		Default: b.fields(key+".default", rules.Default, request),
	}
	for _, name := range rules.Remove {
		canonical, err := header.Name(name, request, true)
		if err != nil {
			b.fail(key+".remove", err)
			continue
		}
		own.Remove = append(own.Remove, canonical)
	}
	if site := rules.Site(); site != nil {
		return header.Merge(b.headerRules(key, site, request), own)
	}
	return own
}

func (b *routeBuilder) fields(key string, pairs config.Pairs, request bool) []header.Field {
	var fields []header.Field
	for _, pair := range pairs {
		at := fmt.Sprintf("%s[%s]", key, pair.Name)
		name, err := header.Name(pair.Name, request, false)
		if err == nil {
			err = header.Value(pair.Value)
		}
		if err != nil {
			b.fail(at, err)
			continue
		}
		if value := b.template(at, pair.Value); value != nil {
			field := header.Field{Name: name, Template: value}
			if !strings.Contains(pair.Value, "{") {
				field = header.Field{Name: name, Value: pair.Value}
			}
			fields = append(fields, field)
		}
	}
	return fields
}

// securityHeaders protects visitors.
func (b *routeBuilder) securityHeaders() func(http.Handler) http.Handler {
	s := b.place.SecurityHeaders
	if s == nil || !s.Enabled {
		return nil
	}
	unless := func(text string) string {
		if text == "off" {
			return ""
		}
		return text
	}
	return header.Security(header.SecurityOptions{
		HSTS: s.HSTS, Subdomains: s.HSTSSubdomains, Preload: s.HSTSPreload, NoSniff: s.NoSniff,
		Frames: unless(s.FrameAncestors), ReferrerPolicy: unless(s.ReferrerPolicy),
		PermissionsPolicy: s.PermissionsPolicy, ContentPolicy: s.ContentSecurityPolicy,
		OpenerPolicy: s.OpenerPolicy, EmbedderPolicy: s.EmbedderPolicy, ResourcePolicy: s.ResourcePolicy,
		Override: s.Override,
	})
}

// cors lets other origins read, and answers preflights.
func (b *routeBuilder) cors() func(http.Handler) http.Handler {
	c := b.place.CORS
	if c == nil || !c.Enabled {
		return nil
	}
	made, err := header.NewCORS(header.CORSOptions{
		Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, Expose: c.Expose, Credentials: c.Credentials, MaxAge: c.MaxAge,
	})
	if err != nil {
		b.fail("cors", err)
		return nil
	}
	return made.Wrap
}

// cookies adds flags to the application's cookies.
func (b *routeBuilder) cookies() func(http.Handler) http.Handler {
	var rules []header.CookieRule
	for _, from := range b.place.Cookies {
		sameSite := map[string]string{"lax": "Lax", "strict": "Strict", "none": "None"}[from.SameSite]
		rules = append(rules, header.CookieRule{Name: from.Name, Secure: from.Secure, HTTPOnly: from.HTTPOnly, SameSite: sameSite})
	}
	if len(rules) == 0 {
		return nil
	}
	return header.Cookies(rules)
}
