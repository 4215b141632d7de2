// Package proxy is the data plane: it turns a configuration into one immutable
// [Generation] of handlers and serves requests with the current one.
//
// A request's way: [Proxy.ServeHTTP] makes its record (recorder.go), gives it an
// id, takes away what a client must not say (edge.go), finds the site by host
// (package routing), brings its target into the one form in which it is matched
// and forwarded (package target), finds the route (package routing again), and
// the route's action answers behind the route's middleware: forward.go sends it to an upstream,
// which chooses the server, and copies the response back. Every failure,
// wherever it happens, is classified by the package failure, and logged and
// answered in report.go.
//
// The package imports no TLS manager and no engine: those stand behind
// [net/http.Handler] and [net/http.RoundTripper]. Of its files only build.go
// and build_*.go import config: build_route.go has the order of a route's
// middleware, and one file for each concern turns its keys into options. What
// lives longer than a generation (a limiter, a cache) goes through keep (keep.go)
// under a key made of its options. Generations own nothing that lives longer than they; pools
// are owned by the Proxy, which carries them and their members over from one
// generation to the next, starts their health checks at Commit and ends them
// when no generation needs them.
//
//	p := proxy.New(proxy.Options{Logger: logger, Roots: roots, HTTPSPort: 443})
//	defer p.Close()
//	generation, err := p.Prepare(cfg) // nothing that runs is touched
//	if err != nil {
//		return err
//	}
//	p.Commit(generation)
//	http.Serve(listener, p)
//
// # What a server behind the proxy receives
//
// The request as the client sent it, method, target and Host included, byte
// for byte, except for what its route says, and:
//
//   - Dot segments of the path are resolved, and a target in absolute form
//     becomes one in origin form; see the package target.
//   - X-Real-IP is the client's address, X-Forwarded-For that and after it the
//     trusted proxies by which the request came, the peer last;
//     X-Forwarded-Proto is the client's scheme, X-Forwarded-Host the Host,
//     X-Request-Id a new random id. Nothing of the kind is passed on as it came:
//     Forwarded, X-Forwarded-*, CF-Connecting-IP, True-Client-IP, X-Client-IP
//     and X-Cluster-Client-IP are removed first (X-Forwarded-Port is not set:
//     X-Forwarded-Host has the port if there is one). CF-Connecting-IP is set
//     again for requests that Cloudflare passed on, if it is trusted.
//   - Fields that tell who a client is on some site (copy_headers of
//     forward_auth, headers of jwt and client_auth) are removed on all sites.
//   - Fields whose name contains "_" are dropped, as nginx does: many
//     applications cannot tell X_Own from X-Own. One that would so be taken for
//     a field that frames messages or says who the client is, X_Forwarded_For,
//     is an attack: 400.
//   - Connection and the fields that it names, Keep-Alive, Proxy-Connection,
//     Proxy-Authenticate, Proxy-Authorization, TE other than "trailers",
//     Transfer-Encoding and Upgrade end here (RFC 9110 section 7.6.1). A
//     Connection field that names an end-to-end field such as Authorization
//     or X-Forwarded-For is an attack on the application: 400.
//   - No Via is added: RFC 9110 section 7.6.3 asks for one, but servers (nginx
//     among them) stop compressing when they see it. Via from outside passes.
//   - User-Agent and Accept-Encoding are never invented.
package proxy
