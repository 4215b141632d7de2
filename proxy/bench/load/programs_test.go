package load

import (
	"os"
	"strings"
	"testing"
	"time"
)

func testdata(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestParseWrk(t *testing.T) {
	result, err := parseWrk(testdata(t, "wrk.txt"), 13)
	if err != nil {
		t.Fatal(err)
	}
	if result.Requests != 58314 || result.Duration != 1000439*time.Microsecond || result.P50 != 117*time.Microsecond || result.P99 != 951*time.Microsecond || result.Failures() != "" {
		t.Errorf("%+v", result)
	}
	// Of large bodies it cuts some short, whose bytes count.
	if result, err = parseWrk(testdata(t, "wrk.txt"), 10<<20); err != nil || result.Requests < 1.384 || result.Requests > 1.385 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestParseWrkDoesNotCountRefusals(t *testing.T) {
	result, err := parseWrk(testdata(t, "wrk-failed.txt"), 13)
	if err != nil || result.Requests != 0 || result.Failures() != "4722 x status not 2xx" {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestParseH2load(t *testing.T) {
	result, err := parseH2load(testdata(t, "h2load.txt"), 13)
	if err != nil || result.Requests != 53863 || result.Duration != time.Second || result.Failures() != "" {
		t.Errorf("%+v, %v", result, err)
	}
	result, err = parseH2load(testdata(t, "h2load-large.txt"), 10<<20)
	if err != nil || result.Requests < 52.03 || result.Requests > 52.04 {
		t.Errorf("%+v, %v", result, err)
	}
	failed := strings.NewReplacer("53863 succeeded, 0 failed, 0 errored, 0 timeout", "53000 succeeded, 863 failed, 60 errored, 3 timeout").Replace(testdata(t, "h2load.txt"))
	result, err = parseH2load(failed, 13)
	if err != nil || result.Requests != 53000 || result.Failures() != "803 x status not 2xx, 60 x stream error, 3 x timeout" {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestParsersRefuseWhatTheyDoNotKnow(t *testing.T) {
	for _, output := range []string{"", "unable to connect to localhost", "bench requests=1 bytes=x", "finished in 1.00s, 5 req/s"} {
		if _, err := parseWrk(output, 13); err == nil {
			t.Errorf("wrk: %q passed", output)
		}
		if _, err := parseH2load(output, 13); err == nil {
			t.Errorf("h2load: %q passed", output)
		}
	}
	if _, err := parseH2load(strings.Replace(testdata(t, "h2load.txt"), "protocol: h2", "protocol: http/1.1", 1), 13); err == nil {
		t.Error("HTTP/1.1 passed for HTTP/2")
	}
}

func TestParseH2loadLog(t *testing.T) {
	p50, p99, err := parseH2loadLog(strings.NewReader("1795461751248229\t200\t30\n1795461751248231\t-1\t9999\n1795461751248231\t200\t10\n1795461751248231\t200\t20\n"))
	if err != nil || p50 != 20*time.Microsecond || p99 != 30*time.Microsecond {
		t.Errorf("%v %v %v", p50, p99, err)
	}
	if _, _, err := parseH2loadLog(strings.NewReader("what\n")); err == nil {
		t.Error("nonsense passed")
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for share, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		if got := quantile(hundred, share); got != want {
			t.Errorf("%v: %d", share, got)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}
