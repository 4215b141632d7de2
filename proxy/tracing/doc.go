// Package tracing makes a span of each request that is traced, and sends spans
// to a collector by OTLP over HTTP, in protobuf. No request ever waits for the
// collector: spans wait in a bounded queue, and what does not fit is dropped and
// counted.
//
// The messages are OpenTelemetry's own; its SDK is not used, since it is
// configured by environment variables.
//
// The package is a leaf: besides the exchange and the grammar of traceparent it
// imports no room. An [Exporter] belongs to who calls [Exporter.Run], which
// returns at most two seconds after its context has ended. A [Tracer] starts
// nothing, and belongs to one configuration.
//
//	e, err := tracing.New(tracing.Options{Endpoint: "http://127.0.0.1:4318/v1/traces"}, tracing.Links{Counts: counts})
//	if err != nil {
//		return err
//	}
//	group.Go(func() { e.Run(ctx) })
//	t := tracing.Tracer{Exporter: e, Sample: 1}
//	span := t.Begin(r)
//	defer func() { t.Done(span, r, x, took) }()
package tracing
