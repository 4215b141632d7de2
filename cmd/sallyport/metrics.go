package main

import (
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/listen"
	"github.com/sallyport/sallyport/tlsmgr"
)

// newRegistry returns a registry of our own, with what the Go runtime and the
// process tell.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_build_info", Help: "1, with the version of the program and of Go.",
		ConstLabels: prometheus.Labels{"version": version(), "goversion": runtime.Version()},
	})
	info.Set(1)
	registry.MustRegister(info)
	return registry
}

// certificateMetrics counts what tlsmgr does. What its labels can be comes from
// the configuration or a closed set.
type certificateMetrics struct {
	orders  *prometheus.CounterVec
	calls   *prometheus.CounterVec
	ca      *prometheus.CounterVec
	tokens  *prometheus.CounterVec
	visible prometheus.Histogram
}

var _ tlsmgr.Observer = (*certificateMetrics)(nil)

func newCertificateMetrics(registry prometheus.Registerer) *certificateMetrics {
	m := &certificateMetrics{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_certificate_orders_total",
			Help: "Orders of certificates that have ended, by issuer and code (ok, the type of the CA's problem, cloudflare, cloudflare_network, timeout, other).",
		}, []string{"issuer", "code"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_cloudflare_calls_total",
			Help: "Calls of Cloudflare's API, by credential and status (none: no answer).",
		}, []string{"credential", "status"}),
		ca: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_acme_calls_total",
			Help: "Answers of ACME CAs, by HTTP status.",
		}, []string{"status"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_cloudflare_token_changes_total",
			Help: "How often another token has taken effect, by credential.",
		}, []string{"credential"}),
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_dns_propagation_seconds", Buckets: []float64{.25, .5, 1, 2, 4, 8, 15, 30, 60, 120},
			Help: "Time until the zone's name servers showed a challenge record.",
		}),
	}
	registry.MustRegister(m.orders, m.calls, m.ca, m.tokens, m.visible)
	return m
}

// Attempted implements [tlsmgr.Observer].
func (m *certificateMetrics) Attempted(issuer, code string) {
	if code == "" {
		code = "ok"
	}
	m.orders.WithLabelValues(issuer, code).Inc()
}

// Called implements [tlsmgr.Observer].
func (m *certificateMetrics) Called(credential string, status int) {
	m.calls.WithLabelValues(credential, statusLabel(status)).Inc()
}

// CalledCA implements [tlsmgr.Observer].
func (m *certificateMetrics) CalledCA(status int) {
	m.ca.WithLabelValues(statusLabel(status)).Inc()
}

// statusLabel is an HTTP status as a label; 0 is no answer.
func statusLabel(status int) string {
	if status >= 100 && status < 600 {
		return strconv.Itoa(status)
	}
	return "none"
}

// Visible implements [tlsmgr.Observer].
func (m *certificateMetrics) Visible(took time.Duration) { m.visible.Observe(took.Seconds()) }

// TokenTaken implements [tlsmgr.Observer].
func (m *certificateMetrics) TokenTaken(credential string) {
	m.tokens.WithLabelValues(credential).Inc()
}

// snapshots tells what the rooms know at the moment in which somebody asks. It
// costs nothing otherwise.
type snapshots struct {
	edge *edge
	desc map[string]*prometheus.Desc
}

// newSnapshots describes what [snapshots.Collect] tells.
func newSnapshots(e *edge) *snapshots {
	s := &snapshots{edge: e, desc: make(map[string]*prometheus.Desc)}
	for _, d := range []struct {
		name, help string
		labels     []string
	}{
		{"connections", "Connections of clients, over tcp and quic.", []string{"transport"}},
		{"connections_total", "Connections of clients that were accepted, over tcp and quic.", []string{"transport"}},
		{"tls_handshakes_total", "TLS handshakes that succeeded, over tcp and quic, by version and whether a session was resumed.", []string{"transport", "version", "resumed"}},
		{"tls_handshake_failures_total", "TLS handshakes that failed, over tcp and quic.", []string{"transport"}},
		{"certificate_not_after_timestamp_seconds", "When the certificate that is served for a name ends.", []string{"name", "issuer"}},
		{"certificate_state", "1 for the state that a name's certificate is in.", []string{"name", "state"}},
		{"storage_writable", "Whether certificates can be kept: 0 when the storage is read-only or not ours.", nil},
		{"certificate_failures", "Orders for a name that have failed since the last that did not.", []string{"name"}},
		{"cloudflare_calls_left", "Calls of Cloudflare's API that may be made at once.", []string{"credential"}},
		{"cloudflare_credential_healthy", "1 if nothing is known against a credential, else 0.", []string{"credential"}},
		{"upstream_server_up", "1 if requests go to a server, else 0.", []string{"upstream", "server"}},
		{"upstream_server_draining", "1 if somebody has taken a server out of the choice, else 0.", []string{"upstream", "server"}},
		{"upstream_server_requests_in_flight", "Requests under way at a server.", []string{"upstream", "server"}},
		{"upstream_server_queue", "Requests that wait for a full server.", []string{"upstream", "server"}},
		{"upstream_holding", "Requests that wait for some server of an upstream to come back.", []string{"upstream"}},
		{"upstream_holds_total", "Requests that had to wait for some server of an upstream to come back.", []string{"upstream"}},
		{"config_loaded_timestamp_seconds", "When the configuration in force was loaded.", nil},
		{"config_last_reload_successful", "1 if the last reload, if any, succeeded, else 0.", nil},
		{"config_info", "1, with the hash of the configuration in force.", []string{"hash"}},
		{"spans_sent_total", "Spans that the collector took.", nil},
		{"spans_dropped_total", "Spans that did not fit into the queue, or could not be sent.", nil},
		{"log_lines_dropped_total", "Log lines that an output did not take in time or at all.", []string{"output"}},
	} {
		s.desc[d.name] = prometheus.NewDesc("sallyport_"+d.name, d.help, d.labels, nil)
	}
	return s
}

// Describe implements [prometheus.Collector].
func (s *snapshots) Describe(to chan<- *prometheus.Desc) {
	for _, d := range s.desc {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *snapshots) Collect(to chan<- prometheus.Metric) {
	gauge := func(name string, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(s.desc[name], prometheus.GaugeValue, value, labels...)
	}
	count := func(name string, value uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(s.desc[name], prometheus.CounterValue, float64(value), labels...)
	}
	e := s.edge
	counts := e.listeners.Counts()
	transportMetrics("tcp", counts.TCP, gauge, count)
	count("tls_handshakes_total", counts.TCP.TLS12, "tcp", "1.2", "false")
	count("tls_handshakes_total", counts.TCP.TLS12Resumed, "tcp", "1.2", "true")
	transportMetrics("quic", counts.QUIC, gauge, count)
	for _, c := range e.certificates.Status() {
		if !c.NotAfter.IsZero() {
			gauge("certificate_not_after_timestamp_seconds", float64(c.NotAfter.Unix()), c.Name, c.Issuer)
		}
		gauge("certificate_state", 1, c.Name, string(c.State))
		gauge("certificate_failures", float64(c.Attempts), c.Name)
	}
	gauge("storage_writable", truth(e.certificates.Unwritable() == nil))
	for _, c := range e.certificates.Credentials() {
		gauge("cloudflare_calls_left", float64(c.CallsLeft), c.Name)
		gauge("cloudflare_credential_healthy", truth(c.Err == nil), c.Name)
	}
	upstreamMetrics(e.proxy.Upstreams(), gauge, count)
	e.mu.Lock()
	hash, loaded, failed := e.config.Hash(), e.loaded, e.last != nil && !e.last.OK
	e.mu.Unlock()
	gauge("config_loaded_timestamp_seconds", float64(loaded.UnixMilli())/1000)
	gauge("config_last_reload_successful", truth(!failed))
	gauge("config_info", 1, hash)
	sent, dropped := e.proxy.Spans()
	count("spans_sent_total", sent)
	count("spans_dropped_total", dropped)
	for _, loss := range e.logging.Outputs.Losses() {
		count("log_lines_dropped_total", loss.Lines, loss.Output)
	}
}

// transportMetrics tells of the connections over TCP, or over QUIC.
func transportMetrics(name string, t listen.Transport, gauge func(string, float64, ...string), count func(string, uint64, ...string)) {
	gauge("connections", float64(t.Open), name)
	count("connections_total", t.Accepted, name)
	count("tls_handshakes_total", t.TLS13, name, "1.3", "false")
	count("tls_handshakes_total", t.TLS13Resumed, name, "1.3", "true")
	count("tls_handshake_failures_total", t.Failed, name)
}

// upstreamMetrics tells of upstreams. One server can stand in an upstream twice:
// only the first is told of, because series must differ.
func upstreamMetrics(list []proxy.UpstreamStatus, gauge func(string, float64, ...string), count func(string, uint64, ...string)) {
	for _, u := range list {
		gauge("upstream_holding", float64(u.Holding), u.Name)
		count("upstream_holds_total", u.Held, u.Name)
		seen := make(map[string]bool)
		for _, server := range u.Servers {
			if seen[server.Address] {
				continue
			}
			seen[server.Address] = true
			gauge("upstream_server_up", truth(server.Up), u.Name, server.Address)
			gauge("upstream_server_draining", truth(server.Draining), u.Name, server.Address)
			gauge("upstream_server_requests_in_flight", float64(server.UnderWay), u.Name, server.Address)
			gauge("upstream_server_queue", float64(server.Waiting), u.Name, server.Address)
		}
	}
}

// labels are the names that series of a configuration have: of sites, and of the
// upstreams in use.
func (e *edge) labels(cfg *config.Config) (l seriesLabels) {
	for i := range cfg.Sites {
		l.sites = append(l.sites, cfg.Sites[i].Name)
	}
	for _, u := range e.proxy.Upstreams() {
		l.upstreams = append(l.upstreams, u.Name)
	}
	return l
}

type seriesLabels struct{ sites, upstreams []string }

// forget drops the series of what a reload took away, so that they do not pile
// up over the years.
func (e *edge) forget(before, after seriesLabels) {
	gone := func(before, after []string) []string {
		still := make(map[string]bool, len(after))
		for _, name := range after {
			still[name] = true
		}
		return slices.DeleteFunc(before, func(name string) bool { return still[name] })
	}
	e.requests.Forget(gone(before.sites, after.sites), gone(before.upstreams, after.upstreams))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
