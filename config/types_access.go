package config

import (
	"time"

	"github.com/sallyport/sallyport/config/secret"
)

// BasicAuth asks for a name and a password (RFC 7617). One of users_file and
// users is given. In a route, `off` asks for none though the site does.
type BasicAuth struct {
	// Written as `off`.
	Off bool `yaml:"-"`

	// What a browser shows when it asks.
	Realm string `yaml:"realm" default:"Restricted"`

	// File with a line NAME:HASH for each user, as `htpasswd -B` writes it.
	// Only bcrypt hashes count (`$2y$…`): MD5, SHA-1 and plain text are guessed in
	// no time, and SHA-crypt is not supported. Read again when it changes; a file
	// that has become bad leaves the users as they were.
	UsersFile string `yaml:"users_file" kind:"path"`

	// The users themselves, `NAME: HASH`, hashed as in users_file.
	Users Users `yaml:"users"`

	// Leave the Authorization field, with the password, in the request for the
	// server behind.
	PassAuthorization bool `yaml:"pass_authorization" default:"false"`
}

// Users is a mapping of names to hashes of passwords, in the order of the file.
type Users []User

// User is one name and the hash of its password.
type User struct {
	Name string
	Hash secret.Text
}

// ForwardAuth asks a server of authentication (Authelia, authentik,
// oauth2-proxy) about each request: an answer of 2xx lets it pass, any other
// below 500 goes to the client. In a route, `off` asks nobody though the site
// does.
type ForwardAuth struct {
	// Written as `off`.
	Off bool `yaml:"-"`

	// What is asked: `http://HOST:PORT/PATH`. Method, scheme, host and target of
	// the request and the client's address go along as X-Forwarded-Method,
	// -Proto, -Host, -Uri and -For, and as X-Original-Method and -URL.
	URL string `yaml:"url"`

	// Fields of the answer to copy to the request: Remote-User, Remote-Groups.
	// What a client sends under these names is removed, on every site.
	CopyHeaders Texts `yaml:"copy_headers"`

	// Fields of the client's request that the server gets, instead of Accept,
	// Accept-Language, Authorization, Cookie, Origin, Proxy-Authorization,
	// Referer, Sec-Fetch-Dest, Sec-Fetch-Mode, Sec-Fetch-Site, User-Agent and
	// X-Requested-With. Never the body.
	SendHeaders Texts `yaml:"send_headers"`

	// Where to send a browser instead of an answer of 401, for servers that do
	// not redirect themselves: an address or a path, to which `?rd=` and where
	// to come back to is added. oauth2-proxy's is `/oauth2/sign_in`.
	SignIn string `yaml:"sign_in"`

	// Time for the whole question; past it the client gets 504.
	Timeout time.Duration `yaml:"timeout" default:"10s" min:"1ms"`
}

// JWT lets requests pass that carry a JSON Web Token (RFC 7519) with a good
// signature, of the issuer, for the audience, and not expired. One of jwks_url
// and key_file is given. In a route, `off` asks for none though the site does.
type JWT struct {
	// Written as `off`.
	Off bool `yaml:"-"`

	// Address of the issuer's public keys, `https://HOST/PATH`. Fetched when the
	// first token comes, again after an hour or when a token names a key that is
	// not known (at most every 30 seconds); while it is down, the keys from
	// before count. Redirects are not followed.
	JWKSURL string `yaml:"jwks_url"`

	// File with the public keys instead: PEM (keys or certificates) or a JWK set.
	// Read again when it changes.
	KeyFile string `yaml:"key_file" kind:"path"`

	// What tokens may be signed with: RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512, EdDSA. Empty: RS256, ES256 and EdDSA. There is no HMAC
	// and no `none`.
	Algorithms Texts `yaml:"algorithms"`

	// The token's `iss`, exactly.
	Issuer string `yaml:"issuer"`

	// The token's `aud` has one of these. Empty accepts tokens of the issuer for
	// anybody.
	Audience Texts `yaml:"audience"`

	// How far the clocks of issuer and proxy may differ.
	Leeway time.Duration `yaml:"leeway" default:"30s"`

	// Field that holds the token. Authorization has it behind `Bearer`, others
	// have just the token (`Cf-Access-Jwt-Assertion`).
	Header string `yaml:"header" default:"Authorization"`

	// Remove that field before the request is passed on.
	RemoveToken bool `yaml:"remove_token" default:"false"`

	// Claim that becomes `{user}` and the user in the access log.
	UserClaim string `yaml:"user_claim" default:"sub"`

	// Fields for the server behind, `NAME: claim`; a dot leads into a claim
	// (`realm_access.roles`), lists become values with commas between. What a
	// client sends under these names is removed, on every site.
	Headers Pairs `yaml:"headers"`
}

// ClientAuth asks a site's clients for certificates (mTLS).
type ClientAuth struct {
	// `require` a certificate, or `verify_if_given`: without one the request is
	// served, with a bad one it is not.
	Mode string `yaml:"mode" default:"require" enum:"require,verify_if_given"`

	// PEM files with the certificates of the authorities that sign clients', one
	// or several. Read again when they change.
	CA Texts `yaml:"ca" kind:"path"`

	// Fields for the server behind, `NAME: subject` (also `common_name`,
	// `fingerprint`, `serial`, `names`, `certificate`). What a client sends under
	// these names is removed, on every site.
	Headers Pairs `yaml:"headers"`
}
