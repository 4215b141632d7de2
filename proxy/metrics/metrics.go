package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Metrics are the request counters. It is safe for concurrent use.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	failures *prometheus.CounterVec
	backend  *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	protocol *prometheus.CounterVec
	underWay [len(protocols)]atomic.Int64
	ended    [len(protocols)]prometheus.Counter

	sites     sync.Map // string -> *site
	upstreams sync.Map // string -> *upstream
}

// Buckets of durations, in seconds: from what a cache answers in to what a
// person gives up on.
func buckets() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// New makes the counters and registers them. It panics if the registry has
// some of the same name.
func New(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_requests_total",
			Help: "Requests that have ended, by site (empty: none was found), method (other: none of the usual ones) and class of status (none: the client had gone).",
		}, []string{"site", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_request_duration_seconds", Buckets: buckets(),
			Help: "Time from a request's head to the end of its answer, upgraded connections left out.",
		}, []string{"site"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_response_bytes_total",
			Help: "Bytes of response bodies, before TLS and transfer codings.",
		}, []string{"site"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_request_failures_total",
			Help: "Requests that were refused or failed, by the cause that the log names.",
		}, []string{"cause"}),
		backend: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_upstream_duration_seconds", Buckets: buckets(),
			Help: "Time from the first attempt at a server to the head of its answer, by upstream (its name, or the server's address).",
		}, []string{"upstream"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_upstream_retries_total",
			Help: "Attempts after the first.",
		}, []string{"upstream"}),
	}
	m.protocol = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_streams_total",
		Help: "Requests that have ended, by protocol: over h2 and h3 each is a stream.",
	}, []string{"protocol"})
	registry.MustRegister(m.requests, m.duration, m.sent, m.failures, m.backend, m.retries, m.protocol)
	for i, name := range protocols {
		m.ended[i] = m.protocol.WithLabelValues(name)
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_requests_in_flight", ConstLabels: prometheus.Labels{"protocol": name},
			Help: "Requests being answered, upgraded connections among them, by protocol: over h2 and h3 each is a stream.",
		}, func() float64 { return float64(m.underWay[i].Load()) }))
	}
	return m
}

// site holds the series of one site. Those of requests are made when first
// needed: most sites see few methods and statuses.
type site struct {
	requests [len(methods) + 1][len(classes)]atomic.Pointer[prometheus.Counter]
	duration prometheus.Observer
	sent     prometheus.Counter
}

type upstream struct {
	duration prometheus.Observer
	retries  prometheus.Counter
}

var (
	methods   = [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	protocols = [...]string{"h1", "h2", "h3"}
	classes   = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
)

// Began counts a request that is under way. Each needs its Done.
func (m *Metrics) Began(r *http.Request, _ *exchange.Exchange) { m.underWay[protocolOf(r)].Add(1) }

// protocolOf is the number of a request's protocol.
func protocolOf(r *http.Request) int { return min(max(r.ProtoMajor, 1), len(protocols)) - 1 }

// Done counts a request that has ended after the given time.
func (m *Metrics) Done(r *http.Request, x *exchange.Exchange, took time.Duration) {
	protocol := protocolOf(r)
	m.underWay[protocol].Add(-1)
	m.ended[protocol].Inc()
	s := m.site(x.Site)
	m.count(s, x.Site, r.Method, x.Status)
	if x.Status != http.StatusSwitchingProtocols {
		s.duration.Observe(took.Seconds())
	}
	if x.Sent > 0 {
		s.sent.Add(float64(x.Sent))
	}
	if x.Failure != "" {
		m.failures.WithLabelValues(x.Failure).Inc()
	}
	if x.Attempts == 0 {
		return
	}
	u := m.upstream(nameOf(x))
	u.duration.Observe(x.UpstreamTime.Seconds())
	if x.Attempts > 1 {
		u.retries.Add(float64(x.Attempts - 1))
	}
}

// nameOf is the label of an upstream: a server that a site names by its address
// has no other name.
func nameOf(x *exchange.Exchange) string {
	if x.Upstream != "" {
		return x.Upstream
	}
	return x.Server
}

func (m *Metrics) count(s *site, name, method string, status int) {
	column := len(methods)
	for i, usual := range methods {
		if method == usual {
			column = i
			break
		}
	}
	class := status / 100
	if class < 0 || class >= len(classes) {
		class = 0
	}
	series := &s.requests[column][class]
	counter := series.Load()
	if counter == nil {
		label := "other"
		if column < len(methods) {
			label = methods[column]
		}
		made := m.requests.WithLabelValues(name, label, classes[class])
		counter = &made
		series.Store(counter) // the vector gives the same to who raced us
	}
	(*counter).Inc()
}

func (m *Metrics) site(name string) *site {
	if have, ok := m.sites.Load(name); ok {
		return have.(*site)
	}
	made, _ := m.sites.LoadOrStore(name, &site{duration: m.duration.WithLabelValues(name), sent: m.sent.WithLabelValues(name)})
	return made.(*site)
}

func (m *Metrics) upstream(name string) *upstream {
	if have, ok := m.upstreams.Load(name); ok {
		return have.(*upstream)
	}
	made, _ := m.upstreams.LoadOrStore(name, &upstream{duration: m.backend.WithLabelValues(name), retries: m.retries.WithLabelValues(name)})
	return made.(*upstream)
}

// Forget drops the series of a site, and those of an upstream, that the
// configuration does not have any more. A request that is still under way there
// may bring them back.
func (m *Metrics) Forget(sites, upstreams []string) {
	for _, name := range sites {
		m.sites.Delete(name)
		label := prometheus.Labels{"site": name}
		m.requests.DeletePartialMatch(label)
		m.duration.DeletePartialMatch(label)
		m.sent.DeletePartialMatch(label)
	}
	for _, name := range upstreams {
		m.upstreams.Delete(name)
		label := prometheus.Labels{"upstream": name}
		m.backend.DeletePartialMatch(label)
		m.retries.DeletePartialMatch(label)
	}
}
