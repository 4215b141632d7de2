package admin

import (
	"strconv"
	"time"
)

// Schema is the version of what the API answers: it grows by fields, and
// changes its number when one changes its meaning or goes.
const Schema = 1

// Status is the answer of GET /v1/status: everything that there is to know.
// Times are RFC 3339, durations are in the unit that the name ends in.
type Status struct {
	Schema   int       `json:"schema"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"`
	Problems []string  `json:"problems,omitempty"` // as of GET /v1/health

	// Storage says why no certificate can be kept; nil if nothing is known to be wrong.
	Storage *Problem `json:"storage_problem,omitempty"`

	Config       Config        `json:"config"`
	Listeners    []Listener    `json:"listeners"`
	Connections  Connections   `json:"connections"`
	Traffic      Traffic       `json:"traffic"`
	Sites        []Site        `json:"sites"`
	Certificates []Certificate `json:"certificates"`
	Credentials  []Credential  `json:"credentials"`
	Upstreams    []Upstream    `json:"upstreams"`
	Events       []Event       `json:"events"` // the latest first
}

// Config says what is loaded.
type Config struct {
	Path     string    `json:"path"`
	Hash     string    `json:"hash"` // first 12 hexadecimal digits of the file's SHA-256
	LoadedAt time.Time `json:"loaded_at"`
	Stale    string    `json:"stale,omitempty"` // why the file that is read is not the one that was edited
	Last     *Reload   `json:"last_reload,omitempty"`
}

// Reload is what came of a reload.
type Reload struct {
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	Changed  bool      `json:"changed"` // the file was another than before
	Error    string    `json:"error,omitempty"`
	Hint     string    `json:"hint,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Place   string `json:"place"` // file:line:column
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning,omitempty"` // it does not keep the configuration from being loaded
}

// Listener is one address that is listened on.
type Listener struct {
	Name    string `json:"name"` // http, https, http3
	Address string `json:"address"`
}

// Connections counts those of clients.
type Connections struct {
	Open       int    `json:"open"`
	Accepted   uint64 `json:"accepted"`
	Handshakes uint64 `json:"handshakes"`
	Resumed    uint64 `json:"resumed"`
	Failed     uint64 `json:"handshakes_failed"`
	Refused    uint64 `json:"refused"` // by the limits on connections
}

// Traffic is how busy it is.
type Traffic struct {
	UnderWay int     `json:"under_way"`
	Rate     float64 `json:"requests_per_second"` // over the last ten seconds
	Failing  float64 `json:"failures_per_second"` // of them 5xx
	P50      float64 `json:"p50_ms"`              // over the last minute
	P99      float64 `json:"p99_ms"`
	Series   []Point `json:"series"` // five minutes, the oldest first
}

// Point is a few seconds of traffic.
type Point struct {
	Rate    float64 `json:"rate"`
	Failing float64 `json:"failing"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

// Site is one site of the configuration.
type Site struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	Routes  []string `json:"routes"` // what each does: "/api/ -> api"
}

// Certificate is that of one name.
type Certificate struct {
	Name       string     `json:"name"`
	Sites      []string   `json:"sites"`
	State      string     `json:"state"`
	Serves     bool       `json:"serves"` // there is one to serve
	Issuer     string     `json:"issuer"`
	CA         string     `json:"ca,omitempty"`
	Zone       string     `json:"zone,omitempty"`
	Credential string     `json:"credential,omitempty"`
	CoveredBy  string     `json:"covered_by,omitempty"`
	NotAfter   *time.Time `json:"not_after,omitempty"`
	DaysLeft   *int       `json:"days_left,omitempty"` // whole ones; negative: expired
	Next       *time.Time `json:"next_attempt,omitempty"`
	Attempts   int        `json:"failed_attempts,omitempty"`
	Error      string     `json:"error,omitempty"`
	Hint       string     `json:"hint,omitempty"`
}

// Credential is one Cloudflare token. The token itself is never shown.
type Credential struct {
	Name        string     `json:"name"`
	Zones       []string   `json:"zones"`
	Source      string     `json:"source"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	Checked     *time.Time `json:"checked,omitempty"` // when it was last used or looked at
	OK          bool       `json:"ok"`
	Error       string     `json:"error,omitempty"`
	Hint        string     `json:"hint,omitempty"`
}

// Upstream is a group of servers.
type Upstream struct {
	Name    string   `json:"name"` // that of the configuration, or the server's address
	Servers []Member `json:"servers"`
}

// Member is one server of an upstream.
type Member struct {
	Address  string     `json:"address"`
	State    string     `json:"state"` // up, down, draining
	Since    *time.Time `json:"since,omitempty"`
	Cause    string     `json:"cause,omitempty"` // of being down
	Hint     string     `json:"hint,omitempty"`  // what to do about it
	UnderWay int        `json:"under_way"`
	Waiting  int        `json:"waiting"`
	Weight   int        `json:"weight"`
	Backup   bool       `json:"backup,omitempty"`
	Failures int        `json:"failures"` // in the window that max_fails counts
}

// Event is something that an operator should know: a line of the log at the
// level of a warning or worse. Alike ones are one, with a count.
type Event struct {
	At      time.Time         `json:"at"` // the latest
	Level   string            `json:"level"`
	Logger  string            `json:"logger,omitempty"`
	Message string            `json:"message"`
	Error   string            `json:"error,omitempty"`
	Hint    string            `json:"hint,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	Count   int               `json:"count"`
}

// Done is the answer to a command that has nothing more to say. Message is a
// whole sentence; Count is the number in it for programs: resources purged,
// upstreams that have the server drained, the pid after an upgrade.
type Done struct {
	Message string `json:"message"`
	Count   int    `json:"count,omitempty"`
}

// Failure is the answer to a request that could not be fulfilled.
type Failure struct {
	Message string `json:"error"`
	Cure    string `json:"hint,omitempty"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Hint says what to do.
func (f *Failure) Hint() string { return f.Cure }

// Plan is what a configuration would change.
type Plan struct {
	Against  string    `json:"against"` // the hash of the one that is loaded, "" if there is none
	Hash     string    `json:"hash"`
	OK       bool      `json:"ok"`                // it could be loaded
	Restart  string    `json:"restart,omitempty"` // the setting that needs one
	Problems []Problem `json:"problems,omitempty"`
	Changes  []Change  `json:"changes"`
}

// Change is one thing that a configuration would change.
type Change struct {
	Kind   string `json:"kind"` // listener, site, route, upstream, certificate, setting
	Name   string `json:"name"`
	What   string `json:"what"` // added, removed, changed
	Detail string `json:"detail,omitempty"`

	// Connections are those that would be ended for it, once they have had
	// limits.shutdown_timeout.
	Connections int `json:"connections,omitempty"`
}

// Left is how many days a certificate is valid yet, for people: "-" for none.
func (c Certificate) Left() string {
	switch {
	case c.DaysLeft == nil:
		return "-"
	case *c.DaysLeft < 0:
		return "expired"
	}
	return strconv.Itoa(*c.DaysLeft)
}
