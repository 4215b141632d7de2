package proxy_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"
)

// collector is a stand-in for a collector: it hands on the spans that arrive.
type collector struct {
	*httptest.Server
	spans   chan *trace.Span
	service chan string // of each batch
	key     chan string // X-Key of each batch
}

func newCollector(t *testing.T, answer func(n int) int) *collector {
	c := &collector{spans: make(chan *trace.Span, 10000), service: make(chan string, 1000), key: make(chan string, 1000)}
	n := 0
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++ // the exporter has one connection
		if status := answer(n); status != 200 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(status)
			return
		}
		if r.Method != "POST" || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s of %s", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		text, err := io.ReadAll(z)
		var data trace.TracesData
		if err == nil {
			err = proto.Unmarshal(text, &data)
		}
		if err != nil {
			t.Error(err)
			return
		}
		c.key <- r.Header.Get("X-Key")
		c.service <- valuesOf(data.ResourceSpans[0].Resource.Attributes)["service.name"].GetStringValue()
		for _, span := range data.ResourceSpans[0].ScopeSpans[0].Spans {
			c.spans <- span
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func valuesOf(list []*common.KeyValue) map[string]*common.AnyValue {
	values := make(map[string]*common.AnyValue)
	for _, one := range list {
		values[one.Key] = one.Value
	}
	return values
}

func takesAll(int) int { return 200 }

const (
	traceOf    = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentOf   = "00f067aa0ba902b7"
	traced     = "00-" + traceOf + "-" + parentOf + "-01"
	untraced   = "00-" + traceOf + "-" + parentOf + "-00"
	tracedSite = `
tracing: {endpoint: "%s", sample: %v, headers_file: "%s"}
sites:
  a.test:
    tls: internal
    proxy: "%s"
`
)

// keyFile is a file of fields.
func keyFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("# ours\nX-Key: one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASpanIsTheChildOfTheClientsAndTheParentOfTheServers(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		c := newCollector(t, takesAll)
		server := backend(t, seen)
		w := start(t, parsed(t, tracedSite, c.URL, 0, keyFile(t), server))
		res, _ := w.ask(h2, "GET", "/x/%41?token=hidden", "traceparent: "+traced, "tracestate: a=b", "User-Agent: \xffme")
		span := wait(t, c.spans, "the span")
		if service, key := wait(t, c.service, "a batch"), wait(t, c.key, "a batch"); service != "sallyport" || key != "one" {
			t.Errorf("service %q, key %q", service, key)
		}
		if got, want := res.Header.Get("X-Seen-Traceparent"), "00-"+traceOf+"-"+hex.EncodeToString(span.SpanId)+"-01"; got != want {
			t.Errorf("the server got the parent %s, want %s", got, want)
		}
		if res.Header.Get("X-Seen-Tracestate") != "a=b" || span.TraceState != "a=b" {
			t.Errorf("tracestate %q, %q", res.Header.Get("X-Seen-Tracestate"), span.TraceState)
		}
		if hex.EncodeToString(span.TraceId) != traceOf || hex.EncodeToString(span.ParentSpanId) != parentOf {
			t.Errorf("trace %x, parent %x", span.TraceId, span.ParentSpanId)
		}
		if span.Kind != trace.Span_SPAN_KIND_SERVER || span.EndTimeUnixNano < span.StartTimeUnixNano || span.Status.Code != trace.Status_STATUS_CODE_UNSET {
			t.Errorf("kind %v, from %d to %d, status %v", span.Kind, span.StartTimeUnixNano, span.EndTimeUnixNano, span.Status)
		}
		version := "1.1"
		if h2 {
			version = "2"
		}
		values := valuesOf(span.Attributes)
		for key, want := range map[string]string{
			"http.request.method": "GET", "url.path": "/x/%41", "url.scheme": "https", "server.address": "a.test", "client.address": "127.0.0.1",
			"network.protocol.version": version, "user_agent.original": "\ufffdme", "sallyport.site": "a.test",
			"sallyport.server": strings.TrimSuffix(server, "/"), "error.type": "",
		} {
			if got := values[key].GetStringValue(); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if values["http.response.status_code"].GetIntValue() != 200 || values["sallyport.attempts"].GetIntValue() != 1 {
			t.Errorf("attributes %v", values)
		}
		if strings.Contains(span.String(), "hidden") {
			t.Errorf("the query is in %v", span)
		}
	})
}

func TestARequestThatIsNotTracedIsPassedOnAsItCame(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		c := newCollector(t, takesAll)
		w := start(t, parsed(t, tracedSite, c.URL, 0, keyFile(t), backend(t, seen)))
		for _, parent := range []string{untraced, "nonsense", ""} {
			var fields []string
			if parent != "" {
				fields = []string{"traceparent: " + parent, "tracestate: a=b"}
			}
			if res, _ := w.ask(h2, "GET", "/", fields...); res.Header.Get("X-Seen-Traceparent") != parent || parent != "" && res.Header.Get("X-Seen-Tracestate") != "a=b" {
				t.Errorf("%q arrived as %q", parent, res.Header.Get("X-Seen-Traceparent"))
			}
		}
		w.ask(h2, "GET", "/last", "traceparent: "+traced)
		if span := wait(t, c.spans, "the span"); valuesOf(span.Attributes)["url.path"].GetStringValue() != "/last" {
			t.Errorf("traced: %v", span)
		}
	})
}

func TestATraceBeginsHereIfNobodyBeganIt(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		c := newCollector(t, takesAll)
		w := start(t, impatient(parsed(t, tracedSite, c.URL, 1, keyFile(t), "http://127.0.0.1:1")))
		w.ask(h2, "GET", "/", "traceparent: nonsense", "tracestate: a=b")
		span := wait(t, c.spans, "the span")
		if len(span.TraceId) != 16 || len(span.SpanId) != 8 || len(span.ParentSpanId) != 0 || span.TraceState != "" {
			t.Errorf("trace %x, span %x, parent %x, state %q", span.TraceId, span.SpanId, span.ParentSpanId, span.TraceState)
		}
		values := valuesOf(span.Attributes)
		if span.Status.Code != trace.Status_STATUS_CODE_ERROR || values["error.type"].GetStringValue() != "upstream_refused" || values["http.response.status_code"].GetIntValue() != 502 {
			t.Errorf("status %v, %v", span.Status, values)
		}
	})
}

func TestACollectorThatIsDownIsToldOnceAndHoldsUpNothing(t *testing.T) {
	c := newCollector(t, takesAll)
	endpoint := c.URL
	c.Close()
	cfg := parsed(t, tracedSite, endpoint, 1, keyFile(t), backend(t, seen))
	cfg.Tracing.Queue = 10
	w := start(t, cfg)
	asked := uint64(0)
	// A batch waits for the next attempt, and ten more in the queue.
	eventually(t, "the loss is counted", func() bool {
		if res, _ := w.ask(false, "GET", "/"); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		asked++
		_, dropped := w.proxy.Spans()
		return dropped > 0
	})
	failed := func() []observer.LoggedEntry { return w.logs.FilterMessage("spans cannot be sent").All() }
	eventually(t, "the failure is told", func() bool { return len(failed()) > 0 })
	w.stop()
	if sent, dropped := w.proxy.Spans(); sent != 0 || dropped != asked {
		t.Errorf("of %d %d were sent and %d dropped", asked, sent, dropped)
	}
	if told := failed(); len(told) != 1 || !strings.Contains(told[0].ContextMap()["hint"].(string), "4318") {
		t.Errorf("told %v", told)
	}
}

func TestAReloadSendsSpansElsewhere(t *testing.T) {
	one, two := newCollector(t, takesAll), newCollector(t, takesAll)
	key, server := keyFile(t), backend(t, seen)
	w := start(t, parsed(t, tracedSite, one.URL, 1, key, server))
	w.ask(false, "GET", "/one")
	w.commit(parsed(t, tracedSite, two.URL, 1, key, server))
	if err := os.WriteFile(key, []byte("X-Key: two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ask(false, "GET", "/two")
	for c, path := range map[*collector]string{one: "/one", two: "/two"} {
		if got := valuesOf(wait(t, c.spans, path).Attributes)["url.path"].GetStringValue(); got != path {
			t.Errorf("%s came to the collector of %s", got, path)
		}
	}
	if got := wait(t, two.key, "the key"); got != "two" {
		t.Errorf("the key is %q", got)
	}
	w.commit(parsed(t, `
sites:
  a.test: {tls: internal, proxy: "%s"}
`, server))
	if res, _ := w.ask(false, "GET", "/", "traceparent: "+traced); res.Header.Get("X-Seen-Traceparent") != traced {
		t.Errorf("without tracing the server got %q", res.Header.Get("X-Seen-Traceparent"))
	}
}

func TestACollectorThatAsksForPatienceIsAskedAgain(t *testing.T) {
	c := newCollector(t, func(n int) int {
		switch n {
		case 1, 3, 4:
			return 503
		case 6:
			return 400
		}
		return 200
	})
	w := start(t, parsed(t, tracedSite, c.URL, 1, keyFile(t), backend(t, seen)))
	next := func(sent, dropped uint64) {
		t.Helper()
		w.ask(false, "GET", "/")
		eventually(t, "the count", func() bool { s, d := w.proxy.Spans(); return s == sent && d == dropped })
	}
	next(1, 0) // 503, 200
	next(2, 0) // 503, 503, 200
	next(2, 1) // 400
	next(3, 1) // 200
	// Once after the second 503; the 400 comes too soon after it.
	if told, well := w.logs.FilterMessage("spans cannot be sent").Len(), w.logs.FilterMessage("spans are sent again").Len(); told != 1 || well != 1 {
		t.Errorf("told %d times that it fails and %d that it works", told, well)
	}
}

func TestACollectorThatTakesSpansInPartIsToldInTheLog(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = io.WriteString(w, "\x0a\x0a\x08\x01\x12\x06full\x1b[") // refuses one, and says why
	}))
	defer server.Close()
	w := start(t, parsed(t, tracedSite, server.URL, 1, keyFile(t), backend(t, seen)))
	for n := range uint64(3) {
		w.ask(false, "GET", "/")
		eventually(t, "the loss is counted", func() bool { _, dropped := w.proxy.Spans(); return dropped == n+1 })
	}
	told := w.logs.FilterMessage("the collector does not like some spans").All()
	if len(told) != 1 || !strings.Contains(told[0].ContextMap()["error"].(string), "refused 1 of 1 spans, and says: full") || told[0].ContextMap()["hint"] == "" {
		t.Errorf("told %v", told)
	}
}

func TestWhatWaitsIsSentBeforeTheEnd(t *testing.T) {
	c := newCollector(t, takesAll)
	w := start(t, parsed(t, tracedSite, c.URL, 1, keyFile(t), backend(t, seen)))
	w.ask(false, "GET", "/")
	w.stop()
	if len(c.spans) != 1 {
		t.Errorf("%d spans had come", len(c.spans))
	}
}
