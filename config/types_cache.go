package config

import "time"

// Cache keeps answers for others who ask the same (RFC 9111). What belongs to
// one user is never kept: answers that set a cookie, and those to somebody who
// has logged in, unless they say that they may be shared. Routes that inherit
// the site's cache share it.
type Cache struct {
	// Switched off by `cache: false`.
	Off bool `yaml:"-"`

	// Memory for answers. What is asked for seldom goes first.
	Size Size `yaml:"size" default:"64MiB" min:"1MiB"`

	// Largest answer that is kept, head included.
	MaxObject Size `yaml:"max_object" default:"4MiB" min:"1KiB"`

	// Directory for answers, besides memory: they outlive a restart. It belongs
	// to this cache alone.
	Folder string `yaml:"folder" kind:"path"`

	// What the folder may hold.
	FolderSize Size `yaml:"folder_size" default:"1GiB" min:"1MiB"`

	// For how long an answer without Cache-Control and Expires is fresh. 0:
	// such an answer is not kept.
	TTL time.Duration `yaml:"ttl" default:"0s"`

	// Let an answer without Cache-Control and Expires be fresh for a tenth of
	// the time since its Last-Modified, at most a day (RFC 9111 section 4.2.2).
	Heuristic bool `yaml:"heuristic" default:"false"`

	// For how long a stale answer may be given while a new one is fetched, if
	// the answer does not say itself (RFC 5861 section 3).
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate" default:"0s"`

	// For how long a stale answer may be given instead of an error, if the
	// answer does not say itself (RFC 5861 section 4).
	StaleIfError time.Duration `yaml:"stale_if_error" default:"0s"`

	// How long a request waits for another one that asks the same; then it asks
	// for itself. 0: it does not wait.
	LockTimeout time.Duration `yaml:"lock_timeout" default:"5s"`

	// Do not heed the client's own Cache-Control, with which it can have an
	// answer fetched anew.
	IgnoreClient bool `yaml:"ignore_client" default:"false"`
}
