package config

import (
	"fmt"
	"net/url"
	"strings"
)

// mostQueue bounds tracing.queue: a span takes up to some 5 KiB of memory.
const mostQueue = 1 << 16

// tracing checks where spans go, and completes the path.
func (v *validator) tracing() {
	t := v.cfg.Tracing
	if t == nil {
		return
	}
	switch {
	case t.Endpoint == "":
		v.missing("tracing", "endpoint", "tracing has no endpoint", "write endpoint: http://HOST:4318/v1/traces")
	case !v.bad("tracing.endpoint", t.Endpoint, collectorFault(t.Endpoint)):
		if u, err := url.Parse(t.Endpoint); err == nil && (u.Path == "" || u.Path == "/") {
			u.Path = "/v1/traces"
			t.Endpoint = u.String()
		}
	}
	if (t.Sample < 0 || t.Sample > 1 || t.Sample != t.Sample) && !v.doubts("tracing.sample") {
		v.fail("tracing.sample", fmt.Sprintf("tracing.sample %v is not from 0 to 1", t.Sample), "0.1 traces one request of ten, 0 only those that others trace")
	}
	if t.Queue > mostQueue {
		v.fail("tracing.queue", fmt.Sprintf("tracing.queue is more than %d, which would take too much memory", mostQueue), "2048 is the default")
	}
	if t.ServiceName == "" && !v.doubts("tracing.service_name") {
		v.fail("tracing.service_name", "tracing.service_name is empty", "leave it out for sallyport")
	}
	if t.CA != "" && strings.HasPrefix(t.Endpoint, "http://") {
		v.warn("tracing.ca", "tracing.ca has no effect: tracing.endpoint is not https://", "write https:// if the collector speaks TLS")
	}
}

// collectorFault checks the address of a collector.
func collectorFault(text string) *fault {
	if rest, ok := strings.CutPrefix(text, "http://"); ok {
		return httpsFault("https://" + rest)
	}
	if !strings.Contains(text, "://") {
		return &fault{"has no scheme", "write http://HOST:4318/v1/traces, or https://"}
	}
	return httpsFault(text)
}
