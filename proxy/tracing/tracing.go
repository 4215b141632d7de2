package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/internal/tracecontext"
)

// mostValue bounds, in bytes, what of one value of a client's goes into a span.
const mostValue = 1024

// Tracer decides which requests are traced.
type Tracer struct {
	// Exporter takes the spans; required.
	Exporter *Exporter

	// Sample is the share of requests that are traced, of those that come
	// without a traceparent: 0 is none, 1 all.
	Sample float64
}

// Span is one request that is traced.
type Span struct {
	trace      [16]byte
	id, parent [8]byte // parent is all zeros if there is none
	state      string
}

// Begin decides whether a request is traced; nil if not, and then the request
// is as it was. A well-formed traceparent decides by its sampled flag, else the
// share does. The traceparent of a traced request names the new span from now
// on. A tracestate belongs to its traceparent: without one it is removed (W3C
// Trace Context section 3.3).
func (t *Tracer) Begin(r *http.Request) *Span {
	parent, given := tracecontext.Parse(r.Header["Traceparent"])
	if given && !parent.Sampled() || !given && rand.Float64() >= t.Sample {
		return nil
	}
	s := new(Span)
	binary.NativeEndian.PutUint64(s.id[:], rand.Uint64()|1) // never all zeros
	if given {
		_, _ = hex.Decode(s.trace[:], []byte(parent.Trace)) // digits, as Parse saw
		_, _ = hex.Decode(s.parent[:], []byte(parent.Span))
		s.state = clip(strings.Join(r.Header["Tracestate"], ","))
	} else {
		binary.NativeEndian.PutUint64(s.trace[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(s.trace[8:], rand.Uint64()|1)
		delete(r.Header, "Tracestate")
	}
	r.Header["Traceparent"] = []string{tracecontext.Format(s.trace, s.id)}
	return s
}

// Done hands a span over. Nothing of the request or the exchange is kept.
func (t *Tracer) Done(s *Span, r *http.Request, x *exchange.Exchange, took time.Duration) {
	f := finished{
		Span: *s, begun: x.Started, took: took,
		method: clip(r.Method), scheme: x.Scheme(), protocol: protocolOf(r), path: pathOf(r, x),
		agent: clip(r.Header.Get("User-Agent")), request: x.ID, site: x.Site, route: x.Route,
		upstream: x.Upstream, server: x.Server, attempts: x.Attempts,
		status: x.Status, failure: x.Failure,
	}
	if x.Client.IsValid() {
		f.client = x.Client.String()
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	f.host, f.port = clip(strings.Trim(host, "[]")), clip(port)
	t.Exporter.add(&f)
}

// finished is a request that is over. It holds no piece of the client's head,
// which would be kept in memory whole.
type finished struct {
	Span
	begun                          time.Time
	took                           time.Duration
	method, scheme, protocol, path string
	host, port, client, agent      string
	request, site, route           string
	upstream, server               string
	attempts, status               int
	failure                        string
}

// pathOf is the path as the client wrote it. A query is for nobody's eyes.
func pathOf(r *http.Request, x *exchange.Exchange) string {
	path := x.Target
	if !strings.HasPrefix(path, "/") {
		path = r.URL.Path // of a target in absolute form
	}
	path, _, _ = strings.Cut(path, "?")
	return clip(path)
}

// protocolOf is the version as the conventions write it.
func protocolOf(r *http.Request) string {
	switch {
	case r.ProtoMajor >= 3:
		return "3"
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMinor == 0:
		return "1.0"
	}
	return "1.1"
}

// clip returns a copy that is not too long and is UTF-8, as protobuf wants it.
func clip(s string) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), mostValue)], "\ufffd"))
}
