package config

import "time"

// RateLimits is a list of rate limits, of which one alone may stand without
// brackets. A request has to pass all of them.
type RateLimits []RateLimit

// RateLimit says how many requests are taken in a time, by a bucket of tokens
// for each key; more get 429 with Retry-After, RateLimit and RateLimit-Policy.
// In a route it may be just the name of one under `rate_limits`.
type RateLimit struct {
	// The limit's name: its key under `rate_limits`. Empty for one that stands
	// in a route.
	Name string `yaml:"-"`

	// In a route: the name of a limit under `rate_limits`, which is shared by
	// all who name it. Nothing else is given then.
	Use string `yaml:"use"`

	// Whose requests count together: `client_ip` (of IPv6 the /64), `peer_ip`,
	// `host`, `path`, `method`, `site`, `user` (after authentication; without
	// one, client_ip), `header:NAME`, `cookie:NAME`, or several with blanks
	// between.
	Key string `yaml:"key" default:"client_ip"`

	// How many requests in which time: `10/s`, `5/m`, `100/h`, `1000/d`.
	Rate string `yaml:"rate"`

	// How many may come at once after a pause: the size of the bucket. 0: the
	// number of the rate.
	Burst int `yaml:"burst" default:"0" min:"0"`

	// For how many keys there is a count, at 16 bytes each. If more are in use
	// at once, those that used least are forgotten, so who is over the limit is
	// forgotten last.
	Keys int `yaml:"keys" default:"1048576" min:"512"`

	// Put RateLimit and RateLimit-Policy on every response, not only on 429.
	Announce bool `yaml:"announce" default:"false"`

	// Count and log what would be refused, but let it pass.
	DryRun bool `yaml:"dry_run" default:"false"`
}

// Concurrency bounds the requests under way; more get 429. An upgraded
// connection is one as long as it lasts. In the file it may be just the limit.
type Concurrency struct {
	// Most requests under way for each key. 0 is no limit.
	Limit int `yaml:"limit" default:"0" min:"0"`

	// Whose requests count together, as in rate_limit.
	Key string `yaml:"key" default:"client_ip"`
}

// Compress says which responses are compressed. In the file it may be just
// `true` or `false`.
type Compress struct {
	// Compress; `false` is for a route of a site that does.
	Enabled bool `yaml:"enabled" default:"true"`

	// `zstd` and `gzip`, or one of them, the preferred one first.
	Encodings Texts `yaml:"encodings"`

	// Media types: one in full, `text/*` or `*+json`. Empty: those that shrink.
	// Streams of events, gRPC and what is encoded already never are.
	Types Texts `yaml:"types"`

	// Least Content-Length. Responses of unknown length count as long.
	MinSize Size `yaml:"min_size" default:"512"`

	// `fast`, `default` or `best`; each costs about twice the processor time of
	// the one before.
	Level string `yaml:"level" default:"default" enum:"fast,default,best"`

	// Responses compressed at a time, up to 2 MiB of memory each (level best:
	// 5 MiB); more go out as they are.
	Encoders int `yaml:"encoders" default:"64" min:"1"`
}

// BufferRequest says how a request's whole body is taken in before the server
// is asked: a slow client does not keep the server busy, the server learns the
// length, and an idempotent request whose body was sent in part can be tried
// again. In the file it may be just `true` or `false`.
type BufferRequest struct {
	// Buffer; `false` is for a route of a site that does.
	Enabled bool `yaml:"enabled" default:"true"`

	// How much of one body is kept in memory; the rest goes into a file without
	// a name in the storage directory.
	Memory Size `yaml:"memory" default:"64KiB" min:"1KiB"`

	// The largest body; a larger one gets 413.
	Max Size `yaml:"max" default:"64MiB" min:"1KiB"`

	// Memory for all bodies together; past it they go to disk.
	TotalMemory Size `yaml:"total_memory" default:"64MiB" min:"1KiB"`

	// Disk for all bodies together; past it requests get 503.
	TotalDisk Size `yaml:"total_disk" default:"1GiB" min:"1KiB"`
}

// Mirror sends copies of requests to a second upstream, whose answers nobody
// sees. In the file it may be just the upstream.
type Mirror struct {
	// The upstream's name, or the address of a server.
	To string `yaml:"to"`

	// How many of a hundred requests are copied. 0: none.
	Percent float64 `yaml:"percent" default:"100"`

	// The largest body that is copied; requests with a larger one are not.
	MaxBody Size `yaml:"max_body" default:"64KiB"`

	// Copies under way at a time, each with its body in memory; more are left
	// out.
	Concurrent int `yaml:"concurrent" default:"16" min:"1"`

	// Time for one copy.
	Timeout time.Duration `yaml:"timeout" default:"10s" min:"1ms"`
}
