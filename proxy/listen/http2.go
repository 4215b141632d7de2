package listen

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// http2Engine makes the server for the connections that chose "h2".
func (s *Server) http2Engine(ctx context.Context, quiet *zap.Logger) *h2.Server {
	o := s.options
	return h2.New(h2.Options{
		Handler:          s.handler(),
		HeaderBytes:      o.RequestHeaderBytes,
		HeaderCount:      o.RequestHeaderCount,
		URILength:        o.URILength,
		HeaderTimeout:    o.RequestHeaderTimeout,
		IdleTimeout:      o.IdleTimeout,
		LastWriteTimeout: lastWrite(o),
		Streams:          o.HTTP2Streams,
		State:            s.conns.observe,
		Context:          ctx,
		Logger:           quiet,
	})
}

// lastWrite is the time for what is left of an answer when its handler has
// returned. It is little, so the grace does.
func lastWrite(o Options) time.Duration {
	if o.MinRate <= 0 {
		return 0
	}
	return o.MinRateGrace
}
