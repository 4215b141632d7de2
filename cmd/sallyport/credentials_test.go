package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// canary is a token that must never be seen anywhere.
const canary = "cfut_canary33333333333333333333333333333333333333333"

// obtains and fails are the messages that an order ends with.
const (
	obtained    = "certificate obtained"
	notObtained = "certificate not obtained"
	notRenewed  = "certificate not renewed; the one there is keeps being served"
)

// TestCanaryTokenNeverShows provokes every failure of credentials at debug
// level and looks for the token in what the program says: log, check's output,
// the command line and the trace of a crash.
func TestCanaryTokenNeverShows(t *testing.T) {
	none := acmetest.Token{}
	good := acmetest.Token{Value: canary, Zones: []string{"example.test"}}
	tests := []struct {
		name  string
		file  string // what the token file holds; empty is the canary
		token acmetest.Token
		fail  acmetest.Failure
		says  string // part of the failure's log line
	}{
		{name: "unknown token", token: none, says: "code 1000"},
		{name: "revoked token", token: acmetest.Token{Value: canary, Zones: []string{"example.test"}, Revoked: true}, says: "1000"},
		{name: "zone not covered", token: acmetest.Token{Value: canary, Zones: []string{"other.test"}}, says: "does not reach this zone"},
		{name: "no DNS permission", token: acmetest.Token{Value: canary, Zones: []string{"example.test"}, Permissions: acmetest.ZoneRead}, says: "Zone:DNS:Edit on example.test"},
		{name: "no write permission", token: acmetest.Token{Value: canary, Zones: []string{"example.test"}, Permissions: acmetest.ZoneRead | acmetest.DNSRead}, says: "10000"},
		{name: "address filter", token: acmetest.Token{Value: canary, Zones: []string{"example.test"}, IPFiltered: true}, says: "this machine's address"},
		{name: "bad gateway", token: good, fail: acmetest.Failure{Times: -1, Status: http.StatusBadGateway, HTML: true}, says: "502"},
		{name: "rate limit", token: good, fail: acmetest.Failure{Times: -1, Status: http.StatusTooManyRequests}, says: "429"},
		{name: "dropped connections", token: good, fail: acmetest.Failure{Times: -1, Drop: true}, says: "hint"},
		{name: "invalid request headers", token: good, fail: acmetest.Failure{Times: -1, Status: http.StatusBadRequest, Code: 6003, Message: "Invalid request headers"}, says: "6003"},
		{name: "quotes in the file", file: `"` + canary + `"`, token: good, says: "quotes"},
		{name: "assignment in the file", file: "CF_API_TOKEN=" + canary, token: good, says: `\"=\"`},
		{name: "certbot file with a key", file: "dns_cloudflare_api_key = " + canary + "\ndns_cloudflare_email = a@b.test", token: good, says: "dns_cloudflare_api_token"},
	}
	world, _ := internet(t, "example.test", "other.test")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			world.API.RevokeToken(canary)
			if test.token.Value != "" {
				world.API.AddToken(test.token)
			}
			if test.fail.Times != 0 {
				world.API.FailNext(test.fail)
			}
			defer world.API.ClearFailures()
			dir := shortDir(t)
			path := writeConfig(t, dir, worldConfig(t, dir, world, canary, "example.test")+
				"sites: {app.example.test: 'http://127.0.0.1:9'}\n")
			if test.file != "" {
				writeFile(t, filepath.Join(dir, "token"), test.file)
			}
			var output strings.Builder
			execute(sealing{}, []string{"check", "--config", path, "--online"}, &output, &output)

			i := start(t, nil, "run", "--config", path)
			line := i.awaitMessage(notObtained)
			if !strings.Contains(line.raw, test.says) {
				t.Errorf("the failure does not say %q: %s", test.says, line.raw)
			}
			if hint, _ := line.fields["hint"].(string); hint == "" {
				t.Errorf("the failure has no cure: %s", line.raw)
			}
			commandLine := i.proc("cmdline")
			i.stop(syscall.SIGABRT) // the runtime prints a trace of every goroutine
			if !strings.Contains(i.log(), "goroutine 1") {
				t.Error("there was no trace to look at")
			}
			for where, text := range map[string]string{
				"check": output.String(), "the log": i.log(), "standard output": i.stdout.String(), "the command line": commandLine,
			} {
				// Half of it is as bad: an excerpt may have cut it.
				if strings.Contains(text, canary) || strings.Contains(text, canary[len(canary)-20:]) {
					t.Errorf("the token shows in %s:\n%s", where, text)
				}
			}
		})
	}
}

// TestRevokedTokenKeepsServingAndANewOneHealsWithoutRestart is the day a token
// is revoked: what serves keeps serving, each attempt logs one failure with its
// cure, and a new token in the file mends it within seconds.
func TestRevokedTokenKeepsServingAndANewOneHealsWithoutRestart(t *testing.T) {
	world, _ := internet(t, "example.test")
	world.API.AddToken(acmetest.Token{Value: configuredToken, Zones: []string{"example.test"}})
	dir := shortDir(t)
	server := greeter(t, "still here")
	head := worldConfig(t, dir, world, configuredToken, "example.test")
	path := writeConfig(t, dir, head+"sites:\n  old.example.test: "+server.URL+"\n")
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage(obtained)
	client := visitor(t, i.https(), filepath.Join(dir, "issuing.pem"))

	world.API.RevokeToken(configuredToken)
	from := i.seen()
	writeConfig(t, dir, head+"sites:\n  old.example.test: "+server.URL+"\n  new.example.test: "+server.URL+"\n")
	i.signal(syscall.SIGHUP)
	failure, from := i.await(from, notObtained, func(l logLine) bool { return l.message() == notObtained })
	for _, want := range []string{"new.example.test", "example.test", "token_file", "hint", "https://dash.cloudflare.com/profile/api-tokens"} {
		if !strings.Contains(failure.raw, want) {
			t.Errorf("the failure does not name %s: %s", want, failure.raw)
		}
	}
	if _, body := page(t, client, "https://old.example.test/"); body != "still here" {
		t.Errorf("the old site answers %q", body)
	}
	if _, err := client.Get("https://new.example.test/"); err == nil || !strings.Contains(err.Error(), "tls: ") {
		t.Errorf("a name without a certificate gave %v, want a TLS alert", err)
	}
	i.await(from, "what is waited for", func(l logLine) bool {
		return strings.Contains(l.message(), "certificate is not there yet") && strings.Contains(l.raw, "new.example.test")
	})

	world.API.AddToken(acmetest.Token{Value: otherValidToken, Zones: []string{"example.test"}})
	writeFile(t, filepath.Join(dir, "token"), otherValidToken)
	began := time.Now()
	i.await(from, obtained, func(l logLine) bool { return l.message() == obtained && strings.Contains(l.raw, "new.example.test") })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("healing took %v", took)
	}
	if _, body := page(t, client, "https://new.example.test/"); body != "still here" {
		t.Errorf("the new site answers %q", body)
	}
	logged := map[float64]int{} // lines for each attempt
	for _, line := range i.all() {
		if line.message() == notObtained {
			attempt, _ := line.fields["attempt"].(float64)
			logged[attempt]++
		}
	}
	if logged[1] == 0 {
		t.Error("the first attempt's failure is not numbered 1")
	}
	for attempt, lines := range logged {
		if lines != 1 {
			t.Errorf("the failure of attempt %v is logged %d times, want once", attempt, lines)
		}
	}
}

// TestUnknownNameGetsAnAlertAndNoCertificate: a scanner learns nothing.
func TestUnknownNameGetsAnAlertAndNoCertificate(t *testing.T) {
	dir := shortDir(t)
	i := start(t, nil, "run", "--config", writeConfig(t, dir, internalSite("http://127.0.0.1:9")))
	for _, name := range []string{"other.localhost", ""} {
		conn, err := tls.Dial("tcp", i.https(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil {
			_, _ = io.WriteString(conn, "x")
			_ = conn.Close()
			t.Errorf("%q got a certificate", name)
		} else if !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q got %v, want the alert unrecognized_name", name, err)
		}
	}
}
