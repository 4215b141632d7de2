package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/sallyport/sallyport/proxy/metrics"
)

// described collects the names of everything that is registered.
type described struct {
	prometheus.Registerer
	names map[string]bool
}

var nameOf = regexp.MustCompile(`fqName: "([^"]+)"`)

func (d described) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		to := make(chan *prometheus.Desc, 1000)
		c.Describe(to)
		close(to)
		for desc := range to {
			d.names[nameOf.FindStringSubmatch(desc.String())[1]] = true
		}
	}
}

func TestDashboardAndAlertsNameOnlyMetricsThatExist(t *testing.T) {
	have := described{names: make(map[string]bool)}
	metrics.New(have)
	newCertificateMetrics(have)
	have.MustRegister(newSnapshots(nil))
	families, err := newRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		have.names[family.GetName()] = true
	}
	word := regexp.MustCompile(`\b(?:sallyport|process|go)_[a-z0-9_]+`)
	unused := make(map[string]bool)
	for name := range have.names {
		unused[name] = strings.HasPrefix(name, "sallyport_")
	}
	for _, file := range []string{"grafana-dashboard.json", "alerts.yaml"} {
		content, err := os.ReadFile(filepath.Join(repository, "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		found := word.FindAllString(string(content), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if trimmed := strings.TrimSuffix(name, suffix); have.names[trimmed] {
					base = trimmed
				}
			}
			if !have.names[base] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
			delete(unused, base)
		}
	}
	var dashboard struct{ Panels []struct{ Title string } }
	content, err := os.ReadFile(filepath.Join(repository, "deploy", "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &dashboard); err != nil || len(dashboard.Panels) < 10 {
		t.Errorf("the dashboard has %d panels: %v", len(dashboard.Panels), err)
	}
	if content, err = os.ReadFile(filepath.Join(repository, "deploy", "alerts.yaml")); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(content, &rules); err != nil || len(rules.Groups) != 1 {
		t.Fatalf("the rules: %v", err)
	}
	for _, rule := range rules.Groups[0].Rules {
		if rule.Alert == "" || rule.Expr == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("rule %q is not complete", rule.Alert)
		}
	}
}

func TestMetricsOfALivingProcessAreAsPrometheusWantsThem(t *testing.T) {
	dir := shortDir(t)
	server := greeter(t, "hello")
	path := writeConfig(t, dir, internalSite(server.URL)+"  log.localhost: {respond: ok, access_log: {output: a.log}}\n")
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	page(t, client, "https://app.localhost/")
	page(t, client, "https://log.localhost/")
	socket := filepath.Join(dir, "storage", "sallyport.sock")
	local := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	defer local.CloseIdleConnections()
	var text string
	want := []string{
		`sallyport_requests_total{method="GET",site="app.localhost",status="2xx"} 1`,
		`sallyport_upstream_server_up{server="` + server.URL + `",upstream="` + server.URL + `"} 1`,
		`sallyport_certificate_state{name="app.localhost",state="serving"} 1`,
		`sallyport_certificate_not_after_timestamp_seconds{issuer="internal",name="log.localhost"}`,
		`sallyport_tls_handshakes_total{resumed="false",version="1.3"}`,
		`sallyport_streams_total{protocol="h2"} 2`,
		"sallyport_config_last_reload_successful 1",
		"sallyport_config_info{hash=",
		`sallyport_log_lines_dropped_total{output="stderr"} 0`,
		`sallyport_log_lines_dropped_total{output="` + filepath.Join(dir, "a.log") + `"} 0`,
		"sallyport_build_info{", "process_open_fds ", "go_goroutines ",
	}
	until(t, "all series are there", func() bool {
		response, err := local.Get("http://sallyport/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v: %s", response.Status, err, content)
		}
		text = string(content)
		for _, line := range want {
			if !strings.Contains(text, "\n"+line) {
				t.Logf("not there yet: %s", line)
				return false
			}
		}
		return true
	})
	from := i.seen()
	writeConfig(t, dir, "sites:\n  log.localhost: {respond: ok}\n")
	i.signal(syscall.SIGHUP)
	i.await(from, "a reload", func(l logLine) bool { return l.message() == "configuration reloaded" })
	response, err := local.Get("http://sallyport/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if rest, err := io.ReadAll(response.Body); err != nil || strings.Contains(string(rest), "app.localhost") || strings.Contains(string(rest), server.URL) {
		t.Errorf("series of what a reload took away are left (%v):\n%s", err, rest)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "sallyport_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}
