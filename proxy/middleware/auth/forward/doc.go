// Package forward asks a server of authentication (Authelia, authentik,
// oauth2-proxy and their like) about each request before it is served.
//
// What the server is told: method, scheme, host and target of the request, the
// client's address, in the fields that Traefik, Caddy and nginx users know
// (X-Forwarded-Method, -Proto, -Host, -Uri, -For; X-Original-Method, -URL), and
// the few fields of the client's that identify it. Never the body. What it
// answers: 2xx lets the request pass, with fields of the answer copied to it;
// anything below 500 is passed to the client as it is, a redirect to a login
// page for example; 5xx, silence and nonsense are failures, and the request is
// not served.
//
// It is a leaf: it imports exchange of the house and speaks to the server
// through a [http.RoundTripper], which the proxy makes (a pool with kept
// connections). It holds no state.
//
//	gate := forward.New(forward.Options{To: pool, Target: "/api/authz/forward-auth", Host: "authelia:9091", Copy: []string{"Remote-User"}})
//	handler = gate(handler)
package forward
