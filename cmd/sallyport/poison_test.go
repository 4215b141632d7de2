package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// The tokens of the poisoned environment tests. The second is valid, but not
// the one that the configuration names: using it would work and be wrong.
const (
	configuredToken = "cfut_configured1111111111111111111111111111111111111"
	otherValidToken = "cfut_other222222222222222222222222222222222222222222"
)

// internet starts the stand-ins with a tripwire for a proxy.
func internet(t *testing.T, zones ...string) (*acmetest.World, *acmetest.Tripwire) {
	t.Helper()
	world, err := acmetest.Start(acmetest.Options{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	tripwire, err := acmetest.StartTripwire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tripwire.Close() })
	return world, tripwire
}

// worldConfig is the part of a configuration that points at the stand-ins,
// with a token file for zones. It writes the files that it names into dir.
func worldConfig(t *testing.T, dir string, world *acmetest.World, token string, zones ...string) string {
	t.Helper()
	writeFile(t, filepath.Join(dir, "root.pem"), string(world.RootPEM))
	writeFile(t, filepath.Join(dir, "issuing.pem"), string(world.IssuingRootPEM()))
	writeFile(t, filepath.Join(dir, "token"), token+"\n")
	return fmt.Sprintf(`acme:
  email: ops@example.test
  ca: %q
  ca_root: root.pem
  resolvers: [%q]
  propagation: {servers: [%q], interval: 50ms}
cloudflare:
  - zones: [%s]
    token_file: token
    api_url: %q
    api_root: root.pem
`, world.DirectoryURL, world.DNS.Addr, world.DNS.Addr, strings.Join(zones, ", "), world.API.URL)
}

// challengeValue is what differs between two orders of one name by nature: the
// digest in the TXT record. Record identifiers are counted by the stand-in.
var (
	challengeValue   = regexp.MustCompile(`[A-Za-z0-9_-]{43}`)
	recordIdentifier = regexp.MustCompile(`dns_records/[0-9a-f]{32}`)
)

// transcript is every byte of the API calls that a client chooses.
func transcript(requests []acmetest.Request) string {
	var text bytes.Buffer
	for _, r := range requests {
		path := recordIdentifier.ReplaceAllString(r.Path, "dns_records/RECORD")
		fmt.Fprintf(&text, "%s %s %s\n", r.Method, challengeValue.ReplaceAllString(path, "DIGEST"), r.Proto)
		header := r.Header.Clone()
		header.Del("Content-Length") // of the body below
		_ = header.Write(&text)
		fmt.Fprintf(&text, "\n%s\n", challengeValue.ReplaceAll(r.Body, []byte("DIGEST")))
	}
	return strings.ReplaceAll(text.String(), configuredToken, "THE-CONFIGURED-TOKEN")
}

// TestPoisonedEnvironmentChangesNothing starts the program with each variable
// that has ever beaten a configured token or bent a connection, alone and all
// together, empty, stale and valid but another's, and compares every byte of
// what reaches the API with a run that has no environment.
func TestPoisonedEnvironmentChangesNothing(t *testing.T) {
	world, tripwire := internet(t, "example.test")
	for _, token := range []string{configuredToken, otherValidToken} {
		world.API.AddToken(acmetest.Token{Value: token, Zones: []string{"example.test"}})
	}
	obtain := func(t *testing.T, environment []string) string {
		t.Helper()
		world.API.ResetRequests()
		dir := shortDir(t)
		path := writeConfig(t, dir, worldConfig(t, dir, world, configuredToken, "example.test")+
			"sites: {app.example.test: 'http://127.0.0.1:9'}\n")
		i := start(t, environment, "run", "--config", path)
		i.awaitMessage("certificate obtained")
		if err := world.API.WaitRequest(context.Background(), func(r acmetest.Request) bool {
			return r.Method == http.MethodDelete && r.Status == http.StatusOK
		}); err != nil {
			t.Fatal(err)
		}
		if got := i.proc("environ"); got != "" {
			t.Errorf("environ is %q, want nothing", got)
		}
		i.stop(syscall.SIGTERM)
		if n := tripwire.Count(); n != 0 {
			t.Errorf("the proxy of the environment got %d connections", n)
		}
		requests := world.API.Requests()
		for _, r := range requests {
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Auth-") {
					t.Errorf("the API got %s", name)
				}
			}
			if r.Token != configuredToken {
				t.Errorf("%s %s was authorised by another token", r.Method, r.Path)
			}
		}
		return transcript(requests)
	}

	clean := obtain(t, nil)
	if !strings.Contains(clean, "POST ") || !strings.Contains(clean, "DELETE ") {
		t.Fatalf("the clean run made no record:\n%s", clean)
	}
	same := func(t *testing.T, environment ...string) {
		t.Helper()
		if got := obtain(t, environment); got != clean {
			t.Errorf("the API saw something else than in a clean environment.\nclean:\n%s\ngot:\n%s", clean, got)
		}
	}
	all := map[string][]string{}
	// HOME misleads nobody, so it is not reported; certmagic keeps its data there by default.
	for _, name := range append(slices.Clone(issueVariables), "HOME") {
		for kind, value := range poisonsOf(name, tripwire.URL(), t.TempDir()) {
			all[kind] = append(all[kind], name+"="+value)
			t.Run(name+" "+kind, func(t *testing.T) { same(t, name+"="+value) })
		}
	}
	for kind, environment := range all {
		t.Run("all "+kind, func(t *testing.T) { same(t, environment...) })
	}
}

// poisonsOf gives a variable's values: empty, stale and valid but another's.
func poisonsOf(name, proxy, dir string) map[string]string {
	stale, other := "stale", otherValidToken
	switch {
	case strings.HasSuffix(name, "EMAIL"):
		stale, other = "stale@example.test", "other@example.test"
	case strings.HasSuffix(name, "API_KEY"):
		stale, other = "0123456789abcdef0123456789abcdef01234", "fedcba9876543210fedcba9876543210fedcb"
	case strings.EqualFold(name, "NO_PROXY"):
		stale, other = "example.invalid", "*"
	case strings.HasSuffix(strings.ToUpper(name), "_PROXY"):
		stale, other = "http://127.0.0.1:9", proxy
	case name == "SSL_CERT_FILE", name == "CLOUDFLARE_CFG":
		stale, other = "/nonexistent", filepath.Join(dir, "other")
	case name == "SSL_CERT_DIR", name == "HOME":
		stale, other = "/nonexistent", dir
	case name == "GODEBUG":
		stale, other = "http2debug=1", "http2debug=2,x509usefallbackroots=1,netdns=cgo"
	}
	return map[string]string{"empty": "", "stale": stale, "valid but another's": other}
}
