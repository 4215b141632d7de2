package bearer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/reread"
)

// Options says whose tokens are good. Options are comparable as long as To is: a
// Verifier can be found by them.
type Options struct {
	// To, Host and Target are where the JWK set is: To sends the request and
	// sets scheme and host of its URL, Target is the path, beginning with "/".
	// Not used if there is a KeyFile.
	To           http.RoundTripper
	Host, Target string

	// KeyFile holds the keys instead: PEM or a JWK set. Read again when it
	// changes.
	KeyFile string

	// Algorithms are those that are accepted, separated by commas. Empty: RS256,
	// ES256 and EdDSA.
	Algorithms string

	// Issuer has to be the token's iss; "" accepts any.
	Issuer string

	// Audiences, separated by line breaks, of which the token's aud has to hold
	// one; "" accepts any.
	Audiences string

	// Leeway is how far clocks may differ. Negative is none.
	Leeway time.Duration

	// Field is where the token is, in canonical form. "" is Authorization, with
	// the scheme Bearer; others hold just the token.
	Field string

	// UserClaim names the claim that becomes the exchange's User; "" is sub.
	UserClaim string

	// Headers says which claims are copied to fields of the request, as lines
	// NAME=claim with names in canonical form. What the client sent under these
	// names is removed.
	Headers string

	// RemoveToken removes Field before the request is passed on.
	RemoveToken bool
}

// Verifier lets requests with a good token pass.
type Verifier struct {
	options    Options
	algorithms []jose.SignatureAlgorithm
	audiences  jwt.Audience
	headers    [][2]string
	keys       keyring
}

// Algorithms returns the algorithms that can be configured: asymmetric ones,
// and no others.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// New returns a verifier. Keys behind an address are fetched when the first
// token comes; a file is read now, and an error names it and may have a Hint.
func New(o Options, logger *zap.Logger) (*Verifier, error) {
	v := &Verifier{options: o}
	if o.Algorithms == "" {
		o.Algorithms = "RS256,ES256,EdDSA"
	}
	for name := range strings.SplitSeq(o.Algorithms, ",") {
		if !slices.Contains(Algorithms(), name) {
			return nil, fmt.Errorf("%q is not an algorithm with a public key", name)
		}
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(name))
	}
	if o.Audiences != "" {
		v.audiences = strings.Split(o.Audiences, "\n")
	}
	for line := range strings.SplitSeq(o.Headers, "\n") {
		if name, claim, ok := strings.Cut(line, "="); ok {
			v.headers = append(v.headers, [2]string{name, claim})
		}
	}
	if v.options.Field == "" {
		v.options.Field = "Authorization"
	}
	if v.options.UserClaim == "" {
		v.options.UserClaim = "sub"
	}
	v.options.Leeway = max(0, o.Leeway)
	if o.KeyFile == "" {
		v.keys = &remote{to: o.To, host: o.Host, target: o.Target, logger: logger}
		return v, nil
	}
	file, err := reread.Open(o.KeyFile, parseKeys, func(err error) {
		if err != nil {
			logger.Error("keys not read again: those from before still count", zap.Error(err))
			return
		}
		logger.Info("keys read again", zap.String("file", o.KeyFile))
	})
	if err != nil {
		return nil, err
	}
	v.keys = local{file.Get}
	return v, nil
}

// Refusals.
var (
	errNoToken = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_missing", Reason: "the client sent no token"}
	errInvalid = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_invalid", Reason: "the token is not valid: form, algorithm or signature"}
	errExpired = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_expired", Reason: "the token has expired"}
	errEarly   = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_early", Reason: "the token is not valid yet"}
	errIssuer  = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_issuer", Reason: "the token is of another issuer"}
	errForeign = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "token_audience", Reason: "the token is for another audience"}
	errTwice   = &exchange.Refusal{Status: http.StatusBadRequest, Label: "authorization_ambiguous", Reason: "the request has more than one token"}
)

// keysError is that no token can be verified: not the client's fault.
type keysError struct{ err error }

func (e *keysError) Error() string { return "fetching the JWKS: " + e.err.Error() }
func (e *keysError) Unwrap() []error {
	return []error{&exchange.Refusal{
		Status: http.StatusServiceUnavailable, Label: "jwks_unavailable", Reason: e.Error(),
		Hint: "jwt.jwks_url has to answer with a JWK set, without a redirect",
	}, e.err}
}

// Wrap returns a handler that serves only requests with a good token, sets the
// exchange's User and copies claims. Others get 401 with a challenge (RFC 6750
// section 3); 503 while there are no keys at all.
func (v *Verifier) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := v.verify(r)
		if err != nil {
			if own, ok := err.(*exchange.Refusal); ok && own.Status == http.StatusUnauthorized {
				w.Header()["Www-Authenticate"] = []string{challenge(own)}
			} else if !ok {
				w.Header()["Retry-After"] = []string{"30"}
			}
			exchange.Refuse(w, r, err)
			return
		}
		user, ok := text(claims[v.options.UserClaim])
		if !ok {
			user = "-" // somebody: a cache must not take the request for anybody's
		}
		exchange.Of(r).User = user
		if v.options.RemoveToken {
			delete(r.Header, v.options.Field)
		}
		for _, pair := range v.headers {
			delete(r.Header, pair[0])
			delete(r.Trailer, pair[0])
			if value, ok := text(claim(claims, pair[1])); ok {
				r.Header[pair[0]] = []string{value}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// challenge tells a client what to send. One that sent nothing is not told of an
// error (RFC 6750 section 3.1).
func challenge(err *exchange.Refusal) string {
	if err == errNoToken {
		return "Bearer"
	}
	return `Bearer error="invalid_token", error_description="` + err.Reason + `"`
}

// longestToken bounds what is parsed.
const longestToken = 16 << 10

// tokenOf finds the token of a request.
func (v *Verifier) tokenOf(r *http.Request) (string, error) {
	values := r.Header[v.options.Field]
	switch {
	case len(values) == 0:
		return "", errNoToken
	case len(values) > 1:
		return "", errTwice
	}
	token := values[0]
	if v.options.Field == "Authorization" {
		scheme, rest, _ := strings.Cut(token, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", errNoToken
		}
		token = strings.TrimLeft(rest, " ")
	}
	if token == "" {
		return "", errNoToken
	}
	if len(token) > longestToken {
		return "", errInvalid
	}
	return token, nil
}

// verify returns the claims of a good token. The error is one of the refusals or
// a *keysError.
func (v *Verifier) verify(r *http.Request) (map[string]any, error) {
	text, err := v.tokenOf(r)
	if err != nil {
		return nil, err
	}
	token, err := jwt.ParseSigned(text, v.algorithms)
	if err != nil || len(token.Headers) != 1 {
		return nil, errInvalid
	}
	header := token.Headers[0]
	keys, err := v.keys.find(r.Context(), header.KeyID)
	if err != nil {
		return nil, &keysError{err}
	}
	var known jwt.Claims
	var raw json.RawMessage
	verified := false
	for _, k := range keys {
		if k.fits(header.Algorithm) && token.Claims(k.public, &known, &raw) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return nil, errInvalid
	}
	if err := v.check(known); err != nil {
		return nil, err
	}
	var all map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber() // an id of 20 digits stays what it is
	if err := decoder.Decode(&all); err != nil {
		return nil, errInvalid
	}
	return all, nil
}

// check looks at the claims that every token has to have.
func (v *Verifier) check(c jwt.Claims) error {
	if c.Expiry == nil {
		return errExpired
	}
	expected := jwt.Expected{Issuer: v.options.Issuer, AnyAudience: v.audiences, Time: time.Now()}
	switch err := c.ValidateWithLeeway(expected, v.options.Leeway); {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrExpired):
		return errExpired
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errEarly
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return errIssuer
	case errors.Is(err, jwt.ErrInvalidAudience):
		return errForeign
	}
	return errInvalid
}

// claim finds a claim by its name, or by a path of names with dots between
// (realm_access.roles). A claim whose name has dots is found first.
func claim(claims map[string]any, path string) any {
	if value, ok := claims[path]; ok {
		return value
	}
	first, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return claim(inner, rest)
}

// text returns a claim as the value of a field: a string, number or truth value
// as it is, a list of these with commas between. It reports false for what
// cannot be told so without being taken for something else: objects, control
// characters, and in lists items with a comma, which are left out.
func text(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, value != "" && strings.TrimSpace(value) == value && !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f })
	case json.Number:
		return value.String(), true
	case bool:
		return fmt.Sprint(value), true
	case []any:
		var items []string
		for _, item := range value {
			if _, nested := item.([]any); nested {
				continue
			}
			if one, ok := text(item); ok && !strings.Contains(one, ",") {
				items = append(items, one)
			}
		}
		return strings.Join(items, ","), len(items) > 0
	}
	return "", false
}
