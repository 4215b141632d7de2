package cloudflare_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config/secret"
	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

const newTokenCure = "make a new API token with Zone:Zone:Read and Zone:DNS:Edit on the listed zones at https://dash.cloudflare.com/profile/api-tokens and put it into token_file FILE"

const note = "  note: DNS:Edit cannot be verified without writing a record; only reading was tried\n"

func TestPreflightAnswersInPlainWords(t *testing.T) {
	both := []string{"example.com", "sub.example.com"}
	for name, c := range map[string]struct {
		token     acmetest.Token
		fail      *acmetest.Failure
		kind      cloudflare.TokenKind
		want      string // Report.String with FILE and FP for the file and the fingerprint, and N for ids
		temporary bool
		blocks    []string // zones for which no order may go ahead
	}{
		"user token": {
			token: acmetest.Token{Zones: both}, kind: cloudflare.KindUser,
			want: "credential \"com\" (token_file FILE, fingerprint FP, user token)\n  zone example.com: ok\n  zone sub.example.com: ok\n" + note,
		},
		"account token": {
			token: acmetest.Token{Zones: both, Account: true}, kind: cloudflare.KindAccount,
			want: "credential \"com\" (token_file FILE, fingerprint FP, account token)\n  zone example.com: ok\n  zone sub.example.com: ok\n" + note,
		},
		"too wide": {
			token: acmetest.Token{Zones: []string{acmetest.AllZones}}, kind: cloudflare.KindUser,
			want: "credential \"com\" (token_file FILE, fingerprint FP, user token)\n  zone example.com: ok\n  zone sub.example.com: ok\n" +
				"  warning: the token reaches zones that are not listed: example.net; restrict its Zone Resources to the listed zones at https://dash.cloudflare.com/profile/api-tokens\n" + note,
		},
		"one zone missing": {
			token: acmetest.Token{Zones: []string{"example.com"}}, kind: cloudflare.KindUser, blocks: []string{"sub.example.com"},
			want: "credential \"com\" (token_file FILE, fingerprint FP, user token)\n  zone example.com: ok\n" +
				"  zone sub.example.com: failed: credential \"com\": zone \"sub.example.com\": the token does not reach this zone\n" +
				"    hint: give the token Zone:Zone:Read and Zone:DNS:Edit on sub.example.com at https://dash.cloudflare.com/profile/api-tokens, or list the zone under the credential whose token covers it\n" + note,
		},
		"account token for other zones": { // it lives, whatever /user/tokens/verify says
			token: acmetest.Token{Zones: []string{"example.net"}, Account: true}, kind: cloudflare.KindUnknown, blocks: both,
			want: "credential \"com\" (token_file FILE, fingerprint FP, unknown token)\n" +
				"  zone example.com: failed: credential \"com\": zone \"example.com\": the token does not reach this zone\n" +
				"    hint: give the token Zone:Zone:Read and Zone:DNS:Edit on example.com at https://dash.cloudflare.com/profile/api-tokens, or list the zone under the credential whose token covers it\n" +
				"  zone sub.example.com: failed: credential \"com\": zone \"sub.example.com\": the token does not reach this zone\n" +
				"    hint: give the token Zone:Zone:Read and Zone:DNS:Edit on sub.example.com at https://dash.cloudflare.com/profile/api-tokens, or list the zone under the credential whose token covers it\n" +
				"  warning: the token reaches zones that are not listed: example.net; restrict its Zone Resources to the listed zones at https://dash.cloudflare.com/profile/api-tokens\n",
		},
		"no DNS permission": {
			token: acmetest.Token{Zones: both, Permissions: acmetest.ZoneRead}, kind: cloudflare.KindUser, blocks: both,
			want: "credential \"com\" (token_file FILE, fingerprint FP, user token)\n" +
				"  zone example.com: failed: credential \"com\": zone \"example.com\": the token is not allowed to do this (GET /zones/N/dns_records: status 403, code 10000 \"Authentication error\")\n" +
				"    hint: give the token Zone:DNS:Edit on example.com: https://dash.cloudflare.com/profile/api-tokens\n" +
				"  zone sub.example.com: failed: credential \"com\": zone \"sub.example.com\": the token is not allowed to do this (GET /zones/N/dns_records: status 403, code 10000 \"Authentication error\")\n" +
				"    hint: give the token Zone:DNS:Edit on sub.example.com: https://dash.cloudflare.com/profile/api-tokens\n",
		},
		"dead": {
			token: acmetest.Token{Zones: both, Revoked: true}, kind: cloudflare.KindUnknown, blocks: both,
			want: "credential \"com\" (token_file FILE, fingerprint FP, unknown token)\n" +
				"  token: failed: credential \"com\": the token is not valid: revoked, expired or mistyped (GET /user/tokens/verify: status 401, code 1000 \"Invalid API Token\")\n" +
				"    hint: " + newTokenCure + "\n",
		},
		"wrong address": {
			token: acmetest.Token{Zones: both, IPFiltered: true}, kind: cloudflare.KindUnknown, blocks: both,
			want: "credential \"com\" (token_file FILE, fingerprint FP, unknown token)\n" +
				"  token: failed: credential \"com\": zone \"example.com\": the token may not be used from this machine's address (GET /zones: status 403, code 9109 \"Cannot use the access token from location: 127.0.0.1\")\n" +
				"    hint: add this machine's public address to the token's Client IP Address Filtering at https://dash.cloudflare.com/profile/api-tokens\n",
		},
		"outage": {
			token: acmetest.Token{Zones: both}, kind: cloudflare.KindUnknown, temporary: true,
			fail: &acmetest.Failure{Times: 4, Status: http.StatusBadGateway, HTML: true},
			want: "credential \"com\" (token_file FILE, fingerprint FP, unknown token)\n" +
				"  token: unknown for now: credential \"com\": the API is not available (GET /user/tokens/verify: status 502)\n" +
				"    hint: wait; outages are shown at https://www.cloudflarestatus.com\n",
		},
		"throttled": {
			token: acmetest.Token{Zones: both}, kind: cloudflare.KindUnknown, temporary: true,
			fail: &acmetest.Failure{Status: http.StatusTooManyRequests, RetryAfter: 300e9},
			want: "credential \"com\" (token_file FILE, fingerprint FP, unknown token)\n" +
				"  token: unknown for now: credential \"com\": the API is throttling calls (GET /user/tokens/verify: status 429, code 971 \"Please wait and consider throttling your request speed\")\n" +
				"    hint: wait; look for other programs that use tokens of the same Cloudflare user\n",
		},
		"outage of one zone": {
			token: acmetest.Token{Zones: both}, kind: cloudflare.KindUser, temporary: true,
			fail: &acmetest.Failure{Times: 4, Status: http.StatusServiceUnavailable, Match: func(r *http.Request) bool { return r.URL.Query().Get("name") == "example.com" }},
			want: "credential \"com\" (token_file FILE, fingerprint FP, user token)\n" +
				"  zone example.com: unknown for now: credential \"com\": zone \"example.com\": the API is not available (GET /zones: status 503, code 10001 \"service unavailable\")\n" +
				"    hint: wait; outages are shown at https://www.cloudflarestatus.com\n" +
				"  zone sub.example.com: ok\n" + note,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			c.token.Value = tokenCom
			s.world.API.AddToken(c.token)
			if c.fail != nil {
				s.world.API.FailNext(*c.fail)
			}
			r := s.PreflightOf(t.Context(), "com")
			got := strings.NewReplacer(s.com, "FILE", secret.New(tokenCom).Fingerprint(), "FP").Replace(r.String())
			for _, zone := range both {
				got = strings.ReplaceAll(got, zoneID(s, zone), "N")
			}
			if got != c.want {
				t.Errorf("report\n got %s\nwant %s", got, c.want)
			}
			if r.Kind != c.kind {
				t.Errorf("kind %s, want %s", r.Kind, c.kind)
			}
			if bad := c.temporary || len(c.blocks) > 0; (r.Err() != nil) != bad {
				t.Errorf("Err is %v", r.Err())
			}
			if r.Temporary() != c.temporary {
				t.Errorf("Temporary is %v", r.Temporary())
			}
			if known := s.Status()[0]; known.Used.IsZero() || (known.Err != nil) != (r.Err() != nil) {
				t.Errorf("status knows %+v of %v", known, r.Err())
			}
			for _, zone := range append(both, "SUB.example.com.") {
				if blocked := slices.Contains(c.blocks, strings.ToLower(strings.TrimSuffix(zone, "."))); (r.Blocks(zone) != nil) != blocked {
					t.Errorf("Blocks(%s) is %v", zone, r.Blocks(zone))
				}
			}
		})
	}
}

// zoneID finds the id that the API has shown for a zone.
func zoneID(s *setup, zone string) string {
	for i, r := range s.world.API.Requests() {
		if strings.HasSuffix(r.Path, "?name="+zone) && i+1 < len(s.world.API.Requests()) {
			if parts := strings.Split(s.world.API.Requests()[i+1].Path, "/"); len(parts) > 4 {
				return parts[4]
			}
		}
	}
	return "no id"
}

func TestPreflightOnlyReadsInAFixedOrder(t *testing.T) {
	s := newSetup(t)
	reports := s.Preflight(t.Context())
	if len(reports) != 2 || reports[0].Credential != "com" || reports[1].Credential != "net" {
		t.Fatalf("reports %v", reports)
	}
	if got := reports[0].Zones[0]; !got.OK || !slices.Equal(got.NameServers, []string{"ns1.sallyport.test", "ns2.sallyport.test"}) {
		t.Errorf("zone %+v", got)
	}
	s.world.API.ResetRequests()
	s.PreflightOf(t.Context(), "com")
	want := []string{
		"GET /user/tokens/verify 200", "GET /zones 200", "GET /zones/ID/dns_records 200",
		"GET /zones 200", "GET /zones/ID/dns_records 200", "GET /zones 200",
	}
	if got := s.calls(); !slices.Equal(got, want) {
		t.Errorf("calls\n got %q\nwant %q", got, want)
	}
}

func TestPreflightWithoutAToken(t *testing.T) {
	s := newSetup(t)
	s.write(s.net, `"quoted"`)
	r := s.PreflightOf(t.Context(), "net")
	if want := fmt.Sprintf("credential \"net\" (token_file %s)\n  token: failed: credential \"net\": token_file %s: holds quotes\n    hint: write the token without quotes\n", s.net, s.net); r.String() != want {
		t.Errorf("report\n got %s\nwant %s", r, want)
	}
	if _, ok := errors.AsType[*cloudflare.TokenError](r.Blocks("example.net")); !ok || r.Temporary() {
		t.Errorf("blocks %v", r.Blocks("example.net"))
	}
	if r := s.PreflightOf(t.Context(), "nobody"); r.Err() == nil || r.Err().Error() != `credential "nobody" is not configured` {
		t.Errorf("got %v", r.Err())
	}
}

func TestManyForeignZonesAreCounted(t *testing.T) {
	s := newSetup(t)
	zones := []string{"example.com", "sub.example.com"}
	for i := range 70 {
		zones = append(zones, fmt.Sprintf("z%02d.test", i))
	}
	s.world.API.AddToken(acmetest.Token{Value: tokenCom, Zones: zones})
	r := s.PreflightOf(t.Context(), "com")
	if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "the token reaches zones that are not listed: z00.test, z01.test, z02.test, z03.test, z04.test and 65 more; ") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if r.Err() != nil {
		t.Error(r.Err())
	}
}
