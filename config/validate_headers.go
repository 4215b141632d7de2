package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// headers checks what is done with the fields of requests and responses.
func (v *validator) headers(h *Handling, path string) {
	v.headerRules(h.RequestHeaders, path+".request_headers", true)
	v.headerRules(h.ResponseHeaders, path+".response_headers", false)
	if h.SecurityHeaders != nil && h.SecurityHeaders.Enabled {
		v.securityHeaders(h.SecurityHeaders, path+".security_headers")
	}
	if h.CORS != nil && h.CORS.Enabled {
		v.cors(h.CORS, path+".cors")
	}
	for i := range h.Cookies {
		v.cookie(&h.Cookies[i], v.item(path+".cookies", i))
	}
	if h.Host != "" && h.Host != "client" && h.Host != "upstream" {
		v.bad(path+".host", h.Host, sentHostFault(h.Host))
	}
	for i, protocol := range h.Upgrade {
		v.bad(v.item(path+".upgrade", i), protocol, protocolFault(protocol))
	}
}

// protocolFault says why a connection cannot be switched to a protocol. Its
// name may have a version behind a slash (RFC 9110 section 7.8).
func protocolFault(text string) *fault {
	name, _, _ := strings.Cut(strings.ToLower(text), "/")
	switch name {
	case "h2c", "http", "tls":
		return &fault{"would lead past the proxy's checks", "clients reach servers over HTTP/2 without it: write h2c:// in the server's address"}
	case "websocket":
		return &fault{"is always allowed", "leave it out"}
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`,;"()<>@\[]?={}:`, c) }) {
		return &fault{"is not the name of a protocol", "write it as in the Upgrade field: tcp, or SPDY/3.1"}
	}
	return nil
}

// sentHostFault says what is wrong with a Host to send.
func sentHostFault(text string) *fault {
	wrong := &fault{"is not a host", "write client, upstream, or a host such as app.internal or app.internal:8080"}
	if strings.Contains(text, "{") {
		return &fault{"has a placeholder, which a Host cannot have", "write client to pass on the client's"}
	}
	u, err := url.Parse("//" + text)
	if err != nil || u.Host != text || u.User != nil || u.Hostname() == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return wrong
	}
	return nil
}

// headerRules checks the names and values of fields.
func (v *validator) headerRules(rules *HeaderRules, path string, request bool) {
	if rules == nil {
		return
	}
	for i, name := range rules.Remove {
		prefix := strings.TrimSuffix(name, "*")
		if name != "*" && prefix != "" {
			v.bad(v.item(path+".remove", i), name, fieldFault(prefix, request && prefix == name))
		} else if name == "*" {
			v.bad(v.item(path+".remove", i), name, &fault{"would remove every field", "name the fields, or the beginning of their names: X-*"})
		}
	}
	for _, list := range []struct {
		key   string
		pairs Pairs
	}{{"set", rules.Set}, {"add", rules.Add}, {"default", rules.Default}} {
		for _, pair := range list.pairs {
			at := fmt.Sprintf("%s.%s[%s]", path, list.key, pair.Name)
			if wrong := fieldFault(pair.Name, request); wrong != nil {
				v.fail(at, v.name(at)+" "+wrong.message, wrong.hint)
				continue
			}
			v.bad(at, pair.Value, valueFault(pair.Value))
		}
	}
}

// fieldFault says why a field cannot be changed.
func fieldFault(name string, request bool) *fault {
	if !isToken(name) {
		return &fault{"is not the name of a field", "letters, digits and -"}
	}
	switch name = strings.ToLower(name); {
	case slices.Contains(connectionFields[:], name):
		return &fault{"belongs to the connection, which is the proxy's", "remove it: the proxy writes such fields as they are needed"}
	case !request:
		return nil
	case name == "host":
		return &fault{"is not an ordinary field", "write host: upstream, or host: NAME, beside request_headers"}
	case name == "expect":
		return &fault{"is answered by the proxy", "remove it"}
	case slices.Contains(forwardedFields[:], name):
		return &fault{"is written by the proxy, and never taken from clients", "remove it"}
	}
	return nil
}

// connectionFields frame a message or are for one connection only.
var connectionFields = [...]string{"connection", "keep-alive", "proxy-connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "http2-settings"}

// forwardedFields are what the proxy says about the client.
var forwardedFields = [...]string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id"}

// valueFault says what a field cannot hold.
func valueFault(text string) *fault {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return &fault{"has a control character, which no field can hold", "write the value on one line"}
	}
	return nil
}

func (v *validator) securityHeaders(s *SecurityHeaders, path string) {
	const year = 365 * 24 * time.Hour
	if s.HSTS < 0 {
		v.fail(path+".hsts", v.name(path)+".hsts is negative", "0 leaves the field out")
	}
	if s.HSTSPreload && (s.HSTS < year || !s.HSTSSubdomains) {
		v.fail(path+".hsts_preload", v.name(path)+".hsts_preload wants hsts_subdomains and at least a year of hsts", "the lists take nothing less: write hsts: 8760h, hsts_subdomains: true")
	}
	for _, value := range []struct{ key, text string }{
		{"frame_ancestors", s.FrameAncestors}, {"referrer_policy", s.ReferrerPolicy}, {"permissions_policy", s.PermissionsPolicy},
		{"content_security_policy", s.ContentSecurityPolicy}, {"cross_origin_opener_policy", s.OpenerPolicy},
		{"cross_origin_embedder_policy", s.EmbedderPolicy}, {"cross_origin_resource_policy", s.ResourcePolicy},
	} {
		v.bad(path+"."+value.key, value.text, valueFault(value.text))
	}
	if strings.ContainsAny(s.FrameAncestors, ";,") {
		v.bad(path+".frame_ancestors", s.FrameAncestors, &fault{"has more than one directive", "sources with blanks between: https://a.example https://b.example"})
	}
}

// cors checks who may read responses.
func (v *validator) cors(c *CORS, path string) {
	if len(c.Origins) == 0 {
		v.missing(path, "origins", v.name(path)+" says nothing about who may read", "add origins: https://app.example.com")
	}
	for i, origin := range c.Origins {
		v.bad(v.item(path+".origins", i), origin, originFault(origin, c.Credentials))
	}
	for _, list := range []struct {
		key   string
		names Texts
	}{{"methods", c.Methods}, {"headers", c.Headers}, {"expose", c.Expose}} {
		for i, name := range list.names {
			at := v.item(path+"."+list.key, i)
			switch {
			case name == "":
			case name == "*" && c.Credentials:
				v.bad(at, name, &fault{"means nothing where credentials are allowed", "name each"})
			case !isToken(name):
				v.bad(at, name, &fault{"is neither a method nor a field", "names are made of letters, digits and -"})
			}
		}
	}
	if c.MaxAge < 0 {
		v.fail(path+".max_age", v.name(path)+".max_age is negative", "0 leaves it to browsers")
	}
}

// originFault says what is wrong with an origin.
func originFault(origin string, credentials bool) *fault {
	switch {
	case origin == "":
		return nil // reported by the decoder
	case origin == "*" && credentials:
		return &fault{"cannot be allowed together with credentials", "name each origin; browsers refuse anything else"}
	case origin == "*":
		return nil
	case origin == "null":
		return &fault{"is no origin", "every sandboxed document has it, whoever made it"}
	}
	before, after, open := strings.Cut(origin, "*.")
	u, err := url.Parse(before + after)
	switch {
	case err == nil && u.Host != "" && u.Scheme != "" && strings.TrimRight(origin, "/") != origin:
		return &fault{"has a slash at the end, which no origin has", "write " + strings.TrimRight(origin, "/")}
	case err != nil || u.Host == "" || u.Scheme+"://"+u.Host != before+after || strings.Contains(before+after, "*"):
		return &fault{"is not an origin", "write https://app.example.com, or https://*.example.com for each name with one more label"}
	case open && before != u.Scheme+"://":
		return &fault{"has its * not at the beginning of the name", "write https://*.example.com"}
	case origin != strings.ToLower(origin):
		return &fault{"is not in lower case, as browsers send it", "write " + strings.ToLower(origin)}
	case u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http":
		return &fault{"has its scheme's own port, which browsers leave out", "write " + strings.TrimSuffix(origin, ":"+u.Port())}
	}
	return nil
}

func (v *validator) cookie(c *CookieRule, path string) {
	if !c.Secure && !c.HTTPOnly && c.SameSite == "" && c.Name == "" {
		v.fail(path, v.name(path)+" adds nothing", "add secure: true, http_only: true or same_site: lax")
	}
	if name := strings.TrimSuffix(c.Name, "*"); name != "" && !isToken(name) {
		v.bad(path+".name", c.Name, &fault{"is not the name of a cookie", "a name, or its beginning and a *"})
	}
}
