package config

import "time"

// HeaderRules says how fields are changed, in this order: remove, set, add,
// default. The rules of a route are added to its site's and take nothing of
// them away, except what the route sets or removes itself.
type HeaderRules struct {
	// Fields to take away. A name that ends in `*` stands for all that begin so.
	Remove Texts `yaml:"remove"`

	// Fields to write in place of those of the same name.
	Set Pairs `yaml:"set" kind:"template"`

	// Fields to write beside those of the same name.
	Add Pairs `yaml:"add" kind:"template"`

	// Fields to write if there is none of the name.
	Default Pairs `yaml:"default" kind:"template"`

	site *HeaderRules
}

// Merged adds the rules of a site to those of one of its routes.
func (r *HeaderRules) Merged(site *HeaderRules) *HeaderRules {
	merged := *r
	merged.site = site
	return &merged
}

// Site returns the rules of the site that r were added to, nil if there are
// none.
func (r *HeaderRules) Site() *HeaderRules { return r.site }

// SecurityHeaders says which fields protect a site's visitors. What the
// application sets itself stays. In the file it may be just `true` or `false`.
type SecurityHeaders struct {
	// Add them; `false` is for a route of a site that does.
	Enabled bool `yaml:"enabled" default:"true"`

	// Strict-Transport-Security: for how long browsers may use only HTTPS. 0
	// leaves it out. It goes out over TLS only, and never for localhost.
	HSTS time.Duration `yaml:"hsts" default:"8760h"`

	// Extend it to all names below the site's. Be sure that each has HTTPS.
	HSTSSubdomains bool `yaml:"hsts_subdomains" default:"false"`

	// Ask to be put on the lists that browsers come with, which is hard to take
	// back.
	HSTSPreload bool `yaml:"hsts_preload" default:"false"`

	// X-Content-Type-Options: nosniff.
	NoSniff bool `yaml:"nosniff" default:"true"`

	// Who may show the pages in a frame: `self`, `none`, `off` for no such
	// field, or sources of Content-Security-Policy's frame-ancestors. The first
	// two also set X-Frame-Options.
	FrameAncestors string `yaml:"frame_ancestors" default:"self" kind:"off"`

	// Referrer-Policy, or `off`.
	ReferrerPolicy string `yaml:"referrer_policy" default:"strict-origin-when-cross-origin" kind:"off"`

	// Permissions-Policy. Empty: none.
	PermissionsPolicy string `yaml:"permissions_policy"`

	// Content-Security-Policy. Empty: none but for frame_ancestors.
	ContentSecurityPolicy string `yaml:"content_security_policy"`

	// Cross-Origin-Opener-Policy. Empty: none.
	OpenerPolicy string `yaml:"cross_origin_opener_policy"`

	// Cross-Origin-Embedder-Policy. Empty: none.
	EmbedderPolicy string `yaml:"cross_origin_embedder_policy"`

	// Cross-Origin-Resource-Policy. Empty: none.
	ResourcePolicy string `yaml:"cross_origin_resource_policy"`

	// Replace what the application sets itself.
	Override bool `yaml:"override" default:"false"`
}

// CORS lets pages of other origins read responses. Preflights are answered by
// the proxy, and what the application says about sharing is replaced. In the
// file it may be just `false`, for a route of a site that has it.
type CORS struct {
	// Share; `false` is for a route of a site that does.
	Enabled bool `yaml:"enabled" default:"true"`

	// Who may read: `https://app.example.com`, `https://*.example.com` (one more
	// label), or `"*"` for everybody.
	Origins Texts `yaml:"origins"`

	// Methods besides GET, HEAD and POST that they may use, or `"*"`.
	Methods Texts `yaml:"methods"`

	// Fields that their scripts may send, or `"*"`.
	Headers Texts `yaml:"headers"`

	// Fields of the responses that their scripts may see.
	Expose Texts `yaml:"expose"`

	// Allow requests with cookies and client certificates.
	Credentials bool `yaml:"credentials" default:"false"`

	// How long browsers may remember what a preflight was told. 0 leaves it to
	// them.
	MaxAge time.Duration `yaml:"max_age" default:"0s"`
}

// CookieRules is a list of cookie rules, of which one alone may stand without
// brackets. The first whose name fits a cookie counts.
type CookieRules []CookieRule

// CookieRule says which flags the cookies of an application get. Flags are only
// added, never taken away.
type CookieRule struct {
	// Name of the cookies; with a `*` at the end, all that begin so. Empty: all.
	Name string `yaml:"name"`

	// Add Secure, over TLS.
	Secure bool `yaml:"secure" default:"false"`

	// Add HttpOnly.
	HTTPOnly bool `yaml:"http_only" default:"false"`

	// Add SameSite to cookies without. `none` brings Secure with it.
	SameSite string `yaml:"same_site" enum:"lax,strict,none"`
}
