// Package upstream carries requests to the servers behind the proxy. It is the
// only room that knows which engine speaks to them; above it everything is an
// [http.RoundTripper].
//
// HTTP/1.1, also to TLS servers that choose it, and all upgraded connections go
// through our own engine in the room h1. HTTP/2, with TLS or without, is
// net/http's Transport, called so that nothing about it depends on the
// environment: no proxy variables, no default roots, no compression of its own.
// Names are looked up, and connected to, by package resolve; the files that TLS
// goes by are read by package tlsfiles.
//
// A [Server] is the connections to one address as configured, wherever its name
// leads by now. A [Member] is a server within an upstream, with its queue and
// its health. A [Pool] is the upstream: it chooses a member for each request
// (package balance), tries again elsewhere what may be tried again, holds
// requests while no server is there, and asks members for their health (package
// probe).
//
// Who owns what: a Member owns its Server, whoever made the Member closes it, a
// Server owns the name that it looks up (Close ends a lookup under way and waits),
// and a Pool owns nothing but the goroutine that Start begins and Stop ends.
// Members outlive pools, so that a reload which adds a server keeps what is
// known of the others. Requests that wait are their own goroutines: one of them
// looks for a server on behalf of all.
//
// A Pool depends on no engine: whether a request may be sent again is known
// from the stage of an [Error] and from a fence around the body that remembers
// whether anything was read. The package imports neither config nor any room
// but those below it.
//
//	api, err := upstream.New(upstream.Options{
//		Address:        "http://api:8080",
//		ConnectTimeout: 5 * time.Second,
//	})
//	if err != nil {
//		return err
//	}
//	defer api.Close()
//	res, err := api.RoundTrip(req) // to api:8080, whatever the request's URL says
package upstream
