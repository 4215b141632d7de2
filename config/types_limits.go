package config

import "time"

// Limits bounds what clients and servers can take from the proxy. No limit can
// be switched off except where its comment says so.
type Limits struct {
	// Connections from clients that may be open at once, over TCP and QUIC
	// together. At the limit the oldest connection without a request makes room
	// for a new one, first of all from the address that has most; when each has
	// one, no more are accepted until one ends. It is never more than half of
	// the limit on open files, which leaves the rest for connections to servers.
	Connections int `yaml:"connections" default:"16384" min:"8"`

	// Connections that may be open at once from one address (IPv6: from one
	// /64). More are closed as soon as they are made. 0 is no limit, which is
	// needed behind a load balancer that hides its clients' addresses.
	ConnectionsPerAddress int `yaml:"connections_per_address" default:"1024" min:"0"`

	// Largest request head: request line and header fields together.
	RequestHeaderBytes Size `yaml:"request_header_bytes" default:"64KiB" min:"1KiB"`

	// Most fields in a request head; past it the client gets 431.
	RequestHeaderCount int `yaml:"request_header_count" default:"128" min:"16"`

	// Longest request target (path and query); past it the client gets 414.
	URILength Size `yaml:"uri_length" default:"16KiB" min:"256"`

	// Time to receive a request head, from its first byte or from the
	// connection's start.
	RequestHeaderTimeout time.Duration `yaml:"request_header_timeout" default:"10s" min:"1ms"`

	// Time for a TLS handshake.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout" default:"10s" min:"1ms"`

	// Time that a client's connection may wait for its next request.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"75s" min:"1ms"`

	// Bytes a second that a client must send of a request's body, and take of
	// an answer, once min_rate_grace is over. Who is slower is cut off: with
	// 408 if no answer has begun. Upgraded connections, gRPC and server-sent
	// events are exempt. 0 is no limit.
	MinRate Size `yaml:"min_rate" default:"512"`

	// Time that a client may stand still, or be slower than min_rate, in the
	// middle of a body.
	MinRateGrace time.Duration `yaml:"min_rate_grace" default:"30s" min:"1ms"`

	// Time that an upgraded connection (WebSocket) may be silent in both
	// directions before it is closed; a WebSocket's ends get a close frame
	// (1001). 0 is no limit.
	UpgradedIdleTimeout time.Duration `yaml:"upgraded_idle_timeout" default:"1h"`

	// Time to connect to a server, TLS included; past it the client gets 504.
	ConnectTimeout time.Duration `yaml:"connect_timeout" default:"5s" min:"1ms"`

	// Time that a server may take to begin its response; past it the client
	// gets 504. 0 is no limit.
	ResponseHeaderTimeout time.Duration `yaml:"response_header_timeout" default:"60s"`

	// Largest head of a server's response; past it the client gets 502.
	ResponseHeaderBytes Size `yaml:"response_header_bytes" default:"256KiB" min:"1KiB"`

	// Time that a server may stand still in the middle of a body: send no more
	// of its answer, or take no more of the request's. Server-sent events, gRPC
	// and upgraded connections are exempt. 0 is no limit.
	UpstreamBodyTimeout time.Duration `yaml:"upstream_body_timeout" default:"5m"`

	// Time that an unused connection to a server is kept.
	UpstreamIdleTimeout time.Duration `yaml:"upstream_idle_timeout" default:"60s" min:"1ms"`

	// Unused connections kept to each server.
	UpstreamIdleConnections int `yaml:"upstream_idle_connections" default:"64" min:"1"`

	// Requests that one HTTP/2 or HTTP/3 connection may have under way.
	HTTP2Streams int `yaml:"http2_streams" default:"128" min:"1"`

	// Time between a graceful stop's beginning, when `sallyport healthcheck` and
	// the admin API say that it is stopping, and its doing so: for balancers in
	// front to send nobody here any more. Requests are served as ever meanwhile.
	PreStopDelay time.Duration `yaml:"pre_stop_delay" default:"0s"`

	// Time that requests under way get to finish at a graceful stop.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" default:"30s"`
}
