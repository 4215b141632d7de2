package tracing

import (
	"net/http"
	"strconv"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Flags of a span (trace.proto, SpanFlags): sampled, and that it is known
// whether the parent is another program's.
const (
	flagSampled  = 0x001
	flagKnown    = 0x100
	flagIsRemote = 0x200
)

// message makes the body of a request of OTLP. An ExportTraceServiceRequest is
// the same on the wire as TracesData, whose package needs no gRPC.
func message(service string, batch []*finished) *trace.TracesData {
	spans := make([]*trace.Span, len(batch))
	for i, f := range batch {
		spans[i] = f.span()
	}
	return &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{text("service.name", service)}},
		ScopeSpans: []*trace.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "sallyport"}, Spans: spans}},
	}}}
}

// span makes the message of one request, after the semantic conventions for
// HTTP server spans (1.23 and later).
func (f *finished) span() *trace.Span {
	s := &trace.Span{
		TraceId: f.trace[:], SpanId: f.id[:], TraceState: f.state, Kind: trace.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: uint64(f.begun.UnixNano()), EndTimeUnixNano: uint64(f.begun.Add(f.took).UnixNano()),
		Flags: flagSampled | flagKnown, Attributes: f.attributes(), Status: &trace.Status{},
	}
	if f.parent != [8]byte{} {
		s.ParentSpanId = f.parent[:]
		s.Flags |= flagIsRemote
	}
	method, _ := knownMethod(f.method)
	if method == "_OTHER" {
		method = "HTTP"
	}
	s.Name = method
	if f.route != "" {
		s.Name += " " + f.route
	}
	if f.wrong() != "" {
		s.Status.Code = trace.Status_STATUS_CODE_ERROR
	}
	return s
}

// wrong says what went wrong on our side or behind: a label, a status, or "".
// What a client does wrong is not an error of a server span.
func (f *finished) wrong() string {
	switch {
	case f.status >= 400 && f.status < 500:
		return ""
	case f.failure != "":
		return f.failure // also of an answer that was cut
	case f.status >= 500:
		return strconv.Itoa(f.status)
	}
	return ""
}

// attributes lists what is known. Those that are "" are left out.
func (f *finished) attributes() []*common.KeyValue {
	method, original := knownMethod(f.method)
	list := make([]*common.KeyValue, 0, 20)
	for _, one := range [...]struct{ key, value string }{
		{"http.request.method", method}, {"http.request.method_original", original},
		{"url.scheme", f.scheme}, {"url.path", f.path}, {"http.route", f.route},
		{"server.address", f.host}, {"client.address", f.client}, {"user_agent.original", f.agent},
		{"network.protocol.name", "http"}, {"network.protocol.version", f.protocol}, {"error.type", f.wrong()},
		{"sallyport.request_id", f.request}, {"sallyport.site", f.site}, {"sallyport.upstream", f.upstream}, {"sallyport.server", f.server},
	} {
		if one.value != "" {
			list = append(list, text(one.key, one.value))
		}
	}
	if port, err := strconv.ParseUint(f.port, 10, 16); err == nil {
		list = append(list, number("server.port", int64(port)))
	}
	if f.status != 0 {
		list = append(list, number("http.response.status_code", int64(f.status)))
	}
	if f.attempts > 0 {
		list = append(list, number("sallyport.attempts", int64(f.attempts)))
	}
	return list
}

// knownMethod keeps a client from making up names of spans.
func knownMethod(method string) (known, original string) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method, ""
	}
	return "_OTHER", method
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}
