// Package listen owns the public side: sockets, TLS handshakes, the HTTP
// server engines and the graceful stop. It is one of two rooms that know an
// engine (our own for HTTP/1.1, in h1, and for HTTP/2, in h2, and
// quic-go for HTTP/3); what it is given is an [http.Handler], and handlers reach the connection only through
// [http.ResponseController]. An extended CONNECT (RFC 8441, RFC 9220) has its
// :protocol among the request's fields.
//
// Open takes the sockets, Run serves on them and owns every goroutine, each
// connection is owned by the engine that serves it, and a table of open
// connections, upgraded ones included, lets a stop wait for them or cut them.
// Slow and greedy clients are kept in bounds here, for all engines: caps count
// connections and shed those without a request (caps.go), paced keeps an account
// of each body (progress.go), and the guard, one goroutine, looks after the
// accounts and after sockets that nobody reads (guard.go). A small GET pays two
// atomic stores for it over HTTP/1.1, and one allocation over HTTP/2 and HTTP/3.
//
// Two processes may serve one UDP socket while one takes over from the other; see
// package relay.
//
// The package imports neither config nor any other room; certificates come
// from a function.
//
//	server, err := listen.Open(ctx, listen.Options{
//		HTTPS:          []string{":443"},
//		Handler:        handler,
//		GetCertificate: certificates.GetCertificate,
//		Logger:         logger,
//	})
//	if err != nil {
//		return err
//	}
//	return server.Run(ctx) // until ctx ends and what was in flight is done
package listen
