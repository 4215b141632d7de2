// Package origin is the server behind the proxies of proxy/bench: HTTP/1.1 by
// hand, so that on a small machine the proxies and not it are the limit. It
// serves bodies of fixed sizes, swallows uploads, tells what header fields it
// saw, and echoes WebSocket messages. It is not a server for anything else: it
// trusts its clients. It imports no room.
//
//	listener, err := net.Listen("tcp", "127.0.0.1:0")
//	err = origin.Serve(ctx, listener) // until ctx ends
//
// Serve owns the listener and one goroutine per connection, and returns when
// all have ended.
package origin
