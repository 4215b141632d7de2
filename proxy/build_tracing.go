package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/tracing"
)

// trace makes what traces requests, if they are to be.
func (p *Proxy) trace(next *Generation, cfg *config.Config) config.Problems {
	from := cfg.Tracing
	if from == nil {
		return nil
	}
	options := tracing.Options{
		Endpoint: from.Endpoint, HeadersFile: from.HeadersFile, CA: from.CA, Service: from.ServiceName, Queue: from.Queue, Timeout: from.Timeout,
	}
	to, err := keep(p, next, options, func() (*heldExporter, error) {
		exporter, err := tracing.New(options, tracing.Links{Roots: p.options.Roots, Counts: &p.spans, Trouble: p.spanTrouble(options.Endpoint)})
		return &heldExporter{proxy: p, exporter: exporter}, err
	})
	if err != nil {
		return config.Problems{cfg.Problem("tracing", "tracing: "+err.Error(), hintOf(err))}
	}
	next.tracer = &tracing.Tracer{Exporter: to.exporter, Sample: from.Sample}
	return nil
}

// spanTrouble logs that a collector fails, and that it works again.
func (p *Proxy) spanTrouble(endpoint string) func(error, int) {
	return func(err error, suppressed int) {
		if err == nil {
			p.logger.Info("spans are sent again", zap.String("endpoint", endpoint))
			return
		}
		message := "spans cannot be sent"
		if _, ok := errors.AsType[*tracing.Partial](err); ok {
			message = "the collector does not like some spans"
		}
		fields := []zap.Field{zap.String("endpoint", endpoint), zap.Error(err), zap.String("hint", hintOf(err))}
		if suppressed > 0 {
			fields = append(fields, zap.Int("suppressed", suppressed))
		}
		p.logger.Warn(message, fields...)
	}
}

// spanDone hands over the span of a request that is over, to where spans go now:
// that may have changed since the request began.
func (p *Proxy) spanDone(w *recorder, r *http.Request, took time.Duration) {
	if g := p.current.Load(); g.tracer != nil {
		g.tracer.Done(w.span, r, &w.Exchange, took)
		return
	}
	p.spans.Dropped.Add(1)
}

// Spans returns how many spans a collector took, and how many were lost, since
// the beginning.
func (p *Proxy) Spans() (sent, dropped uint64) { return p.spans.Sent.Load(), p.spans.Dropped.Load() }

// heldExporter sends spans while some generation has use for it.
type heldExporter struct {
	proxy    *Proxy
	exporter *tracing.Exporter
	stop     context.CancelFunc // nil while it does not; guarded by Proxy.commits
}

// Start is called when a generation with it is committed.
func (h *heldExporter) Start() {
	if h.stop == nil {
		var ctx context.Context
		ctx, h.stop = context.WithCancel(context.Background())
		h.proxy.exports.Go(func() { h.exporter.Run(ctx) })
	}
}

// Close is called when no generation has it any more. It does not wait:
// [Proxy.Close] does.
func (h *heldExporter) Close() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// hintOf returns what an error knows of its cure, or "".
func hintOf(err error) string {
	if knows, ok := causeOf(err).(interface{ Hint() string }); ok {
		return knows.Hint()
	}
	return ""
}
