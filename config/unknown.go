package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// habit returns what to write for a key that people bring along from other
// programs, "" where there is no such habit.
func habit(t reflect.Type, key string) string {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	switch t {
	case reflect.TypeFor[Config]():
		switch key {
		case "email":
			return "write acme: {email: ADDRESS}"
		case "site", "server", "servers", "hosts":
			return "write sites"
		case "set_real_ip_from", "real_ip_header", "forwarded_headers", "trusted_ips":
			return "write trusted_proxies: [10.0.0.0/8]"
		}
	case reflect.TypeFor[Credential]():
		switch key {
		case "api_token":
			return "write token_file (a file that holds the token) or token"
		case "dns_cloudflare_api_token":
			return "write token_file; it also understands certbot's cloudflare.ini"
		case "key", "api_key", "email", "api_email", "dns_cloudflare_api_key", "dns_cloudflare_email":
			return "Global API Keys are not used, because they open the whole account;\n" +
				"make an API token with Zone:Read and DNS:Edit on the zones, and write token_file"
		case "zone":
			return "write zones: [NAME]"
		}
	case reflect.TypeFor[Upstream]():
		switch key {
		case "server", "backends", "targets", "hosts":
			return "write servers: [http://HOST:PORT]"
		case "policy", "lb_policy", "strategy", "algorithm", "load_balancer":
			return "write balance"
		case "health_check", "healthcheck", "check":
			return "write health: {path: /healthz}"
		}
	case reflect.TypeFor[UpstreamTLS]():
		switch key {
		case "insecure", "insecure_skip_verify", "skip_verify", "tls_insecure_skip_verify", "verify", "proxy_ssl_verify":
			return "servers' certificates are always checked; name the authority that signed them,\n" +
				"or the certificate itself, in ca: FILE; if it is for another name, add server_name: NAME"
		case "root", "roots", "ca_root", "ca_file", "trusted_certificate":
			return "write ca: FILE"
		case "sni", "name", "host":
			return "write server_name: NAME"
		case "cert":
			return "write certificate: FILE"
		}
	case serverType:
		switch key {
		case "address", "host", "server":
			return "write url: http://HOST:PORT"
		case "max_conns", "maxconn":
			return "write max_connections"
		}
	case reflect.TypeFor[Route]():
		if hint := accessHabit(key); hint != "" {
			return hint
		}
		switch key {
		case "proxy_pass", "reverse_proxy", "upstream", "server", "backend":
			return "write proxy: http://HOST:PORT"
		case "location", "match", "uri", "url", "prefix", "paths":
			return "write path: /this for one path, path: /this/ for everything under it"
		case "method":
			return "write methods"
		case "remote_ip", "source", "ip":
			return "write client_ip"
		case "return":
			return "write respond: STATUS or redirect: ADDRESS"
		}
	case siteType:
		if hint := accessHabit(key); hint != "" {
			return hint
		}
		switch key {
		case "locations", "location", "handle", "route", "paths":
			return "write routes: [{path: /api/, proxy: http://HOST:PORT}]"
		}
		switch key {
		case "proxy_pass", "reverse_proxy", "upstream", "server", "backend":
			return "write proxy: http://HOST:PORT"
		case "server_name", "hosts", "names":
			return "the name is the site's key; more names go into aliases"
		case "ssl", "https":
			return "every site is served by HTTPS; tls says where its certificate comes from"
		}
	}
	return ""
}

// accessHabit is habit for who may come in, on a site or a route.
func accessHabit(key string) string {
	switch key {
	case "auth_basic", "basicauth", "auth_basic_user_file", "htpasswd":
		return "write basic_auth: {users_file: FILE}"
	case "auth_request", "forwardauth", "authelia", "authentik":
		return "write forward_auth: {url: http://HOST:PORT/PATH, copy_headers: [Remote-User]}"
	case "auth_jwt", "jwtauth":
		return "write jwt: {jwks_url: https://HOST/PATH, issuer: https://HOST, audience: NAME}"
	case "ssl_client_certificate", "ssl_verify_client", "client_auth", "mtls":
		return "write tls: {client_auth: {ca: FILE}}"
	case "ip_allow_list", "ip_whitelist", "whitelist", "ipallowlist":
		return "write allow: [10.0.0.0/8]"
	case "set_real_ip_from", "real_ip_header", "trusted_proxies":
		return "write trusted_proxies: [10.0.0.0/8] at the top of the file"
	}
	return ""
}

// explains reports whether a key on a line that may hold a secret can be
// printed: it is a plain word, and one that we have an idea of, so that it is
// no piece of the secret.
func explains(t reflect.Type, key string, known []string) bool {
	if len(key) > 32 || strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz_-") != "" {
		return false
	}
	_, isNear := nearest(strings.ToLower(key), known)
	return isNear || soundsSecret(key, true) || habit(t, key) != ""
}

// kindOf says what a struct type is, for a hint.
func kindOf(t reflect.Type) string {
	switch t {
	case siteType:
		return "a site"
	case reflect.TypeFor[Route]():
		return "a route"
	}
	return "this mapping"
}

// unknownKey reports a key that the type does not have.
func (d *decoder) unknownKey(key string, at span, t reflect.Type, s slot) {
	var known []string
	for _, f := range fieldsOf(t) {
		known = append(known, f.key)
	}
	shown := strconv.Quote(key)
	if !printable(key) || d.src.hides(at) && !explains(t, key, known) {
		shown = notShown
	}
	message := "unknown key " + shown
	if s.path != "" {
		message += " in " + s.path
	}

	hint := "the keys here are " + strings.Join(known, ", ")
	if len(known) > 16 {
		hint = "config/REFERENCE.md lists the keys of " + kindOf(t)
	}
	if instead := habit(t, key); instead != "" {
		hint = instead
	} else if near, ok := nearest(strings.ToLower(key), known); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if places := placesOf(key); len(places) > 0 {
		hint = fmt.Sprintf("%q belongs in %s", key, orList(places))
	}
	path := s.path
	if shown != notShown {
		path = join(path, key)
	}
	d.doubtful[s.path] = true // the key may be a misspelt one that is now missing
	d.fail(at, path, message, hint)
}

// placesOf returns the paths of the mappings that have a key.
func placesOf(key string) []string {
	var places []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == secretType {
			return
		}
		for _, f := range fieldsOf(t) {
			if f.key == key {
				places = append(places, cmp.Or(path, "the top of the file"))
			}
			next := join(path, f.key)
			switch t.FieldByIndex(f.index).Type {
			case sitesType:
				next = "sites[NAME]"
			case upstreamsType:
				next = "upstreams[NAME]"
			case reflect.TypeFor[[]Credential](), reflect.TypeFor[[]Server]():
				next += "[]"
			}
			walk(t.FieldByIndex(f.index).Type, next)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	slices.Sort(places)
	return slices.Compact(places)
}
