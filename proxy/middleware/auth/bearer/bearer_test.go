package bearer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/auth/bearer"
)

// issuer signs tokens and answers with its keys.
type issuer struct {
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	set     atomic.Pointer[jose.JSONWebKeySet]
	fetches atomic.Int32
	down    atomic.Bool
	gate    chan struct{} // if not nil, an answer waits for it
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{rsa: key, ec: curve}
	i.set.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &key.PublicKey, KeyID: "r", Algorithm: "RS256", Use: "sig"},
		{Key: &curve.PublicKey, KeyID: "e"},
		{Key: []byte("a shared secret, which is no key here"), KeyID: "s"},
	}})
	return i
}

// RoundTrip stands in for the proxy's pool.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.fetches.Add(1)
	if i.gate != nil {
		select {
		case <-i.gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if i.down.Load() {
		return nil, errors.New("connection refused")
	}
	text, err := json.Marshal(i.set.Load())
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(text)))}, nil
}

const name = "https://id.example.com"

func good() map[string]any {
	now := time.Now()
	return map[string]any{"iss": name, "aud": "app", "sub": "ann", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
}

func with(changes map[string]any) map[string]any {
	claims := good()
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	return claims
}

func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims any, extra ...func(*jose.SignerOptions)) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options.WithHeader("kid", id)
	}
	for _, add := range extra {
		add(options)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// raw puts a token together from texts, whatever they say.
func raw(header, claims string, signature []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + encode(signature)
}

func verifier(t testing.TB, o bearer.Options) *bearer.Verifier {
	t.Helper()
	o.Host, o.Target = "id.example.com", "/certs"
	if o.Issuer == "" {
		o.Issuer = name
	}
	v, err := bearer.New(o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ask returns status, what the application saw, and the challenge.
func ask(v *bearer.Verifier, fields ...string) (int, string, string) {
	h := v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %v %v", exchange.Of(r).User, r.Header["X-User"], r.Header["X-Groups"])
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r = exchange.With(r, exchange.New(r))
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header().Get("WWW-Authenticate")
}

func TestOnlyAGoodTokenPasses(t *testing.T) {
	i := newIssuer(t)
	other := newIssuer(t)
	v := verifier(t, bearer.Options{To: i, Audiences: "app\nother", Leeway: 30 * time.Second, Headers: "X-User=sub\nX-Groups=realm_access.roles"})
	token := sign(t, jose.RS256, i.rsa, "r", with(map[string]any{"realm_access": map[string]any{"roles": []any{"a", "b,admin", "c\r\nX: y", 7}}}))
	public, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	claims, err := json.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	confused := func(secret []byte) string {
		unsigned := raw(`{"alg":"HS256","kid":"r"}`, string(claims), nil)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(strings.TrimSuffix(unsigned, ".")))
		return unsigned + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	injected := func(o *jose.SignerOptions) { o.EmbedJWK = true }
	header := func(name string, value any) func(*jose.SignerOptions) {
		return func(o *jose.SignerOptions) { o.WithHeader(jose.HeaderKey(name), value) }
	}
	for what, c := range map[string]struct {
		token  string
		status int
		says   string
	}{
		"RS256":                      {token, 200, "ann [ann] [a,7]"},
		"ES256":                      {sign(t, jose.ES256, i.ec, "e", good()), 200, "ann [ann] []"},
		"no kid":                     {sign(t, jose.ES256, i.ec, "", good()), 200, "ann"},
		"a list of audiences":        {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"aud": []string{"x", "other"}})), 200, "ann"},
		"expired within the leeway":  {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"exp": time.Now().Add(-20 * time.Second).Unix()})), 200, "ann"},
		"expired":                    {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})), 401, "expired"},
		"no exp":                     {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"exp": nil})), 401, "expired"},
		"exp is text":                {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"exp": "tomorrow"})), 401, "not valid"},
		"not yet":                    {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()})), 401, "yet"},
		"another issuer":             {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"iss": name + "/"})), 401, "issuer"},
		"no issuer":                  {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"iss": nil})), 401, "issuer"},
		"another audience":           {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"aud": "shop"})), 401, "audience"},
		"no audience":                {sign(t, jose.ES256, i.ec, "e", with(map[string]any{"aud": nil})), 401, "audience"},
		"alg none":                   {raw(`{"alg":"none"}`, string(claims), nil), 401, "not valid"},
		"alg NONE with kid":          {raw(`{"alg":"NoNe","kid":"r"}`, string(claims), nil), 401, "not valid"},
		"alg empty":                  {raw(`{"alg":"","kid":"r"}`, string(claims), nil), 401, "not valid"},
		"public key as HMAC secret":  {confused(asPEM), 401, "not valid"},
		"DER as HMAC secret":         {confused(public), 401, "not valid"},
		"the set's oct key":          {sign(t, jose.HS256, []byte("a shared secret, which is no key here"), "s", good()), 401, "not valid"},
		"another's key":              {sign(t, jose.RS256, other.rsa, "r", good()), 401, "not valid"},
		"another's key, embedded":    {sign(t, jose.RS256, other.rsa, "", good(), injected), 401, "not valid"},
		"another's key by jku":       {sign(t, jose.RS256, other.rsa, "r", good(), header("jku", "https://evil.example/keys")), 401, "not valid"},
		"a kid of another kind":      {sign(t, jose.ES256, i.ec, "r", good()), 401, "not valid"},
		"a kid like a path":          {sign(t, jose.ES256, i.ec, "../../dev/null", good()), 401, "not valid"},
		"a kid like SQL":             {sign(t, jose.ES256, i.ec, "' OR 1=1 --", good()), 401, "not valid"},
		"an algorithm not listed":    {sign(t, jose.PS256, i.rsa, "r", good()), 401, "not valid"},
		"an unknown critical header": {sign(t, jose.ES256, i.ec, "e", good(), header("crit", []string{"x"})), 401, "not valid"},
		"claims changed":             {strings.Join([]string{strings.Split(token, ".")[0], base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), "ann", "eve", 1))), strings.Split(token, ".")[2]}, "."), 401, "not valid"},
		"no signature":               {token[:strings.LastIndexByte(token, '.')+1], 401, "not valid"},
		"two parts":                  {token[:strings.LastIndexByte(token, '.')], 401, "not valid"},
		"garbage":                    {"x.y.z", 401, "not valid"},
		"long":                       {strings.Repeat("x", 20_000), 401, "not valid"},
	} {
		status, body, challenge := ask(v, "Authorization: Bearer "+c.token, "X-User: admin", "X-Groups: admins")
		if status != c.status || !strings.Contains(body+challenge, c.says) {
			t.Errorf("%s: %d %q %q, want %d %q", what, status, body, challenge, c.status, c.says)
		}
	}
	if status, _, challenge := ask(v); status != 401 || challenge != "Bearer" {
		t.Errorf("without: %d %q", status, challenge)
	}
	if status, _, _ := ask(v, "Authorization: Basic YTpi"); status != 401 {
		t.Errorf("Basic: %d", status)
	}
	if status, _, _ := ask(v, "Authorization: Bearer "+token, "Authorization: Bearer x"); status != 400 {
		t.Errorf("two: %d", status)
	}
}

func TestATokenMayBeInAFieldOfItsOwn(t *testing.T) {
	i := newIssuer(t)
	v := verifier(t, bearer.Options{To: i, Field: "Cf-Access-Jwt-Assertion", UserClaim: "email", RemoveToken: true, Headers: "X-User=email"})
	token := sign(t, jose.ES256, i.ec, "e", with(map[string]any{"email": "ann@example.com"}))
	if status, body, _ := ask(v, "Cf-Access-Jwt-Assertion: "+token); status != 200 || !strings.HasPrefix(body, "ann@example.com [ann@example.com]") {
		t.Errorf("%d %q", status, body)
	}
	if status, body, _ := ask(v, "Cf-Access-Jwt-Assertion: "+sign(t, jose.ES256, i.ec, "e", good())); status != 200 || !strings.HasPrefix(body, "- []") {
		t.Errorf("without the claim: %d %q", status, body)
	}
	if status, _, _ := ask(v, "Authorization: Bearer "+token); status != 401 {
		t.Errorf("elsewhere: %d", status)
	}
}

func TestKeysAreFetchedOnceAndAgainAtABoundedRate(t *testing.T) {
	i, next := newIssuer(t), newIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, bearer.Options{To: i})
		status := func(token string) int {
			s, _, _ := ask(v, "Authorization: Bearer "+token)
			return s
		}
		token := func(from *issuer, id string) string { return sign(t, jose.ES256, from.ec, id, good()) }
		expect := func(what string, got, want int, fetches int32) {
			t.Helper()
			if n := i.fetches.Load(); got != want || n != fetches {
				t.Errorf("%s: %d after %d fetches, want %d after %d", what, got, n, want, fetches)
			}
		}
		i.gate = make(chan struct{})
		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() {
				if got := status(token(i, "e")); got != 200 {
					t.Errorf("one of the crowd got %d", got)
				}
			})
		}
		synctest.Wait()
		close(i.gate)
		crowd.Wait()
		expect("a crowd", 200, 200, 1)
		i.gate = nil

		for n := range 100 {
			status(token(i, fmt.Sprint("made up ", n)))
		}
		expect("made-up ids at once", status(token(i, "x")), 401, 1)
		time.Sleep(31 * time.Second)
		for n := range 100 {
			status(token(i, fmt.Sprint("made up ", n)))
		}
		expect("made-up ids later", status(token(i, "x")), 401, 2)

		i.set.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.ec.PublicKey, KeyID: "e"}, {Key: &next.ec.PublicKey, KeyID: "n"}}})
		time.Sleep(31 * time.Second)
		expect("a new key", status(token(next, "n")), 200, 3)

		i.down.Store(true)
		time.Sleep(2 * time.Hour)
		expect("the address is down", status(token(next, "n")), 200, 4)
		expect("and is not asked each time", status(token(i, "e")), 200, 4)
		i.down.Store(false)
		time.Sleep(time.Minute)
		expect("it is back", status(token(i, "e")), 200, 5)
	})
}

func TestWithoutKeysNobodyPassesAndTheServerIsToBlame(t *testing.T) {
	i := newIssuer(t)
	i.down.Store(true)
	v := verifier(t, bearer.Options{To: i})
	for range 3 {
		if status, _, _ := ask(v, "Authorization: Bearer "+sign(t, jose.ES256, i.ec, "e", good())); status != 503 {
			t.Errorf("got %d", status)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestKeysFromAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(kind string, der []byte) string {
		path := filepath.Join(dir, strings.ReplaceAll(kind, " ", ""))
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pkix := func(public crypto.PublicKey) []byte {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, bearer.Options{KeyFile: write("PUBLIC KEY", pkix(public))})
	for _, id := range []string{"", "any"} {
		if status, _, _ := ask(v, "Authorization: Bearer "+sign(t, jose.EdDSA, private, id, good())); status != 200 {
			t.Errorf("kid %q: %d", id, status)
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		write("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&short.PublicKey)): "1024 bits",
		write("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short)):          "private key",
		write("EC PARAMETERS", nil):                                           "EC PARAMETERS",
		filepath.Join(dir, "none"):                                            "no such file",
	} {
		if _, err := bearer.New(bearer.Options{KeyFile: path}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := bearer.New(bearer.Options{KeyFile: dir, Algorithms: "HS256"}, zap.NewNop()); err == nil {
		t.Error("HS256 can be configured")
	}
}

func FuzzToken(f *testing.F) {
	i := newIssuer(f)
	v := verifier(f, bearer.Options{To: i})
	f.Add("x.y.z")
	f.Add(raw(`{"alg":"none"}`, `{"exp":99999999999}`, nil))
	f.Add(raw(`{"alg":"ES256","kid":"e","jwk":{}}`, `{"exp":1e99}`, make([]byte, 64)))
	f.Fuzz(func(t *testing.T, token string) {
		if status, _, _ := ask(v, "Authorization: Bearer "+token); status == 200 {
			t.Fatalf("%q passes", token)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	i := newIssuer(b)
	v := verifier(b, bearer.Options{To: i})
	h := v.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for what, token := range map[string]string{"RS256": sign(b, jose.RS256, i.rsa, "r", good()), "ES256": sign(b, jose.ES256, i.ec, "e", good())} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r = exchange.With(r, exchange.New(r))
		w := httptest.NewRecorder()
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
