// Package h1 is an HTTP/1.1 client engine (RFC 9112) made for a proxy: a
// strict parser, few allocations, and no goroutine for a connection or for a
// request that has no body or one that is small and at hand. A [Transport] speaks to one server
// over connections that its owner dials, so plain TCP, TLS and unix sockets
// are the same to it.
//
// The caller's goroutine writes the request and reads the response. A body that
// is large, or that may have to be waited for, is written by one goroutine that ends with the exchange, so that an
// early response is seen. The end of a request's context interrupts its
// connection by way of [context.AfterFunc].
//
// An answer that breaks a rule of the protocol is never guessed at: it is a
// [*ProtocolError], and its connection is closed. What net/http's Transport
// would forgive and this engine does not is listed, with reasons, in
// disagreements_test.go.
//
// A Transport owns its connections; a response's Body owns one until it is
// read to its end or closed. The package knows nothing of configuration,
// balancing or retries against another server, and imports no other room. It
// reads no environment.
//
//	engine := h1.New(h1.Options{
//		Dial: func(ctx context.Context) (net.Conn, error) {
//			var d net.Dialer
//			return d.DialContext(ctx, "tcp", "app:8080")
//		},
//		IdleTimeout: time.Minute,
//	})
//	defer engine.Close()
//	res, err := engine.RoundTrip(req)
//	if err != nil {
//		return err
//	}
//	defer res.Body.Close()
//	_, err = io.Copy(w, res.Body) // by way of WriteTo, with a pooled buffer
package h1
