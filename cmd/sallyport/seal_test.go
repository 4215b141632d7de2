package main

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// issueVariables are the names that the seal promises to report.
var issueVariables = strings.Fields(`
	CF_API_KEY CF_API_EMAIL CF_API_TOKEN CF_DNS_API_TOKEN CF_ZONE_API_TOKEN
	CLOUDFLARE_API_TOKEN CLOUDFLARE_API_KEY CLOUDFLARE_EMAIL CLOUDFLARE_CFG CLOUDFLARE_DNS_API_TOKEN
	HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
	SSL_CERT_FILE SSL_CERT_DIR GODEBUG`)

func TestSiftKeepsOnlyTheServiceManagersProtocol(t *testing.T) {
	kept, dropped := sift([]string{
		"NOTIFY_SOCKET=/run/n", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "LISTEN_PID=1", "WATCHDOG_USEC=1", "WATCHDOG_PID=1",
		"NOTIFY_SOCKET_2=x", "PATH=/bin", "EMPTY=", "novalue", "notify_socket=/x",
	})
	if want := []string{"NOTIFY_SOCKET=/run/n", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "LISTEN_PID=1", "WATCHDOG_USEC=1", "WATCHDOG_PID=1"}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	if len(dropped) != 5 {
		t.Errorf("dropped %q, want the other five", dropped)
	}
}

func TestIgnoredNamesHoldEveryVariableOfThe6003StoryAndNoValue(t *testing.T) {
	const canary = "canary-value"
	environment := []string{"PATH=" + canary, "HOME=" + canary, "LANG=" + canary}
	for _, name := range issueVariables {
		environment = append(environment, name+"="+canary)
	}
	names := ignoredNames(environment)
	for _, name := range issueVariables {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not reported", name)
		}
	}
	if len(names) != len(issueVariables) {
		t.Errorf("reported %q, want exactly %d names", names, len(issueVariables))
	}
	if strings.Contains(strings.Join(names, " "), canary) {
		t.Errorf("a value is shown: %q", names)
	}
}

func TestSealingLogsOneLineForVariablesAndOneForAFailure(t *testing.T) {
	tests := []struct {
		name    string
		sealing sealing
		want    []string
	}{
		{"clean", sealing{}, nil},
		{"ignored", sealing{ignored: []string{"CF_API_KEY"}}, []string{"environment variables ignored"}},
		{"not sealed", sealing{failure: errSealedTwice}, []string{"environment cleared in place, not sealed: this process could not be re-executed"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			core, logs := observer.New(zapcore.DebugLevel)
			test.sealing.log(zap.New(core))
			var got []string
			for _, entry := range logs.All() {
				got = append(got, entry.Message)
				if entry.ContextMap()["hint"] == nil {
					t.Errorf("%q has no hint", entry.Message)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("logged %q, want %q", got, test.want)
			}
		})
	}
}
