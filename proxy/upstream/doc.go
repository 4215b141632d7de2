// Package upstream carries requests to the servers behind the proxy. It is the
// only room that knows which engine speaks to them; above it everything is an
// [http.RoundTripper].
//
// HTTP/1.1 to plain servers and unix sockets, and all upgraded connections, go
// through our own engine in the room h1. HTTP/2, with TLS or without, is
// net/http's Transport, called so that nothing about it depends on the
// environment: no proxy variables, no default roots, no compression of its own.
//
// A [Server] owns its connections. Whoever made it calls Close when nothing
// needs it any more. The package imports neither config nor any other room.
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
