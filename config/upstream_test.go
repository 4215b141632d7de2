package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

func TestUpstreamInFull(t *testing.T) {
	cfg := parsed(t, `
upstreams:
  api:
    servers: [http://api1:8080, {url: http://api2:8080, weight: 3, max_connections: 100, backup: true}]
    balance: header:X-Tenant
    sticky: {cookie: route}
    health: {path: /healthz?deep=1, interval: 1s, timeout: 500ms, fall: 3, rise: 2, status: 200, body: ok, host: "api.internal:8080"}
    max_fails: 0
    fail_timeout: 20s
    slow_start: 30s
    max_connections: 50
    queue: {size: 7, timeout: 1s}
    retries: {attempts: 2, on: [timeout, 503]}
    hold: 0
sites: {a.localhost: api}
`)
	u := cfg.Upstream("api")
	got := fmt.Sprintf("%+v %+v %+v", u, *u.Sticky, *u.Health)
	for _, want := range []string{
		"{URL:http://api1:8080 Weight:1 MaxConnections:0 Backup:false} {URL:http://api2:8080 Weight:3 MaxConnections:100 Backup:true}",
		"FailTimeout:20s SlowStart:30s MaxConnections:50 Queue:{Size:7 Timeout:1s} Retries:{Attempts:2 On:[timeout 503]} Hold:0s",
		"{Cookie:route}", "Interval:1s Timeout:500ms Fall:3 Rise:2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s\nin %s", want, got)
		}
	}
	if word, name := u.BalanceBy(); word != config.BalanceHeader || name != "X-Tenant" {
		t.Errorf("balance by %s %s", word, name)
	}
	if least, greatest := u.Health.StatusRange(); least != 200 || greatest != 200 {
		t.Errorf("status %d to %d", least, greatest)
	}
}

// Named or not, an upstream that says nothing has the same defaults.
func TestAddressIsAnUpstreamOfOneServerWithTheDefaults(t *testing.T) {
	cfg := parsed(t, "upstreams:\n  one: {servers: [http://a:1]}\nsites: {a.localhost: one, b.localhost: 'http://a:1'}\n")
	named, implicit := cfg.Upstream("one"), cfg.Upstream("http://a:1")
	if implicit.Hold != 10*time.Second || implicit.Balance != "random_two" || implicit.MaxFails != 3 || implicit.Queue.Size != 100 {
		t.Errorf("defaults: %+v", implicit)
	}
	named.Name = ""
	if a, b := fmt.Sprintf("%+v", named), fmt.Sprintf("%+v", implicit); a != b {
		t.Errorf("named:   %s\naddress: %s", a, b)
	}
}

func TestEmptyListOfRetriesIsNone(t *testing.T) {
	cfg := parsed(t, "upstreams:\n  one: {servers: [http://a:1], retries: {on: []}}\nsites: {a.localhost: one}\n")
	if on := cfg.Upstream("one").Retries.On; on == nil || len(on) != 0 {
		t.Errorf("retried on %q", on)
	}
}

func TestAddressesInBracketsWithinBraces(t *testing.T) {
	cfg := parsed(t, "upstreams:\n  one: {servers: [http://a:1, 'http://b:2', https://c, 'http://[::1]:81', h2c://d:4, {url: http://e:5}], health: {path: /}}\nsites: {a.localhost: one}\n")
	var got []string
	for _, server := range cfg.Upstream("one").Servers {
		got = append(got, server.URL)
	}
	if fmt.Sprint(got) != "[http://a:1 http://b:2 https://c http://[::1]:81 h2c://d:4 http://e:5]" {
		t.Errorf("got %q", got)
	}
}
