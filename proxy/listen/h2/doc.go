// Package h2 serves HTTP/2 (RFC 9113, with HPACK of RFC 7541 and extended
// CONNECT of RFC 8441) on connections that its caller accepted, with an
// [http.Handler].
//
// # Why not x/net's
//
// Of 58 microseconds that a small request took with it, 20 were ours (handler and
// upstream); the rest were one write system call for each response, and the
// hand-overs between its goroutines: reader, loop, writer and handler. Writing
// responses together mends the first, and came to 1.85 times nginx; the second
// is its design. It also forgives connection-specific fields, lets hundreds of
// requests of a rapid reset through, and announces extended CONNECT only with a
// variable of the environment.
//
// # How it works
//
// One goroutine a connection reads. Each request's handler has one, out of those
// that the connection keeps while it is in use (worker.go), and puts its frames,
// compressed, into the connection's one buffer under the connection's lock. Who
// finds that nobody is about to write does so itself, after it has let every
// goroutine that is ready run first: so the responses of requests that were
// answered together leave in one record and one system call, and one that comes
// alone leaves at once. See write.go.
//
// A connection without a request comes to rest a little later (rest.go): it
// holds no buffer, not even that of the TLS connection below it, no encoder, and
// one goroutine, on a new and small stack, which waits for the socket. Its one
// timer looks now and then after idleness, peers that vanished and those that do
// not read.
//
// # What is bounded
//
// Requests under way, those included that the client has reset and whose
// handlers still run (Options.Streams); field sections, compressed and not;
// bodies that nobody reads yet (1 MiB a connection); what waits to be written
// (64 KiB and one head, and answers to control frames as much again); frames that
// bring nobody forward, and requests that are taken back (guard.go). Who exceeds the last two
// gets GOAWAY with ENHANCE_YOUR_CALM.
//
// # What is refused
//
// A malformed request (RFC 9113 section 8.1.1: pseudo-header fields twice, late
// or unknown, fields of connections of HTTP/1.1, TE other than trailers, names
// that are not tokens in lower case, control characters in values, Host and
// :authority that disagree, content that is not as long as Content-Length says)
// is reset with PROTOCOL_ERROR and no handler sees it, or, where it only shows
// in the body, reading that fails.
//
// Priorities (RFC 9218) are ignored: responses leave as they come. Server push
// does not exist.
//
// The package imports no other room but those of proxy/internal. A [Server] owns its connections' goroutines;
// handlers own theirs.
//
//	server := h2.New(h2.Options{Handler: handler, Logger: logger})
//	server.Serve(tlsConn) // whose handshake chose "h2"; until it ends
package h2
