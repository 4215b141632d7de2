package metrics_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/metrics"
)

func TestWhatIsCounted(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := metrics.New(registry)
	for _, c := range []struct {
		method string
		x      exchange.Exchange
	}{
		{"GET", exchange.Exchange{Site: "a", Status: 200, Sent: 10, Upstream: "api", Attempts: 3, UpstreamTime: time.Millisecond}},
		{"GET", exchange.Exchange{Site: "a", Status: 204}},
		{"BREW", exchange.Exchange{Site: "a", Status: 404, Server: "http://s", Attempts: 1}},
		{"POST", exchange.Exchange{Status: 0, Failure: "client_gone"}},
		{"GET", exchange.Exchange{Site: "a", Status: 101}},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		m.Began(r, nil)
		m.Done(r, &c.x, 20*time.Millisecond)
	}
	h2 := httptest.NewRequest("GET", "/", nil)
	h2.ProtoMajor = 2
	m.Began(h2, nil)
	want := `
# HELP sallyport_requests_in_flight Requests being answered, upgraded connections among them, by protocol: over h2 and h3 each is a stream.
# TYPE sallyport_requests_in_flight gauge
sallyport_requests_in_flight{protocol="h1"} 0
sallyport_requests_in_flight{protocol="h2"} 1
sallyport_requests_in_flight{protocol="h3"} 0
# HELP sallyport_streams_total Requests that have ended, by protocol: over h2 and h3 each is a stream.
# TYPE sallyport_streams_total counter
sallyport_streams_total{protocol="h1"} 5
sallyport_streams_total{protocol="h2"} 0
sallyport_streams_total{protocol="h3"} 0
# HELP sallyport_requests_total Requests that have ended, by site (empty: none was found), method (other: none of the usual ones) and class of status (none: the client had gone).
# TYPE sallyport_requests_total counter
sallyport_requests_total{method="GET",site="a",status="1xx"} 1
sallyport_requests_total{method="GET",site="a",status="2xx"} 2
sallyport_requests_total{method="POST",site="",status="none"} 1
sallyport_requests_total{method="other",site="a",status="4xx"} 1
# HELP sallyport_response_bytes_total Bytes of response bodies, before TLS and transfer codings.
# TYPE sallyport_response_bytes_total counter
sallyport_response_bytes_total{site=""} 0
sallyport_response_bytes_total{site="a"} 10
# HELP sallyport_request_failures_total Requests that were refused or failed, by the cause that the log names.
# TYPE sallyport_request_failures_total counter
sallyport_request_failures_total{cause="client_gone"} 1
# HELP sallyport_upstream_retries_total Attempts after the first.
# TYPE sallyport_upstream_retries_total counter
sallyport_upstream_retries_total{upstream="api"} 2
sallyport_upstream_retries_total{upstream="http://s"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "sallyport_requests_in_flight", "sallyport_streams_total", "sallyport_requests_total",
		"sallyport_response_bytes_total", "sallyport_request_failures_total", "sallyport_upstream_retries_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v: %v", err, problems)
	}
	m.Forget([]string{"a", ""}, []string{"api", "http://s"})
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 7 { // three in flight, three of protocols, and the cause
		t.Errorf("%d series are left, %v", n, err)
	}
}

func TestAClientCannotMakeSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := metrics.New(registry)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			for j := range 100 {
				r := httptest.NewRequest("GET", fmt.Sprintf("/%d/%d", i, j), nil)
				r.Method, r.Host = fmt.Sprint("M", i, j), fmt.Sprint("h", j)
				m.Began(r, nil)
				m.Done(r, &exchange.Exchange{Site: "a", Status: 100 + 7*j}, 0)
			}
		})
	}
	group.Wait()
	if n, err := testutil.GatherAndCount(registry, "sallyport_requests_total"); err != nil || n > 6 {
		t.Errorf("%d series, %v", n, err)
	}
}

func BenchmarkDone(b *testing.B) {
	m := metrics.New(prometheus.NewRegistry())
	r := httptest.NewRequest("GET", "/", nil)
	x := &exchange.Exchange{Site: "a", Status: 200, Sent: 10, Upstream: "api", Attempts: 1}
	b.ReportAllocs()
	for b.Loop() {
		m.Began(r, nil)
		m.Done(r, x, time.Millisecond)
	}
}
