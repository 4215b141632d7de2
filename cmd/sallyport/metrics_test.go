package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// scraper returns what reads /metrics of the instance in a folder.
func scraper(t *testing.T, dir string) func() string {
	socket := filepath.Join(dir, "storage", "sallyport.sock")
	local := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(local.CloseIdleConnections)
	return func() string {
		t.Helper()
		response, err := local.Get("http://sallyport/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v: %s", response.Status, err, content)
		}
		return string(content)
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
	metricsNow := scraper(t, dir)
	var text string
	want := []string{
		`sallyport_requests_total{method="GET",site="app.localhost",status="2xx"} 1`,
		`sallyport_upstream_server_up{server="` + server.URL + `",upstream="` + server.URL + `"} 1`,
		`sallyport_certificate_state{name="app.localhost",state="serving"} 1`,
		`sallyport_certificate_not_after_timestamp_seconds{issuer="internal",name="log.localhost"}`,
		`sallyport_tls_handshakes_total{resumed="false",transport="tcp",version="1.3"}`,
		`sallyport_streams_total{protocol="h2"} 2`,
		"sallyport_config_last_reload_successful 1",
		"sallyport_config_info{hash=",
		`sallyport_log_lines_dropped_total{output="stderr"} 0`,
		`sallyport_log_lines_dropped_total{output="` + filepath.Join(dir, "a.log") + `"} 0`,
		"sallyport_build_info{", "process_open_fds ", "go_goroutines ",
	}
	until(t, "all series are there", func() bool {
		text = metricsNow()
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
	if rest := metricsNow(); strings.Contains(rest, "app.localhost") || strings.Contains(rest, server.URL) {
		t.Errorf("series of what a reload took away are left:\n%s", rest)
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

// TestTenThousandHostsMethodsAndPathsMakeNoSeries asks for what a client can
// make up, and counts the series that Prometheus would have to keep.
func TestTenThousandHostsMethodsAndPathsMakeNoSeries(t *testing.T) {
	const requests, kinds = 10_000, 5
	dir := shortDir(t)
	i := start(t, nil, "run", "--config", writeConfig(t, dir, internalSite(greeter(t, "hello").URL)))
	roots := filepath.Join(dir, "storage", "localca", "root.pem")
	h2, h1 := visitor(t, i.https(), roots), visitor(t, i.https(), roots)
	h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	h1.Transport.(*http.Transport).Protocols = new(http.Protocols)
	h1.Transport.(*http.Transport).Protocols.SetHTTP1(true)
	ask := func(n int) {
		made := fmt.Sprintf("zz%dzz", n)
		r, err := http.NewRequest(http.MethodGet, "https://app.localhost/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		switch n % kinds {
		case 0:
			r.Method = strings.ToUpper(made)
		case 1:
			r.Host = made + ".example"
		case 2:
			r.URL.Path, r.URL.RawQuery = "/"+made, made+"="+made
		case 3:
			r.Method, r.Host, r.URL.Path = strings.ToUpper(made), made+".localhost", "/"+made
		case 4:
			for _, name := range []string{"X-Forwarded-Host", "X-Request-Id", "Referer", "User-Agent", "Traceparent", "X-" + made} {
				r.Header.Set(name, made)
			}
		}
		response, err := []*http.Client{h1, h2}[n/kinds%2].Do(r)
		if err != nil {
			t.Errorf("%s %s of %s: %v", r.Method, r.URL, r.Host, err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	metricsNow := scraper(t, dir)
	settled := func(n int) (text string) {
		until(t, "all requests are counted", func() bool {
			text = metricsNow()
			sum := 0
			for _, found := range regexp.MustCompile(`\nsallyport_streams_total\{[^}]*\} (\d+)`).FindAllStringSubmatch(text, -1) {
				one, _ := strconv.Atoi(found[1])
				sum += one
			}
			return sum >= n
		})
		return text
	}
	series := func(text string) int {
		return len(regexp.MustCompile(`(?m)^[^#\n]`).FindAllString(text, -1))
	}
	for n := range 2 * kinds { // whatever an ordinary client makes too
		ask(n)
	}
	before := settled(2 * kinds)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := worker; n < requests; n += 8 {
				ask(n)
			}
		})
	}
	group.Wait()
	after := settled(2*kinds + requests)
	t.Logf("%d series", series(after))
	if series(before) < 100 || series(after) != series(before) {
		t.Errorf("%d series have become %d:\n%s", series(before), series(after), after)
	}
	if strings.Contains(strings.ToLower(after), "zz") {
		t.Errorf("what a client made up is in\n%s", after)
	}
}
