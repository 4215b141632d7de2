package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config/secret"
	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// TestTokenNeverShows drives every failure through every door, prints whatever
// comes out in all the ways that fmt knows, and looks for a piece of a token in
// it and in the log at debug level (newSetup's clean-up does that).
func TestTokenNeverShows(t *testing.T) {
	always := func(f acmetest.Failure) func(*setup) {
		return func(s *setup) { f.Times = -1; s.world.API.FailNext(f) }
	}
	grant := func(token acmetest.Token) func(*setup) {
		return func(s *setup) {
			token.Value = tokenCom
			s.world.API.AddToken(token)
		}
	}
	content := func(text string) func(*setup) {
		return func(s *setup) { s.write(s.com, text) }
	}
	for name, breakIt := range map[string]func(*setup){
		"revoked":       func(s *setup) { s.world.API.RevokeToken(tokenCom) },
		"address":       grant(acmetest.Token{Zones: []string{"example.com"}, IPFiltered: true}),
		"read only":     grant(acmetest.Token{Zones: []string{"example.com"}, Permissions: acmetest.ZoneRead | acmetest.DNSRead}),
		"no permission": grant(acmetest.Token{Zones: []string{"example.com"}, Permissions: acmetest.NoPermission}),
		"other zones":   grant(acmetest.Token{Zones: []string{"example.net"}}),
		"unknown form":  content("CANARY.CANARY"),
		"429":           always(acmetest.Failure{Status: http.StatusTooManyRequests, RetryAfter: time.Hour}),
		"400":           always(acmetest.Failure{Status: http.StatusBadRequest, Code: 6003}),
		"HTML 403":      always(acmetest.Failure{Status: http.StatusForbidden, HTML: true}),
		"echo": always(acmetest.Failure{Status: http.StatusBadRequest, Code: 1, Message: "what is " + tokenCom + "?", Match: func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer "+tokenCom
		}}),
		"no server":   func(s *setup) { _ = s.world.Close() },
		"panic":       func(s *setup) { s.PanicWith(fmt.Errorf("provider with %s", tokenCom)) },
		"quotes":      content(`"` + tokenCom + `"`),
		"assignment":  content("TOKEN=" + tokenCom),
		"bearer":      content("Bearer " + tokenCom),
		"lines":       content(tokenCom + "\n" + tokenCom),
		"global key":  content("cfk_" + tokenCom),
		"certbot key": content("dns_cloudflare_email = CANARY@example.com\ndns_cloudflare_api_key = " + tokenCom),
		"not ASCII":   content(tokenCom + "é"),
		"control":     content(tokenCom + "\x07"),
		"large":       content(strings.Repeat(tokenCom, 100)),
		"removed":     func(s *setup) { _ = os.Remove(s.com) },
		"not a file":  func(s *setup) { _ = os.Remove(s.com); _ = os.Mkdir(s.com, 0o700) },
	} {
		for _, before := range []string{"from the start", "after a good token"} {
			t.Run(name+" "+before, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t, func(o *cloudflare.Options) { o.PropagationTimeout = 200 * time.Millisecond })
				c := challenge("app.example.com", "key")
				if before == "after a good token" {
					if err := s.Present(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				breakIt(s)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				reports := s.Preflight(ctx)
				watching, stop := context.WithCancel(ctx)
				stop()
				all := []any{
					s.Present(ctx, challenge("b.example.com", "b")), s.Wait(ctx, c), s.CleanUp(ctx, c), s.Sweep(ctx),
					s.Watch(watching, func(string) {}), reports, reports[0].Err(),
				}
				told := ""
				for _, v := range all {
					told += fmt.Sprintf("%v\n%+v\n%#v\n%q\n", v, v, v, v)
					if err, ok := v.(error); ok {
						told += cloudflare.Hint(err)
						for ; err != nil; err = errors.Unwrap(err) {
							told += fmt.Sprintf("%v\n%+v\n%#v\n", err, err, err)
						}
					}
				}
				if strings.Contains(told, canary) {
					t.Errorf("a token shows:\n%s", told)
				}
				if before == "from the start" && all[0] == nil {
					t.Error("nothing failed: this test shows nothing")
				}
			})
		}
	}
}

// A Mux holds tokens while it is in use; printing one shows none.
func TestPrintingAMuxShowsNoToken(t *testing.T) {
	s := newSetup(t, func(o *cloudflare.Options) { o.Credentials[1].Source = cloudflare.Inline(secret.New(tokenNet)) })
	for _, name := range []string{"a.example.com", "a.example.net"} {
		if err := s.Present(t.Context(), challenge(name, "key")); err != nil {
			t.Fatal(err)
		}
	}
	source := cloudflare.Inline(secret.New(tokenNet))
	s.logger.Info("values", zap.Any("mux", s.Mux), zap.Any("source", source), zap.Reflect("reflected", source))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if told := fmt.Sprintf(verb+verb, s.Mux, source); strings.Contains(told, canary) || strings.Contains(told, "43414e415259") {
			t.Errorf("%s: %s", verb, told)
		}
	}
}

// TestNothingAmbientIsUsed runs itself in a process with a poisoned environment:
// net/http and crypto/x509 look at theirs once.
func TestNothingAmbientIsUsed(t *testing.T) {
	const inChild = "SALLYPORT_TEST_TRIPWIRE"
	if os.Getenv(inChild) == "" {
		trap, err := acmetest.StartTripwire()
		if err != nil {
			t.Fatal(err)
		}
		defer trap.Close()
		child := exec.Command(os.Args[0], "-test.run=^TestNothingAmbientIsUsed$")
		child.Env = []string{inChild + "=yes", "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/dev/null", "GODEBUG=http2debug=2", "TMPDIR=" + t.TempDir()}
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
			child.Env = append(child.Env, name+"="+trap.URL())
		}
		for _, name := range []string{"CF_API_KEY", "CF_API_EMAIL", "CF_API_TOKEN", "CF_DNS_API_TOKEN", "CF_ZONE_API_TOKEN", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_KEY", "CLOUDFLARE_EMAIL"} {
			child.Env = append(child.Env, name+"=stale")
		}
		said, err := child.CombinedOutput()
		if err != nil || strings.Contains(string(said), canary) {
			t.Errorf("%v\n%s", err, said)
		}
		// The child's last request is the control: the default client's.
		if n := trap.Count(); n != 1 {
			t.Errorf("%d connections to the proxy of the environment, want 1, the control's", n)
		}
		return
	}
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	if err := errors.Join(s.Present(t.Context(), c), s.Wait(t.Context(), c), s.CleanUp(t.Context(), c)); err != nil {
		t.Error(err)
	}
	for _, r := range s.world.API.Requests() {
		if r.Token != tokenCom || r.Header.Get("X-Auth-Email") != "" || r.Header.Get("X-Auth-Key") != "" {
			t.Errorf("request with headers %q", r.Header)
		}
	}
	if resp, err := http.Get(s.world.API.URL); err == nil {
		resp.Body.Close()
		t.Error("the control reached the API")
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	s := newSetup(t) // for roots and a resolver
	good := func() cloudflare.Options {
		return cloudflare.Options{
			Credentials: []cloudflare.Credential{{Name: "a", Zones: []string{"a.test"}, Source: cloudflare.File("/x"), Roots: s.world.Roots()}},
			Resolver:    s.world.Resolver(), Journal: s.journal,
		}
	}
	if _, err := cloudflare.New(good()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*cloudflare.Options){
		`cloudflare: a resolver is required`:                                                               func(o *cloudflare.Options) { o.Resolver = nil },
		`cloudflare: propagation timeout and interval must not be negative`:                                func(o *cloudflare.Options) { o.PropagationTimeout = -1 },
		`cloudflare: name server "192.0.2.1": address 192.0.2.1: missing port in address`:                  func(o *cloudflare.Options) { o.NameServers = []string{"192.0.2.1"} },
		`cloudflare: credential "": a name is required`:                                                    func(o *cloudflare.Options) { o.Credentials[0].Name = "" },
		`cloudflare: credential "a": the name is used twice`:                                               func(o *cloudflare.Options) { o.Credentials = append(o.Credentials, o.Credentials[0]) },
		`cloudflare: credential "a": a zone is required`:                                                   func(o *cloudflare.Options) { o.Credentials[0].Zones = nil },
		`cloudflare: credential "a": a zone is empty`:                                                      func(o *cloudflare.Options) { o.Credentials[0].Zones = []string{"."} },
		`cloudflare: credential "a": a token source is required`:                                           func(o *cloudflare.Options) { o.Credentials[0].Source = nil },
		`cloudflare: credential "a": roots are required`:                                                   func(o *cloudflare.Options) { o.Credentials[0].Roots = nil },
		`cloudflare: credential "a": api_url must be an https:// address without user, query and fragment`: func(o *cloudflare.Options) { o.Credentials[0].APIURL = "http://api.test" },
		`cloudflare: credential "b": zone "a.test" belongs to credential "a" already`: func(o *cloudflare.Options) {
			c := o.Credentials[0]
			c.Name, c.Zones = "b", []string{"A.test."}
			o.Credentials = append(o.Credentials, c)
		},
	} {
		o := good()
		change(&o)
		if _, err := cloudflare.New(o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	looking := good()
	looking.Journal = nil
	if m, err := cloudflare.New(looking); err != nil {
		t.Error(err)
	} else if err := m.Present(t.Context(), challenge("a.test", "key")); err == nil || !strings.HasSuffix(err.Error(), "not created, because it could not be journalled: there is no journal") {
		t.Errorf("a Mux without a journal: %v", err)
	}
	none := good()
	none.Credentials = nil
	m, err := cloudflare.New(none)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := m.Find("a.test"); ok {
		t.Error("found a zone without credentials")
	}
}
