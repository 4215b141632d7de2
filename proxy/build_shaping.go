package proxy

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/middleware/buffer"
	"github.com/sallyport/sallyport/proxy/middleware/compress"
	"github.com/sallyport/sallyport/proxy/middleware/limit"
	"github.com/sallyport/sallyport/proxy/middleware/mirror"
)

// rateLimit is the limits that need not know who the client is.
func (b *routeBuilder) rateLimit() func(http.Handler) http.Handler { return b.rates(false) }

// userRateLimit is those that count by the user, who is known only then.
func (b *routeBuilder) userRateLimit() func(http.Handler) http.Handler { return b.rates(true) }

func (b *routeBuilder) rates(afterAuth bool) func(http.Handler) http.Handler {
	var wraps []func(http.Handler) http.Handler
	for _, from := range b.place.RateLimit {
		from, place := b.limitOf(from)
		if limit.Key(from.Key).AfterAuth() != afterAuth {
			continue
		}
		if wrap := b.rate(from, place); wrap != nil {
			wraps = append(wraps, wrap)
		}
	}
	if len(wraps) == 0 {
		return nil
	}
	return func(next http.Handler) http.Handler {
		for _, wrap := range slices.Backward(wraps) {
			next = wrap(next)
		}
		return next
	}
}

// limitOf returns the limit that a route means, and what shares its count: all
// who use its name or, without one, the routes that have it from one place.
func (b *routeBuilder) limitOf(l config.RateLimit) (config.RateLimit, string) {
	if l.Use == "" {
		return l, b.owner("rate_limit")
	}
	for _, named := range b.cfg.RateLimits {
		if named.Name == l.Use {
			return named, ""
		}
	}
	return l, ""
}

// owner returns where a key of the handling stands: at the route or its site.
func (b *routeBuilder) owner(key string) string {
	if len(b.site.Routes) > 0 && !b.cfg.Has(b.place.Path+"."+key) {
		return b.site.Path()
	}
	return b.place.Path
}

// rateKey is what a kept rate limit belongs to.
type rateKey struct {
	limit.RateOptions
	place string
}

func (b *routeBuilder) rate(from config.RateLimit, place string) func(http.Handler) http.Handler {
	requests, per := from.Limit()
	o := limit.RateOptions{
		Name: from.Name, Key: limit.Key(from.Key), Requests: requests, Per: per,
		Burst: from.Burst, Keys: from.Keys, Announce: from.Announce, DryRun: from.DryRun,
	}
	if o.Name == "" {
		o.Name = "default"
	}
	made, err := keep(b.proxy, b.next, rateKey{o, place}, func() (*limit.Rate, error) { return limit.NewRate(o) })
	if err != nil {
		b.fail("rate_limit", err)
		return nil
	}
	p, at := b.proxy, failure.Origin{Site: b.site.Name}
	exceeded := func(r *http.Request) {
		if suppressed, ok := p.failures.Admit(at, "rate_limit_dry_run "+o.Name); ok {
			p.logger.Info("rate limit would refuse", zap.String("limit", o.Name), zap.String("site", at.Site),
				zap.Stringer("client", exchange.Of(r).Client), suppressed)
		}
	}
	return func(next http.Handler) http.Handler { return made.Wrap(next, exceeded) }
}

// maxConnections bounds the requests under way.
func (b *routeBuilder) maxConnections() func(http.Handler) http.Handler {
	c := b.place.MaxConnections
	if c == nil || c.Limit == 0 {
		return nil
	}
	o := limit.ConnectionsOptions{Name: b.owner("max_connections"), Key: limit.Key(c.Key), Limit: c.Limit}
	made, err := keep(b.proxy, b.next, o, func() (*limit.Connections, error) { return limit.NewConnections(o) })
	if err != nil {
		b.fail("max_connections", err)
		return nil
	}
	return made.Wrap
}

// maxBody bounds the size of a request's body. 0 is no limit, as everywhere in
// the configuration.
func (b *routeBuilder) maxBody() func(http.Handler) http.Handler {
	if m := b.place.MaxBody; m != nil && *m > 0 {
		return limit.Body(int64(*m))
	}
	return nil
}

// requestTimeout bounds the time in which the body has to arrive. (The other
// one of the two, response_timeout, is the forward's.)
func (b *routeBuilder) requestTimeout() func(http.Handler) http.Handler {
	if t := b.place.RequestTimeout; t != nil && *t > 0 {
		return limit.Arrival(*t)
	}
	return nil
}

// compress compresses responses.
func (b *routeBuilder) compress() func(http.Handler) http.Handler {
	c := b.place.Compress
	if c == nil || !c.Enabled {
		return nil
	}
	o := compress.Options{
		Encodings: strings.Join(c.Encodings, " "), Types: strings.Join(c.Types, " "),
		MinSize: int64(c.MinSize), Level: compress.Level(c.Level), Encoders: c.Encoders,
	}
	if o.MinSize == 0 {
		o.MinSize = -1
	}
	made, err := keep(b.proxy, b.next, o, func() (*compress.Compressor, error) { return compress.New(o) })
	if err != nil {
		b.fail("compress", err)
		return nil
	}
	return made.Wrap
}

// bufferRequest takes in whole bodies.
func (b *routeBuilder) bufferRequest() func(http.Handler) http.Handler {
	from := b.place.BufferRequest
	if from == nil || !from.Enabled {
		return nil
	}
	o := buffer.Options{
		Dir:    filepath.Join(b.cfg.Storage, "buffer"),
		Memory: int64(from.Memory), Max: int64(from.Max), TotalMemory: int64(from.TotalMemory), TotalDisk: int64(from.TotalDisk),
	}
	made, err := keep(b.proxy, b.next, o, func() (*buffer.Buffer, error) { return buffer.New(o) })
	if err != nil {
		b.fail("buffer_request", err)
		return nil
	}
	return made.Wrap
}

// mirror sends copies of requests to a second upstream.
func (b *routeBuilder) mirror() func(http.Handler) http.Handler {
	from := b.place.Mirror
	if from == nil || from.Percent == 0 {
		return nil
	}
	to, err := b.proxy.pool(b.next, b.cfg, from.To)
	if err != nil {
		b.problems = append(b.problems, poolProblem(b.cfg, b.place.Path, from.To, err))
		return nil
	}
	o := mirror.Options{To: to, Percent: from.Percent, MaxBody: int64(from.MaxBody), Concurrent: from.Concurrent, Timeout: from.Timeout}
	p, at := b.proxy, failure.Origin{Upstream: from.To}
	report := func(err error) {
		if suppressed, ok := p.failures.Admit(at, "mirror"); ok {
			p.logger.Warn("copy of a request failed", zap.String("upstream", at.Upstream), zap.Error(err), suppressed)
		}
	}
	made, err := keep(b.proxy, b.next, o, func() (*mirror.Mirror, error) { return mirror.New(o, report) })
	if err != nil {
		b.fail("mirror", err)
		return nil
	}
	return func(next http.Handler) http.Handler { return made.Wrap(next, shadow) }
}

// shadow makes the copy of a request, as a server behind the proxy sees it but
// for the body.
func shadow(r *http.Request) *http.Request {
	x := exchange.Of(r)
	trip := &passage{Context: context.Background(), r: r} // the mirror's own replaces it
	trip.setURL()
	trip.out.Header = make(http.Header, len(r.Header)+6)
	trip.setHeader(x)
	for _, name := range []string{"Expect", "Content-Length", "Te"} {
		delete(trip.out.Header, name)
	}
	return &http.Request{
		Method: r.Method, URL: &trip.url, Host: r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: trip.out.Header, RemoteAddr: balancingAddress(x, r),
	}
}
