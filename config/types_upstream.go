package config

import "time"

// Upstream is a group of servers that serve the same.
type Upstream struct {
	// The upstream's name: its key under `upstreams`. Empty for one that a
	// site made by naming an address.
	Name string `yaml:"-"`

	// The servers, each an address or a mapping; at most 256.
	Servers []Server `yaml:"servers"`

	// How a server is chosen. `random_two`: the less busy of two at random.
	// `round_robin`: in turn. `least_conn`: the one with the fewest requests
	// under way for its weight. `ip_hash` (the client's address; of IPv6 its
	// /64), `header:NAME` and `cookie:NAME`: the same value leads to the same
	// server, and when a server is lost only its share moves; requests without
	// the value go as by `random_two`.
	Balance string `yaml:"balance" default:"random_two"`

	// Keep each client at one server by a cookie of ours.
	Sticky *Sticky `yaml:"sticky"`

	// How TLS is spoken with https:// servers. Left out: their certificates
	// must be signed by a public authority, and none is shown to them.
	TLS *UpstreamTLS `yaml:"tls"`

	// Ask the servers for their health. Without it a server is judged by the
	// requests alone.
	Health *Health `yaml:"health"`

	// A server is avoided for fail_timeout after so many failed requests
	// within fail_timeout, if there is another. 0: it is not.
	MaxFails int `yaml:"max_fails" default:"3" min:"0"`

	// See max_fails.
	FailTimeout time.Duration `yaml:"fail_timeout" default:"10s" min:"1ms"`

	// Time in which the share of a server that comes back grows to its whole.
	// 0: at once.
	SlowStart time.Duration `yaml:"slow_start" default:"0s"`

	// Most requests under way at one server, and so most connections over
	// HTTP/1.1 (health checks come on top). 0 is no limit.
	MaxConnections int `yaml:"max_connections" default:"0" min:"0"`

	// What happens to requests when a server has max_connections under way.
	Queue Queue `yaml:"queue"`

	// What is tried again when it fails.
	Retries Retries `yaml:"retries"`

	// Time that requests wait while every server refuses the connection or
	// has no address, as when a container is made anew; past it the client gets
	// 502. 0: they do not wait.
	Hold time.Duration `yaml:"hold" default:"10s"`
}

// Server is one server of an upstream. In the file it may be just its address.
type Server struct {
	// The address: `http://host:port`, `https://host`, `h2c://host:port` or
	// `unix:/path`.
	URL string `yaml:"url"`

	// Share of the requests in proportion to the others'.
	Weight int `yaml:"weight" default:"1" min:"1"`

	// Most requests under way; 0: the upstream's max_connections.
	MaxConnections int `yaml:"max_connections" default:"0" min:"0"`

	// Used only while none of the other servers is up.
	Backup bool `yaml:"backup" default:"false"`
}

// UpstreamTLS says how TLS is spoken with https:// servers. Their certificates
// are always checked: there is no key that leaves it out. For a certificate
// that no public authority signed name its authority, or the certificate
// itself, in `ca`; for one of another name, that name in `server_name`.
type UpstreamTLS struct {
	// PEM file with the certificates that may sign the servers', instead of
	// the public authorities, or with the servers' own certificates. Read
	// again when it changes.
	CA string `yaml:"ca" kind:"path"`

	// PEM file with the certificate, and its chain, that is shown to servers
	// that ask for one. Read again when it changes.
	Certificate string `yaml:"certificate" kind:"path"`

	// PEM file with the certificate's private key. Read again when it changes.
	Key string `yaml:"key" kind:"path"`

	// Name to ask the servers for (SNI), which must be in their certificates.
	// Empty: the host of each address.
	ServerName string `yaml:"server_name"`
}

// Sticky keeps each client at one server as long as that is up. The cookie
// ends with the browser's session, is Secure and HttpOnly, and does not show
// the server's address.
type Sticky struct {
	// Name of the cookie.
	Cookie string `yaml:"cookie"`
}

// Health says how servers are asked for their health.
type Health struct {
	// Path to get. Empty is `/`.
	Path string `yaml:"path"`

	// Host to send. Empty: the server's own host and port.
	Host string `yaml:"host"`

	// The good statuses: one, or the least and the greatest.
	Status string `yaml:"status" default:"200-399"`

	// Text that must be in the first 64 KiB of the answer.
	Body string `yaml:"body"`

	// Ask by the gRPC health protocol instead (h2c:// and https:// servers).
	GRPC bool `yaml:"grpc" default:"false"`

	// Time from one question to the next, give or take a tenth.
	Interval time.Duration `yaml:"interval" default:"5s" min:"10ms"`

	// Time for the answer.
	Timeout time.Duration `yaml:"timeout" default:"2s" min:"1ms"`

	// Bad answers in a row until a server counts as down.
	Fall int `yaml:"fall" default:"2" min:"1"`

	// Good answers in a row until it counts as up again.
	Rise int `yaml:"rise" default:"1" min:"1"`
}

// Queue is where requests wait for a server that has max_connections under way.
type Queue struct {
	// Most requests waiting for one server; more get 503.
	Size int `yaml:"size" default:"100" min:"0"`

	// Time a request waits; past it the client gets 503.
	Timeout time.Duration `yaml:"timeout" default:"10s" min:"1ms"`
}

// Retries says what is tried again, at another server if there is one, when it
// fails. A server that cannot be connected to is always another's turn;
// everything else is tried again only if the method is idempotent and nothing
// of a body was sent.
type Retries struct {
	// How often a request is tried in all. 1: once. A refused connection does
	// not count.
	Attempts int `yaml:"attempts" default:"3" min:"1"`

	// What besides connecting is tried again: `closed` (the connection broke
	// before an answer), `timeout` (no answer in time), and these statuses, if
	// there is another server. Empty list: nothing. Left out: `closed`.
	On []string `yaml:"on" enum:"closed,timeout,502,503,504"`
}
