package listen

import (
	"context"
	"crypto/tls"
	"net/http"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// newHTTP2 makes the server for the connections that chose "h2".
func (s *Server) newHTTP2(ctx context.Context, quiet *zap.Logger, handler http.Handler) *h2.Server {
	o := s.options
	return h2.New(h2.Options{
		Handler:       handler,
		HeaderBytes:   o.RequestHeaderBytes,
		HeaderTimeout: o.RequestHeaderTimeout,
		IdleTimeout:   o.IdleTimeout,
		Streams:       o.HTTP2Streams,
		State:         s.conns.observe,
		Context:       ctx,
		Logger:        quiet,
	})
}

// configureHTTP2 makes an engine hand its HTTP/2 connections over.
func configureHTTP2(engine *http.Server, server *h2.Server) {
	engine.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) { server.Serve(c) },
	}
}
