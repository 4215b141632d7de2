package basic_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/auth/basic"
)

func line(t testing.TB, name, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(hash) + "\n"
}

func credentials(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// whoami answers with the user that the exchange knows and the Authorization
// field that is left.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s|%s", exchange.Of(r).User, r.Header.Get("Authorization"))
})

func ask(h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r = exchange.With(r, exchange.New(r))
	for _, field := range authorization {
		r.Header.Add("Authorization", field)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOnlyTheRightPairPasses(t *testing.T) {
	auth, err := basic.New(basic.Options{Realm: "Admin", Users: line(t, "ann", "s:ecret", 4) + "# a comment\n\n" + line(t, "bøb", "päss", 5)}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h := auth.Wrap(whoami)
	good := credentials("ann", "s:ecret")
	for name, c := range map[string]struct {
		fields []string
		status int
		body   string
	}{
		"right":                   {[]string{good}, 200, "ann|"},
		"right again":             {[]string{good}, 200, "ann|"},
		"scheme in capitals":      {[]string{"BASIC " + good[6:]}, 200, "ann|"},
		"UTF-8":                   {[]string{credentials("bøb", "päss")}, 200, "bøb|"},
		"nothing":                 {nil, 401, ""},
		"wrong":                   {[]string{credentials("ann", "s")}, 401, ""},
		"wrong again":             {[]string{credentials("ann", "s")}, 401, ""},
		"empty password":          {[]string{credentials("ann", "")}, 401, ""},
		"unknown":                 {[]string{credentials("eve", "s:ecret")}, 401, ""},
		"empty name":              {[]string{credentials("", "s:ecret")}, 401, ""},
		"another's password":      {[]string{credentials("bøb", "s:ecret")}, 401, ""},
		"name in capitals":        {[]string{credentials("Ann", "s:ecret")}, 401, ""},
		"bcrypt wraps around NUL": {[]string{credentials("ann", "s:ecret\x00s:ecret")}, 401, ""},
		"a NUL behind":            {[]string{credentials("ann", "s:ecret\x00")}, 401, ""},
		"NUL in the name":         {[]string{credentials("ann\x00", "s:ecret")}, 401, ""},
		"a line break":            {[]string{credentials("ann\r\nX: y", "s:ecret")}, 401, ""},
		"no colon":                {[]string{"Basic " + base64.StdEncoding.EncodeToString([]byte("ann"))}, 401, ""},
		"not base64":              {[]string{"Basic ann:s:ecret"}, 401, ""},
		"loose base64":            {[]string{"Basic YW5uOnM6ZWNyZXS="}, 401, ""},
		"another scheme":          {[]string{"Bearer " + good[6:]}, 401, ""},
		"no scheme":               {[]string{good[6:]}, 401, ""},
		"too long":                {[]string{credentials("ann", strings.Repeat("x", 2000))}, 401, ""},
		"right and wrong":         {[]string{good, credentials("eve", "x")}, 400, ""},
		"right twice":             {[]string{good, good}, 400, ""},
	} {
		w := ask(h, c.fields...)
		if w.Code != c.status || c.status == 200 && w.Body.String() != c.body {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, w.Body, c.status, c.body)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != (challenge == `Basic realm="Admin", charset="UTF-8"`) {
			t.Errorf("%s: challenge %q", name, challenge)
		}
	}
}

func TestTheAuthorizationFieldStaysIfAskedFor(t *testing.T) {
	auth, err := basic.New(basic.Options{Users: line(t, "ann", "x", 4), PassAuthorization: true}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(auth.Wrap(whoami), credentials("ann", "x")).Body.String(); got != "ann|"+credentials("ann", "x") {
		t.Errorf("got %q", got)
	}
}

func TestAChangedFileTakesEffectAndABadOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, log := observer.New(zap.InfoLevel)
		path := filepath.Join(t.TempDir(), "htpasswd")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		write(line(t, "ann", "one", 4))
		auth, err := basic.New(basic.Options{UsersFile: path}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		h := auth.Wrap(whoami)
		status := func(password string) int { return ask(h, credentials("ann", password)).Code }
		if got := status("one"); got != 200 {
			t.Fatalf("at first: %d", got)
		}
		write(line(t, "ann", "two!", 4) + line(t, "bob", "x", 4))
		if a, b := status("one"), status("two!"); a != 401 || b != 200 {
			t.Errorf("a revoked password got %d, the new one %d", a, b)
		}
		for _, bad := range []string{"", "ann:$apr1$xxxxxxxx$yyyyyyyyyyyyyyyyyyyyyy\n", line(t, "ann", "three", 4)[:30]} {
			before := log.FilterLevelExact(zap.ErrorLevel).Len()
			write(bad)
			if a, b := status("two!"), log.FilterLevelExact(zap.ErrorLevel).Len()-before; a != 200 || b != 1 {
				t.Errorf("%q: %d, %d lines", bad, a, b)
			}
		}
		for _, entry := range log.All() {
			if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "yyyy") || strings.Contains(text, "$2a$") {
				t.Errorf("a hash is in the log: %s", text)
			}
		}
	})
}

func TestWeakHashesAreRefusedWithACure(t *testing.T) {
	good := strings.TrimPrefix(strings.TrimSpace(line(t, "a", "x", 4)), "a:")
	for hash, want := range map[string]string{
		"$apr1$abcdefgh$0123456789012345678901": "MD5",
		"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=":     "SHA-1",
		"rqXexS6ZhobKA":                         "plain",
		"secret":                                "plain",
		"$6$salt$hash":                          "SHA-crypt",
		"$5$salt$hash":                          "SHA-crypt",
		"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b": "not supported",
		"":                  "no hash",
		good[:59]:           "not whole",
		good + "x":          "not whole",
		"$2y$31" + good[6:]: "cost 31",
	} {
		_, err := basic.New(basic.Options{Users: "ann:" + hash + "\n"}, zap.NewNop())
		bad, ok := err.(*basic.HashError)
		if !ok || !strings.Contains(bad.Error(), want) || !strings.Contains(bad.Error(), `line 1: user "ann"`) || bad.Hint() == "" {
			t.Errorf("%q: %v", hash, err)
		}
		if len(hash) > 7 && err != nil && strings.Contains(err.Error()+bad.Hint(), hash[7:]) {
			t.Errorf("the hash is in %q", err)
		}
	}
	for _, text := range []string{"", "# nobody\n", "ann\n", ":" + good, line(t, "a", "x", 4) + line(t, "a", "y", 4)} {
		if _, err := basic.New(basic.Options{Users: text}, zap.NewNop()); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// TestAFloodOfGuessesDoesNotKeepUsersOut has more guesses under way than may
// wait, all of them slow, and a user who has logged in before.
func TestAFloodOfGuessesDoesNotKeepUsersOut(t *testing.T) {
	auth, err := basic.New(basic.Options{Users: line(t, "ann", "x", 8)}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h := auth.Wrap(whoami)
	if got := ask(h, credentials("ann", "x")).Code; got != 200 {
		t.Fatal(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var guesses sync.WaitGroup
	refused := make(chan string, 300)
	for i := range 300 {
		guesses.Go(func() {
			r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
			r.Header.Set("Authorization", credentials("ann", fmt.Sprint(i)))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == 503 {
				refused <- w.Header().Get("Retry-After")
			}
		})
	}
	if after := <-refused; after == "" { // hence all places are taken
		t.Error("no Retry-After")
	}
	for range 100 {
		if got := ask(h, credentials("ann", "x")).Code; got != 200 {
			t.Errorf("the user got %d", got)
		}
	}
	cancel()
	guesses.Wait()
}

func TestAnUnknownNameCostsAComparison(t *testing.T) {
	auth, err := basic.New(basic.Options{Users: line(t, "ann", "x", 8)}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h := auth.Wrap(whoami)
	took := func(name string) time.Duration {
		began := time.Now()
		for i := range 5 {
			ask(h, credentials(name, fmt.Sprint("guess", i)))
		}
		return time.Since(began)
	}
	known, unknown := took("ann"), took("eve")
	if unknown < known/4 || known < unknown/4 { // without the decoy it is a ten-thousandth
		t.Errorf("a known name took %v, an unknown one %v", known, unknown)
	}
}

func FuzzUsers(f *testing.F) {
	f.Add("ann:$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde\n")
	f.Add("# x\n\na:b:c\r\n")
	f.Add("\ufeffann:{SHA}x")
	f.Fuzz(func(t *testing.T, text string) {
		auth, err := basic.New(basic.Options{Users: text}, zap.NewNop())
		if (auth == nil) == (err == nil) {
			t.Fatal(auth, err)
		}
		if err == nil && !strings.Contains(text, "$2") {
			t.Fatalf("%q has no bcrypt hash", text)
		}
	})
}

func BenchmarkRemembered(b *testing.B) {
	auth, err := basic.New(basic.Options{Users: line(b, "ann", "x", 12), PassAuthorization: true}, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	h := auth.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", credentials("ann", "x"))
	r = exchange.With(r, exchange.New(r))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r) // computes the hash
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
