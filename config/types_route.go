package config

import "time"

// Action says what answers a request. A route has exactly one action, and so
// has a site without routes.
type Action struct {
	// Where requests go: the name of an upstream, or the address of a server
	// (`http://host:port`, `https://host`, `h2c://host:port` or `unix:/path`),
	// which is an upstream of one server with the defaults of `upstreams`.
	Proxy string `yaml:"proxy"`

	// Send the client to another address: the address itself, or `{to, status}`.
	Redirect *Redirect `yaml:"redirect"`

	// Serve files: the folder, or `{root, …}`.
	Files *Files `yaml:"files"`

	// Run PHP scripts by PHP-FPM, and serve the files beside them.
	PHP *PHP `yaml:"php"`

	// Answer at once: a status, a text, or `{status, body, headers}`.
	Respond *Respond `yaml:"respond"`
}

// Redirect sends the client to another address. In the file it may be just the
// address.
type Redirect struct {
	// The address, with placeholders: `https://HOST…`, or a path on the same
	// site. What comes from the client can only stand behind the host and its
	// slash, so that nobody can be sent elsewhere.
	To string `yaml:"to" kind:"template"`

	// 301, 302, 303, 307 or 308. 0: 302 for GET and HEAD, and 307, which keeps
	// method and body, for others: both are temporary, so a mistake is not
	// remembered by browsers.
	Status int `yaml:"status" default:"0" min:"0"`
}

// Respond is an answer that the proxy gives itself. In the file it may be just
// a status or a text.
type Respond struct {
	// 200 to 599.
	Status int `yaml:"status" default:"200" min:"200"`

	// The text, with placeholders. Text unless `headers` has a Content-Type.
	Body string `yaml:"body" kind:"template,lines"`

	// Fields of the answer, with placeholders.
	Headers Pairs `yaml:"headers" kind:"template"`
}

// Route is what happens to some of a site's requests: conditions, one action,
// and how it is done. The first route whose conditions all hold is taken.
type Route struct {
	Conditions

	// Conditions that must not all hold.
	Not *Conditions `yaml:"not"`

	Action
	Handling
}

// Conditions say which requests a route is for. All that are given must hold;
// of a list, one.
type Conditions struct {
	// The path, one or several: `/login` is that path alone, `/api/` everything
	// under it and `/api` itself, and `*` stands for one whole segment
	// (`/users/*/photo`). Written decoded, except %2F and %25.
	Path Texts `yaml:"path"`

	// Regular expression (RE2) that must match somewhere in the decoded path;
	// its groups are `{capture.1}` and so on.
	PathRegexp string `yaml:"path_regexp"`

	// The method; GET stands for HEAD too.
	Methods Texts `yaml:"methods"`

	// Fields and their values: the value itself, `"*"` for any, or
	// `~` and a regular expression.
	Headers Pairs `yaml:"headers"`

	// Query parameters and their values, as in headers.
	Query Pairs `yaml:"query"`

	// Addresses or networks (`10.0.0.0/8`) that the client is in.
	ClientIP Texts `yaml:"client_ip"`
}

// Handling is how requests are treated on their way to the action. What a site
// sets holds for each of its routes; what a route sets itself replaces the
// site's, except headers, which are merged. A nil or empty value is one that is
// not set.
type Handling struct {
	// What happens to requests over plain HTTP: `redirect` to HTTPS, `serve`
	// them like others, or `refuse` them with 403. Empty is `redirect`.
	HTTP string `yaml:"http" enum:"redirect,serve,refuse"`

	// Clients that may come in: addresses, networks, or `all`. Everybody else gets
	// 403. Empty: everybody.
	Allow Texts `yaml:"allow"`

	// Clients that may not. Looked at before allow, so that a client in both stays
	// out.
	Deny Texts `yaml:"deny"`

	// Ask for a name and a password.
	BasicAuth *BasicAuth `yaml:"basic_auth"`

	// Ask for a JSON Web Token.
	JWT *JWT `yaml:"jwt"`

	// Ask a server of authentication.
	ForwardAuth *ForwardAuth `yaml:"forward_auth"`

	// Take a prefix off the path before it is passed on. Paths without it stay.
	StripPrefix string `yaml:"strip_prefix"`

	// The path to pass on instead, with placeholders, encoded as in an address.
	// With a `?` in it the query is replaced too.
	Rewrite string `yaml:"rewrite" kind:"template"`

	// The path to pass on instead where a regular expression matches.
	RewriteRegexp *RewriteRegexp `yaml:"rewrite_regexp"`

	// Put a prefix before the path, after everything else.
	AddPrefix string `yaml:"add_prefix"`

	// A line for each request: `true`, `{…}`, or `off`, instead of what
	// `log.access` says.
	AccessLog *AccessLog `yaml:"access_log"`

	// Pages of the site's own for failures.
	Errors *ErrorPages `yaml:"errors"`

	// Close the site while a file exists: the name of that file, or
	// `{file, …}`.
	Maintenance *Maintenance `yaml:"maintenance"`

	// Fields of the request to change on its way to the action.
	RequestHeaders *HeaderRules `yaml:"request_headers"`

	// Fields of every response to change, error pages included.
	ResponseHeaders *HeaderRules `yaml:"response_headers"`

	// Fields that protect visitors: HSTS and friends.
	SecurityHeaders *SecurityHeaders `yaml:"security_headers"`

	// Which other origins' pages may read the responses.
	CORS *CORS `yaml:"cors"`

	// Flags for the cookies that the application sets.
	Cookies CookieRules `yaml:"cookies"`

	// The Host that the server gets: `client` for the client's, `upstream` for
	// that of the server's address, or a host itself. Empty is `client`.
	Host string `yaml:"host"`

	// Protocols other than WebSocket that a client may switch a connection to
	// with the server's consent (Upgrade), such as `tcp` for Docker's interface.
	// Never h2c, HTTP or TLS: these would lead past the checks.
	Upgrade Texts `yaml:"upgrade"`

	// How many requests are taken in a time.
	RateLimit RateLimits `yaml:"rate_limit"`

	// How many requests may be under way at once.
	MaxConnections *Concurrency `yaml:"max_connections"`

	// Largest request body; a larger one gets 413, at once if it announces its
	// length. 0 is no limit.
	MaxBody *Size `yaml:"max_body"`

	// Time in which a request's whole body has to arrive, counted from the
	// request's head; past it the client gets 408. Bytes after an upgrade are
	// not bounded. 0 is no limit.
	RequestTimeout *time.Duration `yaml:"request_timeout"`

	// Time that the server may take to begin its response, instead of
	// limits.response_header_timeout; past it the client gets 504. What follows,
	// streams and upgraded connections included, is not bounded by it. 0 is no
	// limit.
	ResponseTimeout *time.Duration `yaml:"response_timeout"`

	// Compress responses.
	Compress *Compress `yaml:"compress"`

	// Take in the whole request before the server is asked.
	BufferRequest *BufferRequest `yaml:"buffer_request"`

	// Send copies of requests to a second upstream.
	Mirror *Mirror `yaml:"mirror"`

	// Keep answers and give them to others who ask the same, by the rules of
	// RFC 9111: the application decides with Cache-Control what may be kept,
	// and for how long.
	Cache *Cache `yaml:"cache"`
}

// RewriteRegexp replaces the whole path where a regular expression matches.
type RewriteRegexp struct {
	// The regular expression (RE2), looked for in the decoded path.
	Match string `yaml:"match"`

	// The path instead, as in `rewrite`; `{capture.1}` and so on are the groups
	// of match.
	Replace string `yaml:"replace" kind:"template"`
}

// Texts is a list of texts, of which one alone may stand without brackets.
type Texts []string

// Pairs is a mapping of names to texts, in the order of the file.
type Pairs []Pair

// Pair is one name and its text.
type Pair struct{ Name, Value string }
