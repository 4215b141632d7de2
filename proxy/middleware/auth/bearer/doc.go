// Package bearer lets requests pass that carry a valid JSON Web Token (RFC
// 7519) of an issuer whose public keys are known, from its JWKS address or from
// a file.
//
// What a token says of itself is not believed: the algorithm has to be in a
// list that is configured; keys are only ever public ones, so a public key
// cannot be taken for a secret, and neither HMAC nor "none" exist here; keys and
// addresses in the token's header (jwk, jku, x5c, x5u) are not looked at. A
// token without exp is refused.
//
// Keys are fetched when first needed, by one request while the others wait,
// and again when they are old or a token names one that is not known, at a
// bounded rate. While the address does not answer, the keys from before count.
//
// It is a leaf: it imports exchange and reread of the house, and fetches through
// a [http.RoundTripper] that the proxy makes. A [Verifier] has no goroutine and
// nothing to close; it lives across reloads as long as its [Options] stay the
// same.
//
//	verifier, err := bearer.New(bearer.Options{To: pool, Target: "/certs", Host: "id.example.com", Issuer: "https://id.example.com"}, logger)
//	handler = verifier.Wrap(handler)
package bearer
