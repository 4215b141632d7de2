package config

import (
	"crypto/sha256"
	"time"

	"github.com/sallyport/sallyport/config/secret"
)

// The types below are the configuration language. The tags are its grammar:
// `yaml` names the key and `default` is the text that stands in for a key that
// is not written, read exactly as if the user had written it; `enum` lists the
// words allowed, `min` is the least value, and `kind` says "path" of a file name
// (relative ones are joined to the configuration file's directory) and "off"
// where the word off is a value. The comments are its reference: REFERENCE.md and the JSON Schema are generated from them, so
// they speak to the person who writes the file.

// Config is one configuration file, decoded, completed with defaults and
// validated.
type Config struct {
	// Where to listen.
	Listen Listen `yaml:"listen"`

	// Directory for certificates, private keys and the ACME account. Made
	// with mode 0700 when it does not exist. Back it up: it is all the state
	// there is.
	Storage string `yaml:"storage" default:"/var/lib/sallyport" kind:"path"`

	// The certificate authority and how to prove that names are ours.
	ACME ACME `yaml:"acme"`

	// Cloudflare API tokens and the zones each is used for. The environment
	// is never asked for a token.
	Cloudflare []Credential `yaml:"cloudflare"`

	// Proxies in front that are believed when they say who the client is:
	// addresses, networks (`10.0.0.0/8`), and `cloudflare`, which stands for the
	// networks that Cloudflare publishes (as of 2023-09-28, unchanged in 2026). Of
	// X-Forwarded-For and Forwarded the rightmost address that is not listed here
	// is the client's; CF-Connecting-IP counts from Cloudflare alone. From anybody
	// else all these are removed.
	TrustedProxies Texts `yaml:"trusted_proxies"`

	// Groups of servers, by name: a site's `proxy` may say the name instead of
	// an address. A name is made of letters, digits, `-`, `_` and `.`.
	Upstreams []Upstream `yaml:"upstreams"`

	// Limits on the rate of requests, by name, that routes share: `rate_limit:
	// NAME`. A name is made of letters, digits, `-`, `_` and `.`.
	RateLimits []RateLimit `yaml:"rate_limits"`

	// Reload when this file, or a file that it names, has changed: a second or
	// two after it was written last. What is wrong then is logged, and the old
	// configuration keeps serving.
	Watch bool `yaml:"watch" default:"false"`

	// Host names and what each serves: `name: server` or `name: {…}`. A name
	// is exact (`app.example.com`) or stands for one label
	// (`"*.example.com"`, in quotes).
	Sites []Site `yaml:"sites"`

	// Time and size limits, each with a safe default.
	Limits Limits `yaml:"limits"`

	// What is logged and how.
	Log Log `yaml:"log"`

	// Send a span of each request to a collector of OpenTelemetry. Off unless
	// asked for.
	Tracing *Tracing `yaml:"tracing"`

	// How much memory the program may use, and how it trades memory for
	// processor time.
	Runtime Runtime `yaml:"runtime"`

	// Where the running process is asked and steered: a control socket and, if wanted, an address for page, API and metrics.
	Admin Admin `yaml:"admin"`

	source *source
	digest [sha256.Size]byte
	blank  Upstream // what a server's address that names no upstream stands for
}

// Listen says which addresses the proxy accepts connections on.
type Listen struct {
	// Addresses for plain HTTP, which redirects to HTTPS: one, a list, or
	// `off`. An address is `:80`, `192.0.2.1:80` or `[2001:db8::1]:80`; port 0
	// takes a free port.
	HTTP Addresses `yaml:"http" default:":80" kind:"off"`

	// Addresses for HTTPS over TCP (HTTP/1.1 and HTTP/2): one or a list.
	HTTPS Addresses `yaml:"https" default:":443"`

	// Also serve HTTP/3 on the addresses of https, over UDP, and announce it to
	// clients of HTTP/1.1 and HTTP/2. Off unless asked for: it needs the same
	// ports open for UDP, and costs about twice the processor time of HTTP/2.
	HTTP3 bool `yaml:"http3" default:"false"`

	// Load balancers (addresses or networks) that begin each connection with a
	// PROXY preamble, version 1 or 2, on the addresses of http and https alike. They
	// must send it, and nobody else may. Not for HTTP/3.
	ProxyProtocol Texts `yaml:"proxy_protocol"`
}

// Addresses is a list of host:port. In the file one address may stand without
// the brackets of a list, and `off`, where it is allowed, is the empty list.
type Addresses []string

// ACME says who signs certificates and how names are proven.
type ACME struct {
	// Contact address of the ACME account. Needed as soon as one name is
	// issued by ACME.
	Email string `yaml:"email"`

	// `letsencrypt`, `letsencrypt-staging`, `zerossl` (needs `eab`) or the
	// https:// address of an ACME directory.
	CA string `yaml:"ca" default:"letsencrypt"`

	// PEM file with certificates that are trusted, besides the built-in public
	// roots, when talking to the CA: for a private CA.
	CARoot string `yaml:"ca_root" kind:"path"`

	// External account binding, for CAs that want one (RFC 8555 section 7.3.4).
	EAB *EAB `yaml:"eab"`

	// ACME profile to ask for, such as Let's Encrypt's `shortlived`. Empty
	// leaves the choice to the CA.
	Profile string `yaml:"profile"`

	// Key of each certificate: `p256`, `p384`, `rsa2048`, `rsa4096`.
	KeyType string `yaml:"key_type" default:"p256" enum:"p256,p384,rsa2048,rsa4096"`

	// Follow the CA's advice on when to renew (ARI, RFC 9773).
	ARI bool `yaml:"ari" default:"true"`

	// Renew when this fraction of a certificate's lifetime is left, if the CA
	// gives no advice: more than 0, less than 1.
	RenewalWindowRatio float64 `yaml:"renewal_window_ratio" default:"0.33"`

	// DNS servers (IP address, and a port unless it is 53) that resolve the CA,
	// the Cloudflare API and the zones' name servers. Empty uses the system's.
	Resolvers []string `yaml:"resolvers"`

	// How to wait for a challenge record to be visible.
	Propagation Propagation `yaml:"propagation"`
}

// EAB binds the ACME account to an account at the CA.
type EAB struct {
	// Key identifier given by the CA.
	KeyID string `yaml:"key_id"`

	// File with the base64url MAC key given by the CA.
	MACKeyFile string `yaml:"mac_key_file" kind:"path"`

	// The MAC key itself; prefer mac_key_file.
	MACKey secret.Text `yaml:"mac_key"`
}

// Propagation says how to wait for a DNS challenge record.
type Propagation struct {
	// Name servers (host, and a port unless it is 53) to ask instead of the
	// zone's own.
	Servers []string `yaml:"servers"`

	// How long to wait until every name server has the record. The order
	// fails after that and is tried again later.
	Timeout time.Duration `yaml:"timeout" default:"2m" min:"1ms"`

	// Pause between two questions to one name server.
	Interval time.Duration `yaml:"interval" default:"1s" min:"1ms"`
}

// Credential is one Cloudflare API token and the zones it is used for. Exactly
// one of token_file, token and credential is given.
type Credential struct {
	// Name in logs and status. Empty: the first zone.
	Name string `yaml:"name"`

	// The zones this token is used for, exactly. A name belongs to the longest
	// zone that holds it.
	Zones []string `yaml:"zones"`

	// File that holds the token, or certbot's cloudflare.ini. Read again
	// whenever it is needed, so a new token takes effect without a reload.
	// Must not be readable by everyone.
	TokenFile string `yaml:"token_file" kind:"path"`

	// The token itself; prefer token_file.
	Token secret.Text `yaml:"token"`

	// Name of a systemd credential (LoadCredential=NAME:PATH) that holds the
	// token: the file NAME in the directory given by --credentials-dir.
	Credential string `yaml:"credential"`

	// Address of the Cloudflare API; another one is for tests and gateways.
	APIURL string `yaml:"api_url" default:"https://api.cloudflare.com/client/v4"`

	// PEM file with certificates that are trusted, besides the built-in public
	// roots, when talking to api_url.
	APIRoot string `yaml:"api_root" kind:"path"`
}

// Site is a host name and what it serves: routes, or one action. In the file it
// may be just the address of a server.
type Site struct {
	// The site's name: its key under `sites`, in lower case and in ASCII
	// (internationalised names as xn--).
	Name string `yaml:"-"`

	// More names for the same site.
	Aliases []string `yaml:"aliases"`

	// Where the certificate comes from: `acme`, `internal`, or
	// `{certificate: FILE, key: FILE}`. Empty: `internal` for localhost and
	// names under it, else `acme`.
	TLS TLS `yaml:"tls"`

	// What is served where, in order: the first route whose conditions hold is
	// taken. A request that no route is for gets 404. Instead of routes a site
	// may have one action itself.
	Routes []Route `yaml:"routes"`

	// Pass several slashes in a row on as one. Otherwise they are kept.
	MergeSlashes bool `yaml:"merge_slashes" default:"false"`

	// What the applications make of `;` in a path: `strip`, as Java's do (they
	// take /admin;x for /admin), or `keep`. Empty: it is not known, and a
	// request for which it would choose the route is refused with 400.
	PathParameters string `yaml:"path_parameters" enum:"strip,keep"`

	// What the applications make of %2F in a path: `keep` it as a part of a
	// segment, or `decode` it to a slash like others. Empty: it is not known, as
	// above. It is passed on as it came in any case.
	EncodedSlashes string `yaml:"encoded_slashes" enum:"keep,decode"`

	Action
	Handling
}

// TLS says where a site's certificate comes from. In the file it may be just
// the word `acme` or `internal`.
type TLS struct {
	// `acme` or `internal` (a CA of our own, for development and private
	// names). Not given together with files.
	Issuer Issuer `yaml:"issuer" enum:"acme,internal"`

	// PEM file with the certificate and its chain. Read again when it changes.
	Certificate string `yaml:"certificate" kind:"path"`

	// PEM file with the private key. Read again when it changes.
	Key string `yaml:"key" kind:"path"`

	// Ask clients for certificates of their own.
	ClientAuth *ClientAuth `yaml:"client_auth"`
}

// Issuer says who signs a name's certificate.
type Issuer string

// The issuers.
const (
	IssuerACME     Issuer = "acme"
	IssuerInternal Issuer = "internal"
	IssuerFile     Issuer = "file" // certificate and key files were given
)

// Size is a number of bytes, written as a number or with KiB, MiB or GiB (also
// KB, MB, GB in powers of 1000, and nginx's k, m, g in powers of 1024).
type Size int64

// Runtime tunes the Go runtime, whose variables (GOGC, GOMEMLIMIT) cannot reach
// the program.
type Runtime struct {
	// Memory that the program tries not to exceed: a soft limit, near which
	// garbage is collected more often. 0 is nine tenths of what the control
	// group (container, systemd unit) or else the machine has.
	MemoryLimit Size `yaml:"memory_limit" default:"0"`

	// By how many percent of what is in use the heap may grow before garbage is
	// collected. More costs memory and saves processor time. Past 48 MiB in all
	// garbage is held to about as much as what is in use, whatever this says.
	GCPercent int `yaml:"gc_percent" default:"800" min:"50"`

	// Percent of memory_limit that may be in use, garbage not counted, before
	// load is shed: caches are dropped, unused connections closed, new ones and
	// new requests refused with 503, until use has fallen a tenth below. From 50
	// to 100.
	Pressure int `yaml:"pressure" default:"85" min:"50"`
}

// Admin is how the running process is watched and told what to do.
type Admin struct {
	// Path of the unix socket, made with mode 0600, or `off`. Empty:
	// sallyport.sock in the storage directory.
	Socket string `yaml:"socket" kind:"path,off"`

	// Addresses on which the same is there over HTTP for who knows the token:
	// the status page, metrics, the API. It is not encrypted, so only this
	// machine or a private network should reach it. Empty: none.
	Listen Addresses `yaml:"listen" kind:"off"`

	// File with the token for `listen`, at least 16 characters. Read at each
	// use.
	TokenFile string `yaml:"token_file" kind:"path"`
}
