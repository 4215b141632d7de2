package config

import "time"

// Tracing sends a span of each request that is traced to a collector, by OTLP
// over HTTP in protobuf. A request whose `traceparent` says that it is sampled
// is traced, one whose says that it is not is not; `sample` is for those that
// come without. No request ever waits for the collector. Variables named OTEL_…
// are not looked at.
type Tracing struct {
	// Where spans go: `http://127.0.0.1:4318/v1/traces`. Without a path it is
	// /v1/traces. Plain http:// shows the spans, and the key, to the network in
	// between.
	Endpoint string `yaml:"endpoint"`

	// Share of requests that are traced, of those without a `traceparent`: from
	// 0 to 1. 0: only those that others trace.
	Sample float64 `yaml:"sample" default:"1"`

	// File with fields for the collector, such as a key: one `Name: value` on
	// each line. Read again each time, so a new key takes effect without a
	// reload. A file that every user can read or write is refused.
	HeadersFile string `yaml:"headers_file" kind:"path"`

	// PEM file with certificates that are trusted, besides the built-in public
	// roots, when talking to the collector: for a private CA.
	CA string `yaml:"ca" kind:"path"`

	// The `service.name` of the spans.
	ServiceName string `yaml:"service_name" default:"sallyport"`

	// How many spans may wait for the collector. What does not fit is dropped
	// and counted.
	Queue int `yaml:"queue" default:"2048" min:"1"`

	// How long the collector has for one request.
	Timeout time.Duration `yaml:"timeout" default:"10s" min:"1ms"`
}
