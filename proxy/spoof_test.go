package proxy_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/proxy"
)

// TestEachMiddlewareHasATestOfWhatALyingClientCannotDo is the list of those
// tests: for each concern of a route, for the actions, and for what is read of a
// request before a route is chosen.
func TestEachMiddlewareHasATestOfWhatALyingClientCannotDo(t *testing.T) {
	tests := map[string]string{
		"paths":          "TestNoSpellingOfAPathGetsPastAGuardedRoute TestNormalPathIsForwarded FuzzRoute TestWhatIsReadInTwoWaysIsRefused",
		"client address": "TestAStrangersClaimsAboutItselfAreNeitherBelievedNorPassedOn TestTheClientIsTheFirstFromTheRightThatIsNotTrusted TestWithoutTrustNothingIsRead FuzzResolve",
		"proxy_protocol": "TestAPreambleOfAStrangerIsRefused TestAPreambleOfAStrangerStaysInTheStream",
		"placeholders":   "TestWhatIsNotProvenIsNotSaid TestTargetsAreEncoded TestWhatARequestSaysStaysWhereItIsPut",

		"response_headers":   "TestWhatARequestSaysStaysWhereItIsPut TestAValueMadeOfARequestCannotEndItsField",
		"security_headers":   "TestAForgedSchemeMakesNothingSecure TestStrictTransportSecurityOnlyWhereItIsMeant",
		"cors":               "TestOnlyAllowedOriginsMayReadResponses TestAnOriginThatLooksAlikeReadsNothing",
		"cookies":            "TestAForgedSchemeMakesNothingSecure FuzzCookies",
		"errors":             "TestAPageSaysNothingThatTheClientMadeUp TestARefusalBehindAnInterceptorIsAnsweredOnce",
		"maintenance":        "TestMaintenanceClosesTheSiteWhileAFileExists",
		"max_connections":    "TestRequestsUnderWayAreBoundedByClient",
		"rate_limit":         "TestRateLimitIsSharedByNameAndOutlivesAReload TestNothingThatAClientSendsGetsItPastItsAddress TestPartsOfAKeyDoNotRunIntoOneAnother",
		"rate_limit by user": "TestAUsersLimitIsThatOfWhoHasLoggedIn",
		"allow, deny":        "TestAStrangersClaimsAboutItselfAreNeitherBelievedNorPassedOn TestTheConnectionsAddressAndHeadersDoNotCount",
		"client_auth":        "TestAClientsCertificateHoldsForItsSiteOnly TestWhatASignerPutIntoACertificateCannotBecomeAnotherField",
		"basic_auth":         "TestALoginIsAskedForWhereTheSiteSaysAndNotWhereARouteSaysOff TestNoSpellingOfAnOpenPathGetsPastALogin",
		"jwt":                "TestATokenIsCheckedWithTheKeysOfAnAddress TestOnlyAGoodTokenPasses FuzzToken",
		"forward_auth":       "TestWhoAClientIsCannotBeForgedOnAnyRouteOrSite TestForgedCopiesOfTheServersFieldsAreRemoved TestAFailingServerLetsNobodyIn",
		"max_body":           "TestTooLargeABodyIsNotInvitedAndNotPassedOn",
		"request_timeout":    "TestTimesOfARouteReplaceThoseOfTheLimits TestABodyThatDoesNotArriveInTimeIsATimeout",
		"rewrite":            "TestRewrittenPathStaysUnderItsPrefix FuzzRewrite",
		"request_headers":    "TestAClientCannotForgeAFieldThatTheRouteSets TestWhatARequestSaysStaysWhereItIsPut",
		"compress":           "TestWhatMustNotBeTouchedIsNot TestWithAllEncodersAtWorkAnswersGoOutAsTheyAre",
		"cache":              "TestTheCacheCannotBeMadeToMixUsersUp TestTheCacheCannotBePoisoned",
		"mirror":             "TestAMirrorSeesWhatTheServerSeesAndHarmsNobody TestAShadowThatHangsSlowsNobodyAndIsBounded",
		"buffer_request":     "TestBoundsHoldForOneAndForAll TestABodyThatBreaksIsNeverPassedOn",

		"proxy":    "TestUpgradeThatWasNotAskedForIsRefused TestUpgradeThatIsNotPassedOn",
		"redirect": "TestOpenRedirectsAreNotMade FuzzRedirect",
		"respond":  "TestFixedAnswerOpensNoTunnel TestWhatARequestSaysStaysWhereItIsPut",
		"files":    "TestNoPathLeadsOutOfTheFolderOrToWhatIsHidden TestAnUpgradeOverHTTP2OpensNoTunnel TestARedirectToAFolderStaysOnThisHost",
		"php":      "TestPHPThroughTheProxyKnowsTheClientAndNothingForged TestWhichScriptAPathMeans",
	}
	there := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range function.FindAllSubmatch(text, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range proxy.Stages() {
		if tests[stage] == "" {
			t.Errorf("nothing is said of %s", stage)
		}
	}
	for concern, names := range tests {
		for name := range strings.FieldsSeq(names) {
			if !there[name] {
				t.Errorf("%s: there is no %s", concern, name)
			}
		}
	}
}

// Line breaks and tags of a request become neither fields nor markup, wherever
// a text has placeholders.
func TestWhatARequestSaysStaysWhereItIsPut(t *testing.T) {
	server := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Fields", fmt.Sprint(r.Header["X-Up"], r.Header["X-Evil"], r.Header["X-Set"]))
	})
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    request_headers: {set: {X-Up: "{query.q}{path}"}, add: {X-Set: "{cookie.c}"}}
    response_headers: {set: {X-Down: "{query.q} {header.X-Q} {cookie.c}"}}
    routes:
      - {path: /to, redirect: "https://b.test/{query.q}"}
      - {path: /text, respond: {body: "{query.q}", headers: {X-Own: "{query.q}"}}}
      - {path: /page, respond: {body: "<p>{query.q}{host}</p>", headers: {Content-Type: text/html}}}
      - {path: /, proxy: %s}
`, server))
	const evil = "?q=x%0d%0aX-Evil:%201%0d%0a%0d%0a%3Cscript%3E"
	overBoth(t, func(t *testing.T, h2 bool) {
		for _, path := range []string{"/", "/to", "/text", "/page", "/%0d%0aX-Evil:%201"} {
			res, text := w.ask(h2, "GET", path+evil, "X-Q: a\tb", "Cookie: c=d%0d%0aX-Evil: 1")
			if res.StatusCode >= 400 {
				continue
			}
			if len(res.Header["X-Evil"]) > 0 || strings.Contains(res.Header.Get("X-Fields"), "] [1]") || strings.ContainsAny(res.Header.Get("X-Down")+res.Header.Get("X-Own"), "\r\n") {
				t.Errorf("%s: %v", path, res.Header)
			}
			if strings.Contains(res.Header.Get("Content-Type"), "html") && strings.Contains(text, "<script") {
				t.Errorf("%s: %s", path, text)
			}
			if to := res.Header.Get("Location"); path == "/to" && !strings.HasPrefix(to, "https://b.test/x") || strings.ContainsAny(to, "\r\n <>") {
				t.Errorf("%s leads to %q", path, to)
			}
		}
	})
}

// Over plain HTTP nothing is secure, whatever the client says.
func TestAForgedSchemeMakesNothingSecure(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    http: serve
    security_headers: true
    cookies: {secure: true}
    response_headers: {set: {X-Scheme: "{scheme}"}}
    proxy: %s
`, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=1")
		for name := range r.Header {
			if strings.Contains(name, "Https") || strings.Contains(name, "Scheme") || strings.Contains(name, "Ssl") {
				t.Errorf("%s reached the application", name)
			}
		}
		if got := r.Header["X-Forwarded-Proto"]; len(got) != 1 || got[0] != "http" {
			t.Errorf("the application hears of %q", got)
		}
	})))
	for _, field := range []string{"X-Forwarded-Proto: https", "Forwarded: proto=https", "X-Forwarded-Ssl: on", "Front-End-Https: on", "X-Forwarded-Scheme: https", "X-Scheme: https", "X-Url-Scheme: https"} {
		name, value, _ := strings.Cut(field, ": ")
		r, err := http.NewRequest("GET", "http://a.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, value)
		res, err := w.client(false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body(t, res)
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") != "" || res.Header.Get("Set-Cookie") != "session=1" || res.Header.Get("X-Scheme") != "http" {
			t.Errorf("with %s: %d %v", field, res.StatusCode, res.Header)
		}
	}
}

func TestAnOriginThatLooksAlikeReadsNothing(t *testing.T) {
	w := start(t, parsed(t, `
sites:
  a.test: {tls: internal, respond: ok, cors: {origins: ["https://b.test", "https://*.c.test"], credentials: true}}
`))
	overBoth(t, func(t *testing.T, h2 bool) {
		for origin, want := range map[string]string{
			"https://b.test": "https://b.test", "https://x.c.test": "https://x.c.test",
			"https://b.test.evil.test": "", "https://evil-b.test": "", "http://b.test": "", "https://b.test:8443": "", "null": "", "https://c.test": "", "https://x.y.c.test": "",
			"https://.c.test": "", "https://evil.test/.c.test": "", "https://evil.test#.c.test": "", "https://b.test, https://evil.test": "", "https://b.test https://evil.test": "", "*": "",
		} {
			res, _ := w.ask(h2, "GET", "/", "Origin: "+origin)
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != want || (want == "") != (res.Header.Get("Access-Control-Allow-Credentials") == "") {
				t.Errorf("%s may read as %q", origin, got)
			}
		}
		res, _ := w.ask(h2, "GET", "/", "Origin: https://b.test", "Origin: https://evil.test")
		if strings.Contains(fmt.Sprint(res.Header["Access-Control-Allow-Origin"]), "evil") {
			t.Errorf("two origins: %v", res.Header)
		}
	})
}

func TestAPageSaysNothingThatTheClientMadeUp(t *testing.T) {
	root := folder(t, map[string]string{"404.html": "{{.RequestID}}|{{.Host}}"})
	w := start(t, parsed(t, "sites: {a.test: {tls: internal, errors: {pages: {404: %[1]s/404.html}}, files: %[1]s}}", root))
	overBoth(t, func(t *testing.T, h2 bool) {
		for _, target := range []string{"/nothing", "/%3Cscript%3E", "/x?<script>"} {
			_, text := w.ask(h2, "GET", target, "X-Request-Id: made-up", "X-Forwarded-Host: made-up", "X-Original-Host: made-up")
			id, host, _ := strings.Cut(text, "|")
			if len(id) != 32 || host != "a.test" {
				t.Errorf("%s: %q", target, text)
			}
		}
	})
}

func TestAUsersLimitIsThatOfWhoHasLoggedIn(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), 4)
	if err != nil {
		t.Fatal(err)
	}
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    basic_auth: {users: {ann: %[1]s, bob: %[1]s}}
    rate_limit: {rate: 1/h, burst: 2, key: user}
    respond: "{user}"
`, hash))
		const ann, bob, wrong = "Authorization: Basic YW5uOnNlY3JldA==", "Authorization: Basic Ym9iOnNlY3JldA==", "Authorization: Basic Ym9iOndyb25n"
		for n, c := range []struct {
			field  string
			status int
		}{{wrong, 401}, {wrong, 401}, {wrong, 401}, {bob, 200}, {ann, 200}, {ann, 200}, {ann, 429}, {bob, 200}, {bob, 429}} {
			// Nobody else's bucket is emptied, nor another one found, by a name that is not proven.
			res, _ := w.ask(h2, "GET", "/", c.field, fmt.Sprintf("Remote-User: u%d", n), fmt.Sprintf("X-Forwarded-User: u%d", n))
			if res.StatusCode != c.status {
				t.Errorf("request %d, %s: %d, want %d", n, c.field, res.StatusCode, c.status)
			}
		}
	})
}

// Where only one folder is open, no spelling of its paths leads an application
// out of it.
func TestNoSpellingOfAnOpenPathGetsPastALogin(t *testing.T) {
	var past atomic.Int32
	w := start(t, parsed(t, `
sites:
  a.test:
    tls: internal
    basic_auth: {users: {ann: "$2y$04$bJ6Ne4lTa0OVWMpNYGsQguTA1vWmRbrQ9cQ0SJZJ0bRZ3ZrTq3lHO"}}
    routes:
      - {path: /public/, basic_auth: off, proxy: %[1]s}
      - {path: /, proxy: %[1]s}
`, backend(t, func(w http.ResponseWriter, r *http.Request) { past.Add(1); _, _ = io.WriteString(w, r.RequestURI) })))
	overBoth(t, func(t *testing.T, h2 bool) {
		for _, target := range []string{
			"/private", "/public/../private", "/public/%2e%2e/private", "/public/..%2fprivate", "/public%2f..%2fprivate", "/public/..;/private", "/public/..;x=y/private", "/public/%2e%2e;/private",
			`/public/..\private`, "/public/..%5cprivate", "/public//../../private", "/public/./../private", "/public/x/../../private", "/public/..%252fprivate", "//public/../private", "/public;/../private",
			"/public/..%00/private", "/private;/public/", "/private%2fpublic/", "/private/..;/public/x", "/public/%2e%2e%5cprivate", "/public/.%2e/private", "/x/../public/../private",
		} {
			res, text := w.ask(h2, "GET", target, "X-Original-URL: /public/", "X-Rewrite-URL: /private")
			if res.StatusCode != 200 {
				continue
			}
			for name, read := range applications {
				if p := read(text); p != "/public" && !strings.HasPrefix(p, "/public/") || strings.Contains(p, "/../") {
					t.Errorf("%s arrived as %s, which to an application that %s is %s", target, text, name, p)
				}
			}
		}
		if res, _ := w.ask(h2, "GET", "/public/a%2Fb"); res.StatusCode != 200 {
			t.Errorf("what is open: %d", res.StatusCode)
		}
	})
	if past.Load() == 0 {
		t.Error("nothing got through")
	}
}

// What the key of a stored answer does not hold has no influence on the answer.
func TestTheCacheCannotBePoisoned(t *testing.T) {
	overBoth(t, func(t *testing.T, h2 bool) {
		w := start(t, cached(backend(t, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			w.Header().Set("Cache-Control", "max-age=600")
			told := fmt.Sprint(r.Host, r.RequestURI, string(content))
			for name, values := range r.Header {
				if name != "X-Request-Id" {
					told += fmt.Sprint(name, values)
				}
			}
			_, _ = io.WriteString(w, told)
		})))
		for n, fields := range [][]string{
			{"X-Forwarded-Host: evil"}, {"X-Forwarded-Proto: evil"}, {"X-Forwarded-Prefix: /evil"}, {"X-Forwarded-Port: 666 evil"}, {"X-Original-URL: /evil"}, {"X-Rewrite-URL: /evil"},
			{"X-Original-Host: evil"}, {"Forwarded: host=evil"}, {"X_Forwarded_Host: evil"}, {"Front-End-Https: evil"}, {"Client-IP: evil"},
		} {
			target := fmt.Sprintf("/%d?x", n)
			w.ask(h2, "GET", target, fields...)
			if _, text := w.ask(h2, "GET", target); strings.Contains(text, "evil") {
				t.Errorf("after %q everybody gets %q", fields, text)
			}
		}
		// A body of a GET is not in the key either.
		r, err := http.NewRequest("GET", "https://a.test/fat", strings.NewReader("evil"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := w.client(h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body(t, res)
		if _, text := w.ask(h2, "GET", "/fat"); strings.Contains(text, "evil") {
			t.Errorf("after a GET with a body everybody gets %q", text)
		}
		// Nor may a port of the client's choice be in others' links.
		if !h2 {
			body(t, answer(t, w.say("a.test", "GET /port HTTP/1.1\r\nHost: a.test:666\r\nConnection: close\r\n\r\n"), "GET"))
			if _, text := w.ask(h2, "GET", "/port"); strings.Contains(text, "666") {
				t.Errorf("after a Host with a port everybody gets %q", text)
			}
		}
	})
}
