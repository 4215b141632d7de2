package config

import (
	"reflect"
	"slices"
	"strings"
)

// habits is what to write for the keys that people bring along from other
// programs. Keys have a space between, are in lower case, and have _ for -.
var habits = []struct {
	where reflect.Type // the mapping that the key stands in
	keys  string
	hint  string
}{
	{reflect.TypeFor[Config](), "email", "write acme: {email: ADDRESS}"},
	{reflect.TypeFor[Config](), "site server servers hosts", "write sites"},
	{reflect.TypeFor[Config](), "set_real_ip_from real_ip_header forwarded_headers trusted_ips", "write trusted_proxies: [10.0.0.0/8]"},
	{reflect.TypeFor[Credential](), "api_token", "write token_file (a file that holds the token) or token"},
	{reflect.TypeFor[Credential](), "dns_cloudflare_api_token", "write token_file; it also understands certbot's cloudflare.ini"},
	{reflect.TypeFor[Credential](), "key api_key email api_email dns_cloudflare_api_key dns_cloudflare_email",
		"Global API Keys are not used, because they open the whole account;\n" +
			"make an API token with Zone:Read and DNS:Edit on the zones, and write token_file"},
	{reflect.TypeFor[Credential](), "zone", "write zones: [NAME]"},
	{reflect.TypeFor[Upstream](), "server backends targets hosts", "write servers: [http://HOST:PORT]"},
	{reflect.TypeFor[Upstream](), "policy lb_policy strategy algorithm load_balancer", "write balance"},
	{reflect.TypeFor[Upstream](), "health_check healthcheck check", "write health: {path: /healthz}"},
	{reflect.TypeFor[UpstreamTLS](), "insecure insecure_skip_verify skip_verify tls_insecure_skip_verify verify proxy_ssl_verify",
		"servers' certificates are always checked; name the authority that signed them,\n" +
			"or the certificate itself, in ca: FILE; if it is for another name, add server_name: NAME"},
	{reflect.TypeFor[UpstreamTLS](), "root roots ca_root ca_file trusted_certificate", "write ca: FILE"},
	{reflect.TypeFor[UpstreamTLS](), "sni name host", "write server_name: NAME"},
	{reflect.TypeFor[UpstreamTLS](), "cert", "write certificate: FILE"},
	{serverType, "address host server", "write url: http://HOST:PORT"},
	{serverType, "max_conns maxconn", "write max_connections"},
	{reflect.TypeFor[Route](), "proxy_pass reverse_proxy upstream server backend", "write proxy: http://HOST:PORT"},
	{reflect.TypeFor[Route](), "location match uri url prefix paths", "write path: /this for one path, path: /this/ for everything under it"},
	{reflect.TypeFor[Route](), "method", "write methods"},
	{reflect.TypeFor[Route](), "remote_ip source ip", "write client_ip"},
	{reflect.TypeFor[Route](), "return", "write respond: STATUS or redirect: ADDRESS"},
	{siteType, "locations location handle route paths", "write routes: [{path: /api/, proxy: http://HOST:PORT}]"},
	{siteType, "proxy_pass reverse_proxy upstream server backend", "write proxy: http://HOST:PORT"},
	{siteType, "server_name hosts names", "the name is the site's key; more names go into aliases"},
	{siteType, "ssl https", "every site is served by HTTPS; tls says where its certificate comes from"},
}

// accessHabits is the same for who may come in, on a site or a route.
var accessHabits = []struct{ keys, hint string }{
	{"auth_basic basicauth auth_basic_user_file htpasswd", "write basic_auth: {users_file: FILE}"},
	{"auth_request forwardauth authelia authentik", "write forward_auth: {url: http://HOST:PORT/PATH, copy_headers: [Remote-User]}"},
	{"auth_jwt jwtauth", "write jwt: {jwks_url: https://HOST/PATH, issuer: https://HOST, audience: NAME}"},
	{"ssl_client_certificate ssl_verify_client client_auth mtls", "write tls: {client_auth: {ca: FILE}}"},
	{"ip_allow_list ip_whitelist whitelist ipallowlist", "write allow: [10.0.0.0/8]"},
	{"set_real_ip_from real_ip_header trusted_proxies", "write trusted_proxies: [10.0.0.0/8] at the top of the file"},
}

// habit returns what to write for a key that people bring along from other
// programs, "" where there is no such habit.
func habit(t reflect.Type, key string) string {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	isOne := func(keys string) bool { return slices.Contains(strings.Fields(keys), key) }
	for _, h := range habits {
		if h.where == t && isOne(h.keys) {
			return h.hint
		}
	}
	if t != siteType && t != reflect.TypeFor[Route]() {
		return ""
	}
	for _, h := range accessHabits {
		if isOne(h.keys) {
			return h.hint
		}
	}
	return ""
}
