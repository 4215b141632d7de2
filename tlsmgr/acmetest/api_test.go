package acmetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

const unknownToken = "unknown-123456789012345678901234567890123"

type code struct {
	Code    int
	Message string
	Chain   []code `json:"error_chain"`
}

type apiAnswer struct {
	status int
	header http.Header
	raw    string

	Success    *bool
	Errors     []code
	Messages   []code
	Result     json.RawMessage
	ResultInfo *struct {
		Page       int
		PerPage    int `json:"per_page"`
		Count      int
		TotalCount int `json:"total_count"`
	} `json:"result_info"`
}

// call is a request to the API: "METHOD PATH".
type call struct {
	what    string
	token   string
	body    string
	headers map[string]string
}

func (c call) do(t *testing.T, w *acmetest.World, client *http.Client) (apiAnswer, error) {
	t.Helper()
	method, path, _ := strings.Cut(c.what, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, w.API.URL+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		return apiAnswer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return apiAnswer{}, err
	}
	a := apiAnswer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("%s: %v in %s", c.what, err, raw)
		}
		if a.Success == nil || a.Errors == nil || a.Messages == nil || !strings.Contains(a.raw, `"result":`) {
			t.Errorf("%s: incomplete envelope: %s", c.what, raw)
		}
		if good := a.status < 400; a.Success != nil && *a.Success != good {
			t.Errorf("%s: status %d with success %v", c.what, a.status, *a.Success)
		}
	}
	return a, nil
}

func (c call) must(t *testing.T, w *acmetest.World) apiAnswer {
	t.Helper()
	a, err := c.do(t, w, w.HTTPClient())
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	return a
}

// zoneIDOf asks the API, as clients must.
func zoneIDOf(t *testing.T, w *acmetest.World, name string) string {
	t.Helper()
	var found []struct{ ID string }
	a := call{what: "GET /zones?name=" + name, token: goodToken}.must(t, w)
	if err := json.Unmarshal(a.Result, &found); err != nil || len(found) != 1 {
		t.Fatalf("zone %s: %s", name, a.raw)
	}
	if found[0].ID != w.API.ZoneID(name) {
		t.Errorf("zone %s has the id %s, ZoneID says %s", name, found[0].ID, w.API.ZoneID(name))
	}
	return found[0].ID
}

func TestAPIRefusesAsTheRealOneDoes(t *testing.T) {
	w := start(t, acmetest.Options{})
	zone := zoneIDOf(t, w, "example.com")
	records := "/zones/" + zone + "/dns_records"
	w.API.AddToken(acmetest.Token{Value: "revoked", Zones: []string{"example.com"}, Revoked: true})
	w.API.AddToken(acmetest.Token{Value: "rolled", Zones: []string{"example.com"}})
	w.API.RevokeToken("rolled")
	w.API.AddToken(acmetest.Token{Value: "account", Zones: []string{"example.com"}, Account: true})
	w.API.AddToken(acmetest.Token{Value: "filtered", Zones: []string{"example.com"}, IPFiltered: true})
	w.API.AddToken(acmetest.Token{Value: "net", Zones: []string{"example.net"}})
	w.API.AddToken(acmetest.Token{Value: "reader", Zones: []string{"example.com"}, Permissions: acmetest.ZoneRead | acmetest.DNSRead})
	w.API.AddToken(acmetest.Token{Value: "zones-only", Zones: []string{"example.com"}, Permissions: acmetest.ZoneRead})
	w.API.AddToken(acmetest.Token{Value: "dns-only", Zones: []string{"example.com"}, Permissions: acmetest.DNSEdit})
	w.API.AddToken(acmetest.Token{Value: "powerless", Zones: []string{"example.com"}, Permissions: acmetest.NoPermission})
	w.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "there", Content: `"text"`})
	w.API.SetRecord("example.com", acmetest.Record{Type: "A", Name: "host", Content: "192.0.2.1"})

	stale := map[string]string{"X-Auth-Key": "0123456789abcdef0123456789abcdef01234", "X-Auth-Email": "ops@example.com"}
	post := "POST " + records
	for _, test := range []struct {
		name string
		call
		status, code, chain int
		message             string
	}{
		{"no credential", call{what: "GET /zones"}, 400, 9106, 0, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"},
		{"no credential to verify", call{what: "GET /user/tokens/verify"}, 400, 1001, 0, `Missing "Authorization" header`},
		{"stale key", call{what: "GET /zones", headers: stale}, 400, 6003, 6103, "Invalid request headers"},
		{"stale key beside a good token", call{what: "GET /zones", token: goodToken, headers: stale}, 400, 6003, 6103, "Invalid request headers"},
		{"stale email beside a good token", call{what: "GET /zones", token: goodToken, headers: map[string]string{"X-Auth-Email": "ops@example.com"}}, 400, 6003, 6103, ""},
		{"stale email that is none", call{what: "GET /zones", token: goodToken, headers: map[string]string{"X-Auth-Email": "ops"}}, 400, 6003, 6102, ""},
		{"malformed token", call{what: "GET /zones", token: "0123456789abcdef0123456789abcdef01234"}, 400, 6003, 6111, "Invalid request headers"},
		{"quoted token", call{what: "GET /zones", token: `"` + unknownToken + `"`}, 400, 6003, 6111, ""},
		{"other scheme", call{what: "GET /zones", headers: map[string]string{"Authorization": "Basic " + unknownToken}}, 400, 6003, 6111, ""},
		{"unknown token", call{what: "GET /zones", token: unknownToken}, 403, 9109, 0, "Invalid access token"},
		{"unknown token, verified", call{what: "GET /user/tokens/verify", token: unknownToken}, 401, 1000, 0, "Invalid API Token"},
		{"revoked token", call{what: "GET " + records, token: "revoked"}, 403, 9109, 0, "Invalid access token"},
		{"token revoked later", call{what: "GET /zones", token: "rolled"}, 403, 9109, 0, "Invalid access token"},
		{"revoked token, verified", call{what: "GET /user/tokens/verify", token: "rolled"}, 401, 1000, 0, "Invalid API Token"},
		{"account token, verified as a user's", call{what: "GET /user/tokens/verify", token: "account"}, 401, 1000, 0, "Invalid API Token"},
		{"user token, verified as the account's", call{what: "GET /accounts/" + w.API.AccountID + "/tokens/verify", token: goodToken}, 401, 1000, 0, ""},
		{"another account", call{what: "GET /accounts/" + zone + "/tokens/verify", token: "account"}, 403, 9109, 0, "Unauthorized to access requested resource"},
		{"address filter", call{what: "GET /zones", token: "filtered"}, 403, 9109, 0, "Cannot use the access token from location: 127.0.0.1"},
		{"zone of others", call{what: "GET /zones/" + zone, token: "net"}, 403, 9109, 0, "Unauthorized to access requested resource"},
		{"records of others", call{what: "GET " + records, token: "net"}, 403, 10000, 0, "Authentication error"},
		{"no such zone", call{what: "GET /zones/" + strings.Repeat("0", 32), token: goodToken}, 403, 9109, 0, ""},
		{"zone by name", call{what: "GET /zones/example.com", token: goodToken}, 404, 7003, 0, ""},
		{"records of a zone by name", call{what: "GET /zones/example.com/dns_records", token: goodToken}, 404, 7003, 0, ""},
		{"no Zone:Read", call{what: "GET /zones/" + zone, token: "dns-only"}, 403, 9109, 0, ""},
		{"no DNS permission", call{what: "GET " + records, token: "zones-only"}, 403, 10000, 0, "Authentication error"},
		{"no permission", call{what: "GET " + records, token: "powerless"}, 403, 10000, 0, "Authentication error"},
		{"reading permission only", call{what: post, token: "reader", body: `{"type":"TXT","name":"x","content":"y"}`}, 403, 10000, 0, "Authentication error"},
		{"reader deletes", call{what: "DELETE " + records + "/" + fmt.Sprintf("%032x", 1), token: "reader"}, 403, 10000, 0, ""},
		{"identical record", call{what: post, token: goodToken, body: `{"type":"TXT","name":"there.example.com","content":"\"text\""}`}, 400, 81058, 0, "An identical record already exists."},
		{"identical record without quotes", call{what: post, token: goodToken, body: `{"type":"TXT","name":"there","content":"text"}`}, 400, 81058, 0, ""},
		{"same record with another TTL", call{what: post, token: goodToken, body: `{"type":"TXT","name":"there","content":"text","ttl":120}`}, 400, 81057, 0, "Record already exists."},
		{"alias beside an address", call{what: post, token: goodToken, body: `{"type":"CNAME","name":"host","content":"a.example"}`}, 400, 81053, 0, ""},
		{"no JSON", call{what: post, token: goodToken, body: `type=TXT`}, 400, 9207, 0, ""},
		{"no type", call{what: post, token: goodToken, body: `{"name":"x","content":"y"}`}, 400, 1004, 9003, "DNS Validation Error"},
		{"no content", call{what: post, token: goodToken, body: `{"name":"x","type":"TXT"}`}, 400, 1004, 9020, ""},
		{"no name", call{what: post, token: goodToken, body: `{"content":"x","type":"TXT"}`}, 400, 9000, 0, "DNS name is invalid."},
		{"short TTL", call{what: post, token: goodToken, body: `{"name":"x","content":"x","type":"TXT","ttl":5}`}, 400, 1004, 9021, ""},
		{"no address", call{what: post, token: goodToken, body: `{"name":"x","content":"x","type":"A"}`}, 400, 9005, 0, ""},
		{"no record to delete", call{what: "DELETE " + records + "/" + strings.Repeat("f", 32), token: goodToken}, 404, 81044, 0, "Record does not exist."},
		{"no record to get", call{what: "GET " + records + "/" + strings.Repeat("f", 32), token: goodToken}, 404, 81044, 0, ""},
		{"no record to change", call{what: "PATCH " + records + "/" + strings.Repeat("f", 32), token: goodToken, body: "{}"}, 404, 81044, 0, ""},
		{"no route", call{what: "GET /user/details", token: goodToken}, 404, 7003, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := test.call.must(t, w)
			if a.status != test.status || len(a.Errors) == 0 || a.Errors[0].Code != test.code {
				t.Fatalf("got %d %s, want %d with code %d", a.status, a.raw, test.status, test.code)
			}
			if test.message != "" && a.Errors[0].Message != test.message {
				t.Errorf("message %q, want %q", a.Errors[0].Message, test.message)
			}
			if test.chain == 0 && len(a.Errors[0].Chain) > 0 || test.chain != 0 && (len(a.Errors[0].Chain) == 0 || a.Errors[0].Chain[0].Code != test.chain) {
				t.Errorf("chain %v, want %d", a.Errors[0].Chain, test.chain)
			}
			if string(a.Result) != "null" {
				t.Errorf("a refusal has the result %s", a.Result)
			}
		})
	}
}

func TestAPIAnswersGoodTokens(t *testing.T) {
	w := start(t, acmetest.Options{})
	w.API.AddToken(acmetest.Token{Value: "account", Zones: []string{"example.com"}, Account: true})
	w.API.AddToken(acmetest.Token{Value: "wide", Zones: []string{acmetest.AllZones}})
	w.API.AddToken(acmetest.Token{Value: "dns-only", Zones: []string{"example.com"}, Permissions: acmetest.DNSEdit})
	for _, test := range []struct {
		call
		want []string
	}{
		{call{what: "GET /user/tokens/verify", token: goodToken}, []string{`"status":"active"`, `"This API Token is valid and active"`}},
		{call{what: "GET /accounts/" + w.API.AccountID + "/tokens/verify", token: "account"}, []string{`"status":"active"`}},
		{call{what: "GET /zones?name=example.com.", token: "account"}, []string{
			`"name":"example.com"`, `"account":{"id":"` + w.API.AccountID + `"`, `"name_servers":["ns1.sallyport.test","ns2.sallyport.test"]`, `"total_count":1`, `#dns_records:edit`}},
		{call{what: "GET /zones?name=example.org", token: "account"}, []string{`"result":[]`, `"total_count":0`}},
		{call{what: "GET /zones?name=example.net", token: "account"}, []string{`"result":[]`}},
		{call{what: "GET /zones?name=example.com", token: "dns-only"}, []string{`"result":[]`}},
		{call{what: "GET /zones", token: "wide"}, []string{`"name":"example.com"`, `"name":"example.net"`, `"total_count":2`}},
		{call{what: "GET /zones?per_page=1&page=2", token: "wide"}, []string{`"name":"example.net"`, `"total_pages":2`, `"count":1`}},
		{call{what: "GET /zones?per_page=1&page=3", token: "wide"}, []string{`"result":[]`}},
	} {
		a := test.call.must(t, w)
		for _, want := range test.want {
			if a.status != 200 || !strings.Contains(a.raw, want) {
				t.Errorf("%s as %s: got %d %s, want %s", test.what, test.token, a.status, a.raw, want)
			}
		}
	}
}

func TestAPIRecordLifecycle(t *testing.T) {
	w := start(t, acmetest.Options{})
	records := "/zones/" + zoneIDOf(t, w, "example.com") + "/dns_records"
	send := func(what, body string, wantStatus int) apiAnswer {
		t.Helper()
		a := call{what: what, token: goodToken, body: body}.must(t, w)
		if a.status != wantStatus {
			t.Fatalf("%s: got %d %s, want %d", what, a.status, a.raw, wantStatus)
		}
		return a
	}
	send("POST "+records, `{"type":"TXT","name":"_acme-challenge.App","content":"\"one\""}`, 200)
	send("POST "+records, `{"type":"TXT","name":"_acme-challenge.app.example.com","content":"\"two\"","ttl":60}`, 200)
	send("POST "+records, `{"type":"A","name":"@","content":"192.0.2.7","proxied":true,"comment":"the site"}`, 200)
	got := w.API.Records("example.com")
	if len(got) != 3 || got[0].Name != "_acme-challenge.app.example.com" || got[0].TTL != 1 || got[1].TTL != 60 || got[2].Name != "example.com" {
		t.Fatalf("records: %+v", got)
	}
	if got[0].ID != fmt.Sprintf("%032x", 1) || got[2].ID != fmt.Sprintf("%032x", 3) {
		t.Errorf("ids are not counted: %s, %s", got[0].ID, got[2].ID)
	}
	for query, want := range map[string]int{
		"": 3, "?type=TXT": 2, "?type=TXT&name=_ACME-challenge.app.example.com": 2, "?name.exact=example.com": 1,
		"?content.contains=two": 1, "?content.exact=%22two%22": 1, "?content.exact=two": 0, "?content=192.0.2.7": 1,
		"?name.contains=challenge": 2, "?type=AAAA": 0, "?per_page=2": 2, "?per_page=2&page=2": 1, "?comment.contains=site": 1,
	} {
		a := send("GET "+records+query, "", 200)
		if a.ResultInfo == nil || a.ResultInfo.Count != want {
			t.Errorf("list%s: %s, want %d", query, a.raw, want)
		}
	}
	first := records + "/" + got[0].ID
	send("PATCH "+first, `{"content":"\"three\""}`, 200)
	if r := w.API.Records("example.com")[0]; r.Content != `"three"` || r.Name != got[0].Name || r.Type != "TXT" {
		t.Errorf("after PATCH: %+v", r)
	}
	send("PUT "+first, `{"type":"TXT","name":"other","content":"four"}`, 200)
	if r := w.API.Records("example.com")[0]; r.Content != "four" || r.Name != "other.example.com" || r.ID != got[0].ID {
		t.Errorf("after PUT: %+v", r)
	}
	send("PATCH "+first, `{"name":"_acme-challenge.app","content":"two","ttl":60}`, 400)
	if a := send("DELETE "+first, "", 200); !strings.Contains(a.raw, `"id":"`+got[0].ID) {
		t.Errorf("DELETE answers %s", a.raw)
	}
	send("DELETE "+first, "", 404)
	foreign := w.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "_acme-challenge.app", Content: "foreign"})
	if foreign.ID != fmt.Sprintf("%032x", 4) || len(w.API.Records("example.com")) != 3 {
		t.Errorf("foreign record: %+v among %+v", foreign, w.API.Records("example.com"))
	}
}

func TestInjectedFailures(t *testing.T) {
	w := start(t, acmetest.Options{})
	zones := call{what: "GET /zones", token: goodToken}

	w.API.FailNext(acmetest.Failure{Status: 429, RetryAfter: 1500 * time.Millisecond, Times: 2})
	for range 2 {
		if a := zones.must(t, w); a.status != 429 || a.Errors[0].Code != 971 || a.header.Get("Retry-After") != "2" {
			t.Errorf("rate limit: %d %s, Retry-After %q", a.status, a.raw, a.header.Get("Retry-After"))
		}
	}
	if a := zones.must(t, w); a.status != 200 {
		t.Errorf("the third request fails as well: %d", a.status)
	}

	w.API.FailNext(acmetest.Failure{Status: 502, HTML: true, Match: func(r *http.Request) bool { return r.Method == "POST" }})
	if a := zones.must(t, w); a.status != 200 {
		t.Errorf("a failure of POST hit GET: %d", a.status)
	}
	post := call{what: "POST /zones/" + zoneIDOf(t, w, "example.com") + "/dns_records", token: goodToken, body: `{"type":"TXT","name":"x","content":"y"}`}
	if a := post.must(t, w); a.status != 502 || !strings.Contains(a.raw, "<h1>502 Bad Gateway</h1>") {
		t.Errorf("HTML: %d %s", a.status, a.raw)
	}
	if n := len(w.API.Records("example.com")); n != 0 {
		t.Errorf("a failed request took effect: %d records", n)
	}

	w.API.FailNext(acmetest.Failure{Drop: true, After: true})
	if a, err := post.do(t, w, w.HTTPClient()); err == nil {
		t.Errorf("dropped connection: got %d %s", a.status, a.raw)
	}
	if n := len(w.API.Records("example.com")); n != 1 {
		t.Errorf("a request whose answer was lost took no effect: %d records", n)
	}
	if a := post.must(t, w); a.Errors[0].Code != 81058 {
		t.Errorf("its repetition: %s", a.raw)
	}

	w.API.FailNext(acmetest.Failure{Times: -1, Code: 1234, Message: "because"})
	for range 3 {
		if a := zones.must(t, w); a.status != 500 || a.Errors[0].Code != 1234 || a.Errors[0].Message != "because" {
			t.Errorf("permanent failure: %d %s", a.status, a.raw)
		}
	}
	w.API.ClearFailures()
	if a := zones.must(t, w); a.status != 200 {
		t.Errorf("after ClearFailures: %d", a.status)
	}
}

func TestHangingRequestEndsWithClientOrWorld(t *testing.T) {
	w := start(t, acmetest.Options{})
	w.API.FailNext(acmetest.Failure{Hang: true, Times: 2})
	arrived := func(want int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := w.API.WaitRequest(ctx, func(acmetest.Request) bool { return len(w.API.Requests()) == want })
		if err != nil {
			t.Fatal(err)
		}
	}
	hang := func(ctx context.Context) chan error {
		result := make(chan error, 1)
		r, err := http.NewRequestWithContext(ctx, "GET", w.API.URL+"/zones", nil)
		if err != nil {
			t.Fatal(err)
		}
		client := w.HTTPClient()
		go func() {
			resp, err := client.Do(r)
			if err == nil {
				resp.Body.Close()
			}
			result <- err
		}()
		return result
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := hang(ctx)
	arrived(1)
	if resp, err := w.HTTPClient().Get(w.DirectoryURL); err != nil { // a round trip, in which a refusal would arrive
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	select {
	case err := <-first:
		t.Fatalf("the request does not hang: %v", err)
	default:
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("a request that hangs ended with %v", err)
	}
	second := hang(t.Context())
	arrived(2)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-second; err == nil {
		t.Error("a request that hangs was answered")
	}
	for _, r := range w.API.Requests() {
		if r.Status != 0 {
			t.Errorf("status %d recorded for a request without an answer", r.Status)
		}
	}
}

func TestRequestsAreRecordedAsTheyCame(t *testing.T) {
	w := start(t, acmetest.Options{})
	client := w.HTTPClient()
	send := func() string {
		w.API.ResetRequests()
		for _, c := range []call{
			{what: "GET /zones?name=example.com", token: goodToken},
			{what: "POST /zones/x/dns_records?q=%22", token: unknownToken, body: `{"a":1}`, headers: map[string]string{"X-Other": "v"}},
		} {
			if _, err := c.do(t, w, client); err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprintf("%+v", w.API.Requests())
	}
	first := send()
	if second := send(); first != second {
		t.Errorf("two equal runs differ:\n%s\n%s", first, second)
	}
	got := w.API.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests recorded, want 2", len(got))
	}
	r := got[1]
	if r.Method != "POST" || r.Path != "/client/v4/zones/x/dns_records?q=%22" || string(r.Body) != `{"a":1}` ||
		r.Token != unknownToken || r.Status != 403 || r.Header.Get("X-Other") != "v" || r.Proto != "HTTP/1.1" ||
		!strings.HasPrefix(r.Host, "api.sallyport.test:") {
		t.Errorf("recorded %+v", r)
	}
	if got[0].Status != 200 || got[0].Token != goodToken {
		t.Errorf("recorded %+v", got[0])
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.API.WaitRequest(ctx, func(acmetest.Request) bool { return false }); err == nil {
		t.Error("waiting for what never comes succeeds")
	}
}

// TestClientReusesConnections guards the helper: a client that dials for each request hides connection faults.
func TestClientReusesConnections(t *testing.T) {
	w := start(t, acmetest.Options{})
	client := w.HTTPClient()
	var reused []bool
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = append(reused, info.Reused) }}
	for range 2 {
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", w.API.URL+"/zones", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if !slices.Equal(reused, []bool{false, true}) {
		t.Errorf("connections reused: %v", reused)
	}
}
