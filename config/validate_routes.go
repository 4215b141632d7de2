package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mostRoutes bounds the routes of one site.
const mostRoutes = 1000

// actions checks what a site serves: its routes, or its one action.
func (v *validator) actions(site *Site, owners map[string]string) {
	path := site.Path()
	if len(site.Routes) > 0 {
		if key := firstAction(site.Action); key != "" {
			v.fail(path+"."+key, v.name(path)+" has both routes and "+key, "make it the last route: {path: /, "+key+": …}")
		}
		if len(site.Routes) > mostRoutes {
			v.fail(path+".routes", fmt.Sprintf("%s has %d routes; %d is the limit", v.name(path), len(site.Routes), mostRoutes), "")
			return
		}
	}
	if len(site.Routes) == 0 {
		v.action(&site.Action, path, owners)
	}
	for i := range site.Routes {
		route, path := &site.Routes[i], site.routePath(i)
		v.conditions(&route.Conditions, path)
		v.slashes(&route.Conditions, path, site.EncodedSlashes)
		if route.Not != nil {
			v.conditions(route.Not, path+".not")
		}
		v.action(&route.Action, path, owners)
	}
	v.handling(&site.Handling, path)
	for i := range site.Routes {
		v.handling(&site.Routes[i].Handling, site.routePath(i))
	}
	v.hidden(site)
}

// actionKeys returns the actions that are given, by their keys in alphabetical
// order.
func actionKeys(a Action) []string {
	var keys []string
	for _, action := range [...]struct {
		key   string
		given bool
	}{{"files", a.Files != nil}, {"php", a.PHP != nil}, {"proxy", a.Proxy != ""}, {"redirect", a.Redirect != nil}, {"respond", a.Respond != nil}} {
		if action.given {
			keys = append(keys, action.key)
		}
	}
	return keys
}

func firstAction(a Action) string {
	if keys := actionKeys(a); len(keys) > 0 {
		return keys[0]
	}
	return ""
}

// action checks that there is one action, and the action.
func (v *validator) action(a *Action, path string, owners map[string]string) {
	keys := actionKeys(*a)
	switch {
	case len(keys) == 0:
		if !v.doubts(path) {
			v.fail(path, v.name(path)+" says nothing about what it serves", "add proxy: http://HOST:PORT")
		}
		return
	case len(keys) > 1:
		v.fail(path+"."+keys[1], fmt.Sprintf("%s has both %s and %s", v.name(path), keys[0], keys[1]), "keep one, or make two routes of it")
	}
	if a.Proxy != "" {
		v.server(path+".proxy", a.Proxy, owners)
	}
	if a.Redirect != nil {
		v.redirect(a.Redirect, path+".redirect")
	}
	if a.Respond != nil {
		v.respond(a.Respond, path+".respond")
	}
	if a.Files != nil {
		v.files(a.Files, path+".files")
	}
	if a.PHP != nil {
		v.php(a.PHP, path+".php")
	}
}

// server checks the address that requests are sent to.
func (v *validator) server(path, address string, owners map[string]string) {
	if v.cfg.upstream(address) >= 0 {
		return
	}
	if !v.bad(path, address, v.proxyFault(address)) {
		v.circles(path, address, owners)
	}
}

func (v *validator) redirect(r *Redirect, path string) {
	if r.To == "" {
		v.missing(path, "to", v.name(path)+" says nothing about where to", "write redirect: https://HOST{uri}")
	}
	if !slices.Contains([]int{0, 301, 302, 303, 307, 308}, r.Status) {
		v.fail(path+".status", fmt.Sprintf("%s.status %d is no redirect", v.name(path), r.Status), "write 301 or 308 (for ever), or 302, 303 or 307 (for now)")
	}
}

func (v *validator) respond(r *Respond, path string) {
	if r.Status < 200 || r.Status > 599 {
		v.fail(path+".status", fmt.Sprintf("%s.status %d is not a status", v.name(path), r.Status), "200 to 599")
	}
	if r.Body != "" && (r.Status == 204 || r.Status == 304) {
		v.fail(path+".body", fmt.Sprintf("%s has a body, which an answer of status %d cannot have", v.name(path), r.Status), "remove body, or write 200")
	}
	v.fieldNames(r.Headers, path+".headers")
}

// fieldNames checks that names can be those of fields.
func (v *validator) fieldNames(pairs Pairs, path string) {
	for _, pair := range pairs {
		if at := path + "[" + pair.Name + "]"; !isToken(pair.Name) {
			v.fail(at, v.name(path)+" has a name that no field can have", "letters, digits and -")
		}
	}
}

// conditions checks which requests a route is for.
func (v *validator) conditions(c *Conditions, path string) {
	for i, text := range c.Path {
		v.bad(v.item(path+".path", i), text, pathFault(text))
		if strings.HasSuffix(text, "/*") {
			at := v.item(path+".path", i)
			v.warn(at, v.name(at)+" ends in /*, which stands for one segment only", "write "+strings.TrimSuffix(text, "*")+" for everything below it")
		}
	}
	v.regexp(path+".path_regexp", c.PathRegexp)
	for i, method := range c.Methods {
		if at := v.item(path+".methods", i); !isToken(method) {
			v.bad(at, method, &fault{"is not a method", "write GET, POST, …"})
		} else if upper := strings.ToUpper(method); upper != method && slices.Contains(knownMethods[:], upper) {
			v.bad(at, method, &fault{"is not the method: methods are in capitals", "write " + upper})
		}
	}
	v.fieldNames(c.Headers, path+".headers")
	for _, pair := range c.Headers {
		v.valuePattern(path+".headers["+pair.Name+"]", pair.Value)
	}
	for _, pair := range c.Query {
		v.valuePattern(path+".query["+pair.Name+"]", pair.Value)
	}
	v.networks(path+".client_ip", c.ClientIP)
}

// slashes warns of paths with %2F that no request has in every reading.
func (v *validator) slashes(c *Conditions, path, encoded string) {
	for i, text := range c.Path {
		if at := v.item(path+".path", i); strings.Contains(text, "%2F") && encoded != "keep" {
			v.warn(at, v.name(at)+" has a %2F, which the application could take for a slash: such requests are refused", "add encoded_slashes: keep to the site if it does not")
		}
	}
}

var knownMethods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}

// item returns the path of the i-th of a list that may stand without brackets.
func (v *validator) item(path string, i int) string {
	if one := path + "[" + strconv.Itoa(i) + "]"; v.src.has(v.name(one)) {
		return one
	}
	return path
}

// networks checks a list of addresses and networks.
func (v *validator) networks(path string, list Texts) {
	for i, text := range list {
		_, wrong := parseNetwork(text)
		v.bad(v.item(path, i), text, wrong)
	}
}

// parseNetwork reads an address or a network in CIDR notation. The fault says
// what is wrong with the text.
func parseNetwork(text string) (netip.Prefix, *fault) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, &fault{"is neither an address nor a network", "write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"}
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, &fault{"is IPv4 in the clothes of IPv6", "write it as IPv4: 10.0.0.0/8"}
	case prefix.Masked() != prefix:
		return netip.Prefix{}, &fault{"has bits set behind its prefix", "write " + prefix.Masked().String()}
	}
	return prefix, nil
}

// Networks returns the networks of a list that was validated; an address is a
// network of one.
func Networks(list Texts) []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range list {
		if one, wrong := parseNetwork(text); wrong == nil {
			networks = append(networks, one)
		}
	}
	return networks
}

// valuePattern checks the value of a condition on a field or a parameter.
func (v *validator) valuePattern(path, text string) {
	if expression, ok := strings.CutPrefix(text, "~"); ok {
		v.regexp(path, expression)
	}
}

// regexp checks a regular expression, if there is one.
func (v *validator) regexp(path, text string) {
	if text == "" {
		return
	}
	if _, err := regexp.Compile(text); err != nil {
		reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		hint := "the language is RE2: no lookaround, no backreferences"
		if v.src.shows(path, text) {
			hint = reason + "\n" + hint
		}
		v.bad(path, text, &fault{"is not a regular expression", hint})
	}
}

// pathFault says what is wrong with the path of a condition.
func pathFault(text string) *fault {
	switch {
	case text == "":
		return nil // reported by the decoder
	case text[0] != '/':
		return &fault{"does not begin with a slash", "write /" + strings.TrimPrefix(text, "*")}
	case strings.ContainsAny(text, "?#"):
		return &fault{"has a ? or #, which are not part of the path", "conditions on parameters go into query"}
	case strings.Contains(text, "//"):
		return &fault{"has two slashes in a row", "write one; merge_slashes makes one of those of a request"}
	case strings.ContainsAny(text, ";\\"):
		return &fault{"has a ; or \\, which applications read in several ways", "use path_regexp if it is meant"}
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &fault{"has a control character", ""}
	}
	for segment := range strings.SplitSeq(text[1:], "/") {
		switch {
		case segment == "." || segment == "..":
			return &fault{"has the segment " + segment + ", which no request has when it is matched", "write the path that it leads to"}
		case segment != "*" && strings.Contains(segment, "*"):
			return &fault{"has a * that is not a whole segment", "a trailing slash stands for everything below (/api/), * for one segment; for more use path_regexp"}
		}
	}
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "%")
		if !ok {
			return nil
		}
		if !strings.HasPrefix(after, "2F") && !strings.HasPrefix(after, "25") {
			return &fault{"has a % that is neither %2F nor %25", "write the character itself; % itself is %25"}
		}
		rest = after
	}
}

// handling checks how requests are treated.
func (v *validator) handling(h *Handling, path string) {
	if !h.says() {
		return
	}
	if h.Errors != nil {
		v.pages(h.Errors, path+".errors")
	}
	if h.Maintenance != nil {
		v.maintenance(h.Maintenance, path+".maintenance")
	}

	v.access(h, path)
	v.headers(h, path)
	v.shaping(h, path)
	if h.Rewrite != "" && h.RewriteRegexp != nil {
		v.fail(path+".rewrite_regexp", v.name(path)+" has both rewrite and rewrite_regexp", "keep one")
	}
	for _, key := range []struct{ name, text string }{{"strip_prefix", h.StripPrefix}, {"add_prefix", h.AddPrefix}} {
		if wrong := pathFault(key.text); wrong != nil {
			v.bad(path+"."+key.name, key.text, wrong)
		} else if strings.Contains(key.text, "*") {
			v.bad(path+"."+key.name, key.text, &fault{"has a *, which has no meaning here", "rewrite_regexp can do more"})
		}
	}
	v.cache(h.Cache, path+".cache")
	if r := h.RewriteRegexp; r != nil {
		at := path + ".rewrite_regexp"
		v.regexp(at+".match", r.Match)
		for _, key := range []struct{ name, text string }{{"match", r.Match}, {"replace", r.Replace}} {
			if key.text == "" {
				v.missing(at, key.name, v.name(at)+" has no "+key.name, "write rewrite_regexp: {match: ^/old/(.*)$, replace: /new/{capture.1}}")
			}
		}
	}
}
