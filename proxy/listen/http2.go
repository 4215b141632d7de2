package listen

import (
	"net/http"
	_ "unsafe" // for go:linkname

	"golang.org/x/net/http2"
)

// WebSockets over HTTP/2 (RFC 8441) need the server to announce extended
// CONNECT. Both net/http's server and x/net's, which are one, do so only if the
// environment has GODEBUG=http2xconnect=1 before main: a sealed process has no
// environment, and neither //go:debug nor go.mod's godebug block knows the
// word. It is off there for the sake of programs whose WebSocket library does
// not know extended CONNECT; here the proxy translates (proxy/socket.go).
//
// So the HTTP/2 server is x/net's, as DESIGN.md has it, and the variable behind
// that word is named here, which the linker allows for anything but the standard
// library. Should a new version of x/net rename it, WebSockets over HTTP/2 are
// not announced any more, clients go on with HTTP/1.1 as ever, and
// TestHTTP2AnnouncesExtendedConnect fails.
//
//go:linkname disableExtendedConnect golang.org/x/net/http2.disableExtendedConnectProtocol
var disableExtendedConnect bool

// Before main, hence before any server could read it.
var _ = allowExtendedConnect()

func allowExtendedConnect() struct{} {
	disableExtendedConnect = false
	return struct{}{}
}

// configureHTTP2 makes x/net's the HTTP/2 server of an engine. Its settings are
// those of engine.HTTP2.
func configureHTTP2(engine *http.Server) error {
	//lint:ignore SA1019 the way to choose x/net's server, which net/http's settings are not
	return http2.ConfigureServer(engine, nil)
}
