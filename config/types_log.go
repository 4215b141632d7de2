package config

import "time"

// Log says what is logged, how, and where to. Nothing that serves ever waits for
// a log: what its target does not take in time is dropped, and counted.
type Log struct {
	// `debug`, `info`, `warn` or `error`.
	Level string `yaml:"level" default:"info" enum:"debug,info,warn,error"`

	// `console` for people, `json` or `logfmt` for machines.
	Format string `yaml:"format" default:"console" enum:"console,json,logfmt"`

	// Where lines go: `stderr`, `stdout`, or a file, which is made with mode 0640
	// in a folder that must be there.
	Output string `yaml:"output" default:"stderr" kind:"path,stream"`

	// When the file is put aside and a new one begun.
	Rotate Rotate `yaml:"rotate"`

	// A line for each request: `true`, or `{…}`. Off unless asked for: failures
	// are logged and requests are counted without it, and it holds the addresses
	// of clients. It says what holds for each site that has no `access_log` of
	// its own, and for requests that no site is for.
	Access *AccessLog `yaml:"access"`
}

// Rotate says how long log files get and how many there are. An old file has
// the time at which it was put aside in its name. A signal USR1 has every file
// opened anew, for programs that rotate from outside.
type Rotate struct {
	// Size at which a file is put aside. 0: never.
	Size Size `yaml:"size" default:"100MiB"`

	// How many old files are kept. 0: all.
	Keep int `yaml:"keep" default:"5" min:"0"`

	// How long an old file is kept: `720h`. 0: for ever.
	Age time.Duration `yaml:"age" default:"0s"`
}

// AccessLog writes a line for each request. In the file `true` is all defaults.
// A key that a route's does not have is as in its site's, and one that a site's
// does not have is as in `log.access`.
type AccessLog struct {
	// Written as `off`.
	Off bool `yaml:"-"`

	// `json`, or `combined` as nginx and Apache write it.
	Format string `yaml:"format" default:"json" enum:"json,combined"`

	// Where lines go: `stdout`, `stderr`, or a file.
	Output string `yaml:"output" default:"stdout" kind:"path,stream"`

	// When the file is put aside and a new one begun.
	Rotate Rotate `yaml:"rotate"`

	// Share of requests that are logged: more than 0, at most 1. Those that end
	// with 5xx always are.
	Sample float64 `yaml:"sample" default:"1"`

	// Paths that are not logged unless they end with 5xx: `/healthz` that path
	// alone, `/static/` everything under it.
	Exclude Texts `yaml:"exclude"`

	// Query parameters whose values are masked, in the target and in Referer.
	// Not written: access_token, api_key, apikey, auth, client_secret, code,
	// id_token, key, password, refresh_token, secret, sig, signature, state,
	// token, X-Amz-Credential, X-Amz-Security-Token and X-Amz-Signature.
	RedactQuery Texts `yaml:"redact_query"`

	// Fields of the request to log too, in `json`. The values of Authorization,
	// Cookie, Proxy-Authorization, X-Api-Key, X-Auth-Token and X-Csrf-Token are
	// masked.
	Headers Texts `yaml:"headers"`

	// Those of `headers` whose values are logged although they would be masked.
	Reveal Texts `yaml:"reveal"`
}
