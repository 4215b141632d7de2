package proxy

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// scriptSaid logs what a script wrote to standard error, at most one in a
// second for each server: what a script says may be a client's doing.
func (p *Proxy) scriptSaid(r *http.Request, at origin, script, text string) {
	held, ok := p.failures.admit(failureKey{at, "script_complained"}, time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("site", at.site), zap.String("server", at.server), zap.String("script", script),
		zap.String("request_id", exchange.Of(r).ID), zap.String("text", text),
	}
	if held > 0 {
		fields = append(fields, zap.Int("suppressed", held))
	}
	p.logger.Warn("a script complained", fields...)
}
