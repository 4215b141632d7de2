// Package h1 is an HTTP/1.1 server engine (RFC 9110, RFC 9112) made for the
// public side of a proxy: strict where net/http's server is lenient, one
// goroutine for a connection, and few allocations.
//
// [Server.Serve] reads a request, calls the [http.Handler], and sends what that
// wrote, head and first bytes of the body in one write. Between two requests a
// connection has no buffer, and after a second of that only a goroutine with a
// small stack. A client that leaves while its request is being answered is
// noticed by a second goroutine, which only requests get that take their time
// (watch.go). A small GET costs five allocations, the handler's own not counted
// (BenchmarkRequest): most are the text of its head, one object that holds
// request, context, body and response, and the two maps of fields.
//
// # What it refuses
//
// A request that could be read in two ways is answered 400 and ends its
// connection; nothing that follows is read as a request. request.go, target.go and body.go
// have the rule, and its source, at each place. What net/http's server would let
// through, and this one does not, is listed in disagreements_test.go.
//
// # What handlers can rely on
//
// All that net/http promises: values of their own for each request, pipelined
// requests one after the other, [http.ResponseController] with all it can do,
// Hijack, trailers both ways, 1xx, 100-continue when the body is first read, a
// context that is done when the client goes or the handler returns, and
// [http.ErrAbortHandler]. Reading and writing at the same time always works. A
// Content-Type is never guessed, and a 304 keeps its Content-Length.
//
// # Who owns what
//
// Serve owns the connection until it returns, or until a handler has hijacked
// it. A handler owns its request, which it may keep, and its response until it
// returns: used later, both give errors. Writes have no deadline but what
// handlers set: whoever owns the socket watches over clients that do not read.
//
// The package knows nothing of TLS but its state, imports of the other rooms
// only proxy/internal/wire, and reads no environment.
//
//	server := h1.New(h1.Options{
//		Handler:       handler,
//		HeaderTimeout: 10 * time.Second,
//		IdleTimeout:   75 * time.Second,
//		Logger:        logger,
//	})
//	for {
//		c, err := listener.Accept()
//		if err != nil {
//			return server.Shutdown(ctx)
//		}
//		go server.Serve(c)
//	}
package h1
