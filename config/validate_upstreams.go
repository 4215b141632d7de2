package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mostServers bounds an upstream.
const mostServers = 256

// upstreams checks every upstream, and that each is of use to a site.
func (v *validator) upstreams() {
	used := make(map[string]bool)
	for i := range v.cfg.Sites {
		site := &v.cfg.Sites[i]
		if len(site.Routes) == 0 {
			used[site.Proxy] = true
		}
		for n := range site.Routes {
			used[site.Routes[n].Proxy] = true
		}
	}
	for i := range v.cfg.Upstreams {
		u := &v.cfg.Upstreams[i]
		u.Retries.complete()
		path := "upstreams[" + u.Name + "]"
		v.upstreamServers(u, path)
		v.balance(u, path)
		if u.Sticky != nil {
			v.sticky(u.Sticky, path+".sticky")
		}
		if u.TLS != nil {
			v.upstreamTLS(u, path+".tls")
		}
		if u.Health != nil {
			v.health(u, path+".health")
		}
		if v.src.has(path+".queue") && u.MaxConnections == 0 && !slices.ContainsFunc(u.Servers, func(s Server) bool { return s.MaxConnections > 0 }) {
			v.warn(path+".queue", path+".queue has no effect: no server has a limit", "add max_connections, or remove it")
		}
		if !used[u.Name] && !v.doubts("sites") {
			v.warn(path, path+" is used by no site", "name it in a site, proxy: "+u.Name+", or remove it")
		}
	}
}

// upstreamServers checks the list of an upstream's servers.
func (v *validator) upstreamServers(u *Upstream, path string) {
	list := path + ".servers"
	switch {
	case len(u.Servers) == 0 && !v.doubts(list):
		v.missing(path, "servers", path+" has no server", "add servers: [http://HOST:PORT]")
		return
	case len(u.Servers) > mostServers:
		v.fail(list, fmt.Sprintf("%s has %d servers; %d is the limit", path, len(u.Servers), mostServers), "")
	}
	first := make(map[string]string)
	primary := false
	for i, server := range u.Servers {
		at := fmt.Sprintf("%s[%d]", list, i)
		primary = primary || !server.Backup
		if v.src.has(at + ".url") {
			at += ".url"
		}
		if server.URL == "" {
			v.missing(at, "url", at+" has no address", "add url: http://HOST:PORT")
			continue
		}
		if v.bad(at, server.URL, serverFault(server.URL)) {
			continue
		}
		if other, twice := first[server.URL]; twice {
			v.fail(at, fmt.Sprintf("%s %s is the same server as %s", at, v.src.quote(at, server.URL), other), "keep one; weight: 2 gives it a double share")
			continue
		}
		first[server.URL] = at
	}
	if !primary && !v.doubts(list) {
		v.fail(list, path+" has only backup servers", "remove backup from at least one")
	}
}

// balance checks how servers are chosen.
func (v *validator) balance(u *Upstream, path string) {
	path += ".balance"
	word, name := u.BalanceBy()
	switch {
	case word != BalanceHeader && word != BalanceCookie:
		if !slices.Contains(balanceWords[:], u.Balance) {
			hint := "write " + orList(balanceWords[:]) + ", header:NAME or cookie:NAME"
			if near, ok := nearest(strings.ToLower(u.Balance), balanceWords[:]); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			v.bad(path, u.Balance, &fault{"is no way to choose a server", hint})
		}
	case !isToken(name):
		v.bad(path, u.Balance, &fault{"wants a name after the colon", "write " + word + ":NAME"})
	case strings.EqualFold(word+name, "headercookie"):
		v.bad(path, u.Balance, &fault{"goes by all cookies together", "name one: cookie:NAME"})
	}
}

func (v *validator) sticky(s *Sticky, path string) {
	if s.Cookie == "" {
		v.missing(path, "cookie", path+" does not name the cookie", "write sticky: {cookie: NAME}")
	} else if !isToken(s.Cookie) {
		v.bad(path+".cookie", s.Cookie, &fault{"is not the name of a cookie", "letters, digits, - and _"})
	}
}

// upstreamTLS checks how TLS is spoken with an upstream's servers. Whether the
// files can be used is seen when they are read.
func (v *validator) upstreamTLS(u *Upstream, path string) {
	tls := u.TLS
	switch {
	case tls.Certificate != "" && tls.Key == "":
		v.missing(path, "key", path+" has a certificate without its key", "add key: FILE")
	case tls.Certificate == "" && tls.Key != "":
		v.missing(path, "certificate", path+" has a key without its certificate", "add certificate: FILE")
	}
	if tls.ServerName != "" {
		if wrong := hostFault(tls.ServerName, "", false); wrong != nil {
			v.bad(path+".server_name", tls.ServerName, &fault{"is not a host name", "write the name that is in the servers' certificate"})
		}
	}
	secure := func(s Server) bool { return strings.HasPrefix(s.URL, "https://") }
	if !slices.ContainsFunc(u.Servers, secure) && !v.doubts("upstreams["+u.Name+"].servers") {
		v.fail(path, path+" has no effect: no server of the upstream speaks TLS", "write https:// for the servers, or remove it")
	}
}

// health checks how an upstream's servers are asked.
func (v *validator) health(u *Upstream, path string) {
	h := u.Health
	if h.Path != "" && (!strings.HasPrefix(h.Path, "/") || strings.ContainsAny(h.Path, " \t#")) {
		v.bad(path+".path", h.Path, &fault{"is not a path", "write path: /healthz"})
	}
	if least, _ := h.StatusRange(); least == 0 {
		v.bad(path+".status", h.Status, &fault{"is neither a status nor a range of them", "write 200 or 200-399"})
	}
	if host, port, ok := strings.Cut(h.Host, ":"); h.Host != "" && (hostFault(strings.Trim(host, "[]"), port, ok && port == "") != nil && !isIP(strings.Trim(h.Host, "[]"))) {
		v.bad(path+".host", h.Host, &fault{"is not a host", "write HOST or HOST:PORT"})
	}
	if !h.GRPC {
		return
	}
	for _, key := range []string{"path", "status", "body"} {
		if v.src.has(path + "." + key) {
			v.fail(path+"."+key, path+"."+key+" has no meaning with grpc", "remove one of the two")
		}
	}
	for i, server := range u.Servers {
		if strings.HasPrefix(server.URL, "http://") || strings.HasPrefix(server.URL, "unix:") {
			at := fmt.Sprintf("upstreams[%s].servers[%d]", u.Name, i)
			v.fail(at, at+" does not speak HTTP/2, which the gRPC health check needs", "write h2c:// or https:// for it")
		}
	}
}

// isToken reports whether a text can be a field's or a cookie's name (RFC 9110
// section 5.6.2).
func isToken(text string) bool {
	return text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") == ""
}

// upstreamName checks the name of an upstream, which must not be taken for an
// address.
func upstreamName(name string) *fault {
	switch {
	case strings.Contains(name, "://"), strings.HasPrefix(name, "unix:"):
		return &fault{"is an address where the name of an upstream belongs", "write NAME: {servers: [" + name + "]}"}
	case name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return &fault{"is not a name for an upstream", "letters, digits, dots, - and _"}
	}
	return nil
}

// proxyFault says what is wrong with a site's proxy that is not the name of an
// upstream.
func (v *validator) proxyFault(text string) *fault {
	wrong := serverFault(text)
	if wrong == nil || len(v.cfg.Upstreams) == 0 || strings.Contains(text, "://") || upstreamName(text) != nil {
		return wrong
	}
	var known []string
	for i, u := range v.cfg.Upstreams {
		if v.src.shows("upstreams["+u.Name+"]", u.Name) && i < 10 {
			known = append(known, u.Name)
		}
	}
	hint := "the upstreams are " + strings.Join(known, ", ")
	if near, ok := nearest(text, known); ok {
		hint = "did you mean " + strconv.Quote(near) + "?"
	}
	return &fault{"is neither the name of an upstream nor the address of a server", hint}
}
