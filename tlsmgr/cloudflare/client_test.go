package cloudflare

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/config/secret"
)

const canary = "cfut_CANARY0123456789CANARY0123456789CANARY0123456789"

// fakeAPI answers the requests of a client under test without a network, so that
// synctest can run its clock.
type fakeAPI func(req *http.Request) (*http.Response, error)

func (f fakeAPI) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(status int, body string, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Set(headers[i], headers[i+1])
	}
	return resp
}

const okBody = `{"success":true,"errors":[],"messages":[],"result":[]}`

func failure(codes ...any) string {
	var all []string
	for i := 0; i < len(codes); i += 2 {
		all = append(all, fmt.Sprintf(`{"code":%d,"message":%q}`, codes[i], codes[i+1]))
	}
	return `{"success":false,"errors":[` + strings.Join(all, ",") + `],"messages":[],"result":null}`
}

// newTestClient makes the client of credential "main" for example.com.
func newTestClient(t *testing.T, rt http.RoundTripper, apiURL string) (*client, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	c := Credential{Name: "main", Source: File("/run/secrets/cf"), APIURL: apiURL, Roots: x509.NewCertPool()}
	api, err := newEndpoint(c, new(net.Resolver), zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	if rt != nil {
		api.http.Transport = rt
	}
	return &client{endpoint: api, token: secret.New(canary), zone: "example.com"}, logs
}

func request(t *testing.T, ctx context.Context, method, path, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, libraryURL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const recordsPath = "/zones/0123456789abcdef0123456789abcdef/dns_records"

func TestAnswersBecomeErrorsWithCause(t *testing.T) {
	newToken := func(wanted string) string {
		return "make a new API token with " + wanted + " at " + tokenPage + " and put it into token_file /run/secrets/cf"
	}
	const edit = "Zone:DNS:Edit on example.com"
	gateway := "look for a gateway between here and the API, and check api_url"
	for name, c := range map[string]struct {
		method, path string // default: POST recordsPath
		resp         *http.Response
		text, hint   string
		temporary    bool
	}{
		"6003 with chain": {
			resp: answer(400, `{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format for Authorization header"}]}]}`),
			text: `what was sent is not an API token by its form (POST ` + recordsPath + `: status 400, code 6003 "Invalid request headers", code 6111 "Invalid format for Authorization header")`,
			hint: "check token_file /run/secrets/cf: it must hold an API token, not a Global API Key; " + newToken(edit),
		},
		"6103": {
			resp: answer(400, `{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6103,"message":"Invalid format for X-Auth-Key header"}]}]}`),
			text: `the API saw X-Auth headers, which Sallyport never sends (POST ` + recordsPath + `: status 400, code 6003 "Invalid request headers", code 6103 "Invalid format for X-Auth-Key header")`,
			hint: "look for a gateway between here and the API (api_url) that adds them",
		},
		"9106": {
			resp: answer(400, failure(9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")),
			text: `no Authorization header reached the API (POST ` + recordsPath + `: status 400, code 9106 "Missing X-Auth-Key, X-Auth-Email or Authorization headers")`,
			hint: "look for a gateway between here and the API (api_url) that removes it",
		},
		"1000": {
			method: "GET", path: "/user/tokens/verify", resp: answer(401, failure(1000, "Invalid API Token")),
			text: `the token is not valid: revoked, expired or mistyped (GET /user/tokens/verify: status 401, code 1000 "Invalid API Token")`,
			hint: newToken("Zone:Zone:Read and Zone:DNS:Edit on example.com"),
		},
		"9109": {
			method: "GET", path: "/zones?name=example.com", resp: answer(403, failure(9109, "Invalid access token")),
			text: `the token is not accepted: revoked, expired, or not allowed to do this (GET /zones: status 403, code 9109 "Invalid access token")`,
			hint: "give the token Zone:Zone:Read on example.com at " + tokenPage + "; if it is no longer listed there, put a new one into token_file /run/secrets/cf",
		},
		"9109 by address": {
			resp: answer(403, failure(9109, "Cannot use the access token from location: 192.0.2.1")),
			text: `the token may not be used from this machine's address (POST ` + recordsPath + `: status 403, code 9109 "Cannot use the access token from location: 192.0.2.1")`,
			hint: "add this machine's public address to the token's Client IP Address Filtering at " + tokenPage,
		},
		"10000": {
			resp: answer(403, failure(10000, "Authentication error")),
			text: `the token is not allowed to do this (POST ` + recordsPath + `: status 403, code 10000 "Authentication error")`,
			hint: "give the token Zone:DNS:Edit on example.com: https://dash.cloudflare.com/profile/api-tokens",
		},
		"7003": {
			resp: answer(404, failure(7003, "Could not route to /zones/x, perhaps your object identifier is invalid?", 7000, "No route for that URI")),
			text: `the API does not know this zone or address (POST ` + recordsPath + `: status 404, code 7003 "Could not route to /zones/x, perhaps your object identifier is invalid?", code 7000 "No route for that URI")`,
			hint: "check that the zone is still in the account that the token belongs to, and that api_url is right",
		},
		"81045": {
			resp: answer(400, failure(81045, "The record quota has been exceeded.")),
			text: `the zone has as many records as its plan allows (POST ` + recordsPath + `: status 400, code 81045 "The record quota has been exceeded.")`,
			hint: "delete DNS records that are not needed; left-over _acme-challenge TXT records first",
		},
		"81053": {
			resp: answer(400, failure(81053, "An A, AAAA, or CNAME record with that host already exists.")),
			text: `another record (a CNAME, most likely) has the challenge's name (POST ` + recordsPath + `: status 400, code 81053 "An A, AAAA, or CNAME record with that host already exists.")`,
			hint: delegationCure,
		},
		"unknown code": {
			resp: answer(400, failure(99999, "Something\nnew")),
			text: `the API refused the call (POST ` + recordsPath + `: status 400, code 99999 "Something new")`,
		},
		"unknown code, forbidden": {
			resp: answer(403, failure(99999, "No")),
			text: `the token is not allowed to do this (POST ` + recordsPath + `: status 403, code 99999 "No")`,
			hint: "give the token Zone:DNS:Edit on example.com: " + tokenPage,
		},
		"971": {
			resp: answer(400, failure(971, "Please wait and consider throttling your request speed")),
			text: `the API is throttling calls (POST ` + recordsPath + `: status 400, code 971 "Please wait and consider throttling your request speed")`, temporary: true,
			hint: "wait; look for other programs that use tokens of the same Cloudflare user",
		},
		"429": {
			resp: answer(429, "{}", "Retry-After", "300"),
			text: `the API is throttling calls (POST ` + recordsPath + `: status 429)`,
			hint: "wait; look for other programs that use tokens of the same Cloudflare user", temporary: true,
		},
		"HTML 502": {
			resp: answer(502, "<html><body>bad gateway</body></html>", "Content-Type", "text/html"),
			text: `the API is not available (POST ` + recordsPath + `: status 502)`,
			hint: "wait; outages are shown at https://www.cloudflarestatus.com", temporary: true,
		},
		"HTML 403": {
			resp: answer(403, " <!DOCTYPE html>blocked"),
			text: `the answer is not one of Cloudflare's API (POST ` + recordsPath + `: status 403)`, hint: gateway, temporary: true,
		},
		"redirect": {
			resp: answer(302, "", "Location", "https://elsewhere.example/"),
			text: `the answer is not one of Cloudflare's API (POST ` + recordsPath + `: status 302)`, hint: gateway, temporary: true,
		},
		"plain text": {
			resp: answer(200, "ok"),
			text: `the answer is not one of Cloudflare's API (POST ` + recordsPath + `: status 200)`, hint: gateway, temporary: true,
		},
		"JSON of somebody else": {
			resp: answer(200, `{"token":"x"}`),
			text: `the answer is not one of Cloudflare's API (POST ` + recordsPath + `: status 200)`, hint: gateway, temporary: true,
		},
		"too large": {
			resp: answer(200, okBody+strings.Repeat(" ", maxAnswerBytes)),
			text: `the answer is not one of Cloudflare's API (POST ` + recordsPath + `: status 200)`, hint: gateway, temporary: true,
		},
		"list that is none": {
			method: "GET", path: recordsPath, resp: answer(200, `{"success":true,"result":{}}`),
			text: `the answer is not one of Cloudflare's API (GET ` + recordsPath + `: status 200)`, hint: gateway, temporary: true,
		},
		"success with errors": {
			resp: answer(200, `{"success":true,"errors":[{"code":1004,"message":"DNS Validation Error"}],"result":null}`),
			text: `the API refuses the record (POST ` + recordsPath + `: status 200, code 1004 "DNS Validation Error")`,
		},
		"failure with status 200": {
			resp: answer(200, failure(10000, "Authentication error")),
			text: `the token is not allowed to do this (POST ` + recordsPath + `: status 200, code 10000 "Authentication error")`,
			hint: "give the token Zone:DNS:Edit on example.com: " + tokenPage,
		},
		"no zone": {
			method: "GET", path: "/zones?name=example.com", resp: answer(200, okBody),
			text: `the token does not reach this zone`,
			hint: "give the token Zone:Zone:Read and Zone:DNS:Edit on example.com at " + tokenPage + ", or list the zone under the credential whose token covers it",
		},
		"two zones": {
			method: "GET", path: "/zones?name=example.com", resp: answer(200, `{"success":true,"result":[{},{}]}`),
			text: `the token reaches 2 zones of this name`,
			hint: "restrict the token's Zone Resources to the account that serves the zone: " + tokenPage,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body, _ := io.ReadAll(c.resp.Body)
				api, _ := newTestClient(t, fakeAPI(func(*http.Request) (*http.Response, error) {
					resp := *c.resp
					resp.Body = io.NopCloser(bytes.NewReader(body))
					return &resp, nil
				}), "")
				if c.method == "" {
					c.method, c.path = http.MethodPost, recordsPath
				}
				ctx, sink := withSink(t.Context())
				_, err := api.Do(request(t, ctx, c.method, c.path, ""))
				if sink.get() != err {
					t.Errorf("the sink has %v", sink.get())
				}
				if e, ok := errors.AsType[*APIError](fmt.Errorf("certmagic: %w", err)); !ok || e.Status != c.resp.StatusCode {
					t.Fatalf("got %#v", err)
				}
				if want := `credential "main": zone "example.com": ` + c.text; err.Error() != want {
					t.Errorf("error\n got %s\nwant %s", err, want)
				}
				if Hint(err) != c.hint {
					t.Errorf("hint\n got %s\nwant %s", Hint(err), c.hint)
				}
				if Temporary(err) != c.temporary {
					t.Errorf("Temporary is %v", !c.temporary)
				}
			})
		})
	}
}

func TestAPIThatEchoesTheTokenCannotLeakIt(t *testing.T) {
	api, logs := newTestClient(t, fakeAPI(func(req *http.Request) (*http.Response, error) {
		return answer(400, failure(1, req.Header.Get("Authorization"))), nil
	}), "")
	_, err := api.Do(request(t, t.Context(), http.MethodGet, "/zones", ""))
	if told := fmt.Sprintf("%v %+v %#v %v", err, err, err, logs.All()); strings.Contains(told, "CANARY") || !strings.Contains(told, "Bearer [secret]") {
		t.Errorf("got %s", told)
	}
}

func TestRequestsAreRewrittenAndOnlyForTheAPI(t *testing.T) {
	var got *http.Request
	api, _ := newTestClient(t, fakeAPI(func(req *http.Request) (*http.Response, error) {
		got = req
		return answer(200, okBody), nil
	}), "https://gateway.example:8443/cf/v4/")
	req := request(t, t.Context(), http.MethodGet, "/zones?per_page=50&x=a%2Fb", "")
	req.Header.Set("Authorization", "Bearer ") // what libdns sends without a token
	if _, err := api.Do(req); err != nil {
		t.Fatal(err)
	}
	if want := "https://gateway.example:8443/cf/v4/zones?per_page=50&x=a%2Fb"; got.URL.String() != want {
		t.Errorf("sent to %s, want %s", got.URL, want)
	}
	if got.Header.Get("Authorization") != "Bearer "+canary || len(got.Header.Values("Authorization")) != 1 {
		t.Errorf("Authorization is %q", got.Header.Values("Authorization"))
	}
	if req.Header.Get("Authorization") != "Bearer " {
		t.Error("the caller's request has got the token")
	}
	got = nil
	for _, address := range []string{
		"https://evil.example/client/v4/zones", "http://api.cloudflare.com/client/v4/zones", "https://api.cloudflare.com.evil.example/client/v4/zones",
		"https://api.cloudflare.com/client/v4evil", "https://api.cloudflare.com@evil.example/client/v4/zones",
	} {
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.Do(req); err == nil || got != nil {
			t.Errorf("%s: sent, error %v", address, err)
		}
	}
}

func TestAPIURLsThatAreRefused(t *testing.T) {
	for _, address := range []string{"http://api.example", "https://", "https://user@api.example", "https://api.example?x=1", "https://api.example#x", "api.example", "https://%zz"} {
		if _, err := newEndpoint(Credential{Name: "main", Source: Inline(secret.New("x")), APIURL: address}, nil, zap.NewNop()); err == nil {
			t.Errorf("%s: accepted", address)
		}
	}
}

func TestRetriesWaitAsLongAsTheAPIWants(t *testing.T) {
	for name, c := range map[string]struct {
		header   func() string
		min, max time.Duration
	}{
		"seconds": {func() string { return "7" }, 7 * time.Second, 8 * time.Second},
		"date":    {func() string { return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat) }, 8 * time.Second, 10 * time.Second},
		"none":    {func() string { return "" }, 250 * time.Millisecond, 500 * time.Millisecond},
		"past":    {func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, 250 * time.Millisecond, 500 * time.Millisecond},
		"rubbish": {func() string { return "soon" }, 250 * time.Millisecond, 500 * time.Millisecond},
		"minus":   {func() string { return "-5" }, 250 * time.Millisecond, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies []string
				api, _ := newTestClient(t, fakeAPI(func(req *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(req.Body)
					bodies = append(bodies, string(body))
					if len(bodies) == 1 {
						return answer(429, failure(971, "slow down"), "Retry-After", c.header()), nil
					}
					return answer(200, okBody), nil
				}), "")
				start := time.Now()
				if _, err := api.Do(request(t, t.Context(), http.MethodPost, recordsPath, "body")); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < c.min || took > c.max {
					t.Errorf("took %v, want %v to %v", took, c.min, c.max)
				}
				if len(bodies) != 2 || bodies[0] != "body" || bodies[1] != "body" {
					t.Errorf("bodies %q", bodies)
				}
			})
		})
	}
}

func TestLongRetryAfterIsNotWaitedForAndStopsFurtherCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		api, _ := newTestClient(t, fakeAPI(func(*http.Request) (*http.Response, error) {
			if calls++; calls == 1 {
				return answer(429, failure(971, "slow down"), "Retry-After", "300"), nil
			}
			return answer(200, okBody), nil
		}), "")
		do := func() error {
			_, err := api.Do(request(t, t.Context(), http.MethodGet, "/zones", ""))
			return err
		}
		start := time.Now()
		for range 3 {
			err := do()
			e, ok := errors.AsType[*APIError](err)
			if !ok || e.Status != 429 || e.RetryAfter != 300*time.Second || e.Credential != "main" || !Temporary(err) {
				t.Errorf("got %#v", err)
			}
		}
		if time.Since(start) != 0 || calls != 1 {
			t.Errorf("%d calls in %v, want 1 in no time", calls, time.Since(start))
		}
		_ = sleep(t.Context(), 280*time.Second)
		if err := do(); err != nil || time.Since(start) != 300*time.Second || calls != 2 {
			t.Errorf("after the pause: %v, %d calls, %v", err, calls, time.Since(start))
		}
	})
}

func TestLostConnectionsAreTriedAgainBoundedly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		api, _ := newTestClient(t, fakeAPI(func(*http.Request) (*http.Response, error) {
			calls++
			return nil, errors.New("connection reset by peer")
		}), "")
		start := time.Now()
		_, err := api.Do(request(t, t.Context(), http.MethodDelete, recordsPath+"/x", ""))
		if want := `credential "main": zone "example.com": no answer from api.cloudflare.com: connection reset by peer`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if want := "check that this machine can open TCP connections to api.cloudflare.com (firewall, routing); no proxy is used"; Hint(err) != want {
			t.Errorf("hint %s", Hint(err))
		}
		if took := time.Since(start); calls != maxAttempts || took < 1750*time.Millisecond || took > 3500*time.Millisecond {
			t.Errorf("%d calls in %v", calls, took)
		}
	})
}

func TestCancelledContextEndsRetriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls := 0
		api, _ := newTestClient(t, fakeAPI(func(*http.Request) (*http.Response, error) {
			calls++
			return answer(503, failure(1, "down"), "Retry-After", "20"), nil
		}), "")
		start := time.Now()
		_, err := api.Do(request(t, ctx, http.MethodGet, "/zones", ""))
		if e, ok := errors.AsType[*APIError](err); !ok || e.Status != 503 || calls != 1 || time.Since(start) != time.Second {
			t.Errorf("got %v after %d calls in %v", err, calls, time.Since(start))
		}
	})
}

func TestNoMoreThan1200CallsInAny5Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		api, _ := newTestClient(t, fakeAPI(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Now())
			return answer(200, okBody), nil
		}), "")
		for range 3000 {
			if _, err := api.Do(request(t, t.Context(), http.MethodGet, "/zones", "")); err != nil {
				t.Fatal(err)
			}
		}
		if burst := at[callBurst-1].Sub(at[0]); burst != 0 {
			t.Errorf("the first %d calls took %v", callBurst, burst)
		}
		for i := range at[1200:] {
			if window := at[i+1200].Sub(at[i]); window < 5*time.Minute {
				t.Fatalf("calls %d to %d came within %v", i, i+1200, window)
			}
		}
	})
}

func TestTransportFollowsNoRedirectAndNoOtherRoot(t *testing.T) {
	reached := false
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("spoke %s", r.Proto)
		}
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	do := func(roots *x509.CertPool) error {
		api, err := newEndpoint(Credential{Name: "main", Source: Inline(secret.New("x")), APIURL: server.URL, Roots: roots}, new(net.Resolver), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer api.http.CloseIdleConnections()
		_, err = (&client{endpoint: api, token: secret.New(canary)}).Do(request(t, t.Context(), http.MethodGet, "/zones", ""))
		return err
	}
	if e, ok := errors.AsType[*APIError](do(roots)); !ok || e.Status != http.StatusTemporaryRedirect || reached {
		t.Errorf("redirect: got %v, followed: %v", e, reached)
	}
	start := time.Now()
	err := do(x509.NewCertPool())
	address, _ := url.Parse(server.URL)
	if want := "something between here and " + address.Host + " answers with its own certificate; if that is meant to be, name its root in api_root; check the clock too"; Hint(err) != want {
		t.Errorf("got %v, hint %s", err, Hint(err))
	}
	if took := time.Since(start); took > firstBackoff {
		t.Errorf("a certificate that is not trusted was tried again: %v", took)
	}
}
