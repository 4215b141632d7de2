package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/account"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update writes it anew):\n%s", file, got)
	}
}

func TestConfigurations(t *testing.T) {
	s := setup{
		Dir: "/d", Address: "127.0.0.1:4430", Port: "4430", Origin: "127.0.0.1:8080", Certificate: "/d/certificate.pem", Key: "/d/key.pem",
		Combined: "/d/combined.pem", Hosts: "/d/hosts.map", Workers: 2, Pool: 256, Files: 20000, Connections: 9500, Root: true,
	}
	for _, p := range products {
		for _, names := range [][]string{{"localhost"}, {"site0000.bench.test", "site0001.bench.test"}} {
			s.Names = names
			text, err := render(p.template, s)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, map[int]string{1: "one-", 2: "two-"}[len(names)]+p.template, text)
		}
	}
}

func sample() *result {
	one := func(v float64) *spread { return &spread{v, v * 0.9, v * 1.1} }
	return &result{
		Date: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Complete: true, Rounds: 5, Seconds: 3, Workers: 2, Pool: 256,
		Machine:  account.Machine{CPU: "Some CPU", Cores: 2, Kernel: "Linux 6.1", Memory: 24 << 30},
		Versions: map[string]string{"nginx": "1.22.1", "sallyport": "7a1d8f4", "wrk": "4.1.0", "go": "1.26.8"}, Proxies: []string{"nginx", "sallyport"},
		Cases: []caseResult{
			{Name: "h1-13b", Title: "h1, 13 B", Unit: "request", Generator: "wrk", Connections: 32, Figures: []figures{
				{Proxy: "nginx", CPU: one(21), Ratio: &spread{1, 1, 1}, Rate: one(45678), P50: one(0.5), P99: one(2), PeakPSS: 25 << 20, PeakRSS: 40 << 20, Requests: 1e6, Others: &spread{}},
				{Proxy: "sallyport", CPU: one(25), Ratio: one(1.19), Rate: one(40000), P50: one(0.6), P99: one(3), PeakPSS: 20 << 20, PeakRSS: 21 << 20, Requests: 1e6, Others: &spread{},
					Failed: map[string]int{"timeout": 2}},
			}},
			{Name: "idle", Title: "4,000 idle TLS connections", Unit: "request", Generator: "builtin", Connections: 4000, Figures: []figures{
				{Proxy: "nginx", PerIdle: one(14.3), PeakPSS: 80 << 20, PeakRSS: 99 << 20, Requests: 4000, Others: &spread{}},
				{Proxy: "sallyport", Failure: "sallyport ended\nby itself"},
			}},
		},
	}
}

func TestReportAndTable(t *testing.T) {
	var text bytes.Buffer
	r := sample()
	printMachine(&text, r)
	for _, c := range r.Cases {
		printCase(&text, c)
	}
	golden(t, "report.txt", text.String())
	text.Reset()
	file := filepath.Join(t.TempDir(), "result.json")
	if err := r.save(file); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), options{table: file}, &text, io.Discard); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.md", text.String())
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0.00", 0.123: "0.12", 9.994: "9.99", 9.996: "10.0", 21.04: "21.0", 99.96: "100", 349: "349", 14683: "14,700", 1234567: "1,230,000", -2.5: "-2.50"} {
		if got := number(value); got != want {
			t.Errorf("%v: %s instead of %s", value, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	if got := *spreadOf([]float64{3, 1, 2}); got != (spread{2, 1, 3}) {
		t.Error(got)
	}
	if got := *spreadOf([]float64{4, 1, 3, 2}); got != (spread{2.5, 1, 4}) {
		t.Error(got)
	}
	if spreadOf(nil) != nil {
		t.Error("of nothing")
	}
}

func TestParseVersion(t *testing.T) {
	for output, want := range map[string]string{
		"nginx version: nginx/1.22.1\n":                                        "1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n": "2.6.12-1+deb12u4",
		"v2.11.2 h1:abc=\n":                                                    "2.11.2",
		"sallyport 7a1d8f4cafe5+modified go1.26.8 linux/amd64\n":               "7a1d8f4cafe5+modified",
		"sallyport v1.0.0 go1.26.8 linux/amd64\n":                              "1.0.0",
		"wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer\n":       "4.1.0-3+b2",
		"h2load nghttp2/1.52.0":                                                "1.52.0",
		"unknown":                                                              "",
		"":                                                                     "",
	} {
		if got := parseVersion(output); got != want {
			t.Errorf("%q: %q instead of %q", output, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"--rounds", "0"}, {"--seconds", "601"}, {"--generator", "ab"}, {"--what"}} {
		var stderr bytes.Buffer
		if _, err := parseOptions(args, &stderr); err == nil || stderr.Len() == 0 {
			t.Errorf("%q: %v, %q", args, err, stderr.String())
		}
	}
	o, err := parseOptions([]string{"--nginx", "/n", "--only", "idle, h1-13b", "--rounds=2"}, io.Discard)
	if err != nil || o.binaries["nginx"] != "/n" || o.rounds != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	if selected, err := selectWorkloads(o.only); err != nil || len(selected) != 2 || selected[0].name != "idle" {
		t.Errorf("%+v, %v", selected, err)
	}
	if _, err := selectWorkloads("h1-13b,h3"); err == nil || !strings.Contains(err.Error(), `"h3"`) {
		t.Error(err)
	}
}

func TestSitesAreSpreadOverConnections(t *testing.T) {
	w := workload{sites: 1000, connections: 200}
	spread := w.spread()
	if len(spread) != 200 || spread[0] != "site0000.bench.test" || spread[199] != "site0995.bench.test" {
		t.Errorf("%d names, %s to %s", len(spread), spread[0], spread[len(spread)-1])
	}
}
