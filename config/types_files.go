package config

import "time"

// Files serves files of a folder. In the file it may be just the folder.
type Files struct {
	// The folder. It need not be there when the proxy starts; requests fail
	// with 500 until it is. If it is a symbolic link, where that leads to is
	// looked at once a second: releases can be switched without a reload. Links
	// within are followed as long as they are relative and stay inside.
	Root string `yaml:"root" kind:"path"`

	// What stands for a folder: the first of these names that exists. Not
	// given: `index.html`.
	Index Texts `yaml:"index"`

	// What a request is tried as, in order; 404 if none exists. `$path` is the
	// file of that name, `$path/` the folder with an index, `$path.html` the
	// file with an ending added, `/index.html` one fixed file (for a
	// single-page application). Not given: `[$path, $path/]`.
	Try Texts `yaml:"try" kind:"template"`

	// List folders that have no index.
	Browse bool `yaml:"browse" default:"false"`

	// Serve compressed files that lie beside the plain ones (`app.js.br`,
	// `app.js.zst`, `app.js.gz`) to clients that accept them: `br`, `zstd`,
	// `gzip`, the best first.
	Precompressed Texts `yaml:"precompressed" enum:"br,zstd,gzip"`

	// Names that are neither served nor listed, with `*` and `?`; a folder of
	// such a name hides all that is in it. `.well-known` at the top is always
	// served. Not given: `".*"`; `[]` hides nothing.
	Hidden Texts `yaml:"hidden"`

	// Cache-Control of every file, such as `public, max-age=86400`. Empty: none
	// is sent.
	CacheControl string `yaml:"cache_control"`
}

// PHP runs the scripts of a folder by a FastCGI server such as PHP-FPM, and
// serves the files beside them.
type PHP struct {
	// The folder with the scripts, as in `files`: it must be readable here,
	// since only scripts that are there are run.
	Root string `yaml:"root" kind:"path"`

	// The FastCGI server: `unix:/run/php/php-fpm.sock` or `host:port`.
	Server string `yaml:"server"`

	// The same folder as the FastCGI server sees it, if it has another name
	// there. Empty: root.
	ServerRoot string `yaml:"server_root"`

	// What stands for a folder. Not given: `[index.php, index.html]`.
	Index Texts `yaml:"index"`

	// What a request is tried as, as in `files`. Not given:
	// `[$path, $path/, /index.php]`, which lets the application answer for what
	// is no file, as WordPress and others want it.
	Try Texts `yaml:"try" kind:"template"`

	// Names that are neither run nor served, as in `files`. Not given: `".*"`.
	Hidden Texts `yaml:"hidden"`

	// Variables for the scripts besides the usual ones, or instead of them.
	Env Pairs `yaml:"env"`

	// Time that the server may be silent, before its answer and within it; past
	// it the client gets 504. A response_timeout counts instead. 0 is no limit.
	Timeout time.Duration `yaml:"timeout" default:"60s"`
}

// ErrorPages are pages of the site's own.
type ErrorPages struct {
	// Files by status: `404`, `5xx` for all of a class, `default` for all others
	// from 400. The most exact counts. A file with `{{` in it is a template, in
	// which `{{.Status}}`, `{{.Text}}`, `{{.RequestID}}` and `{{.Host}}` may
	// stand. A file that changes takes effect without a reload.
	Pages Pairs `yaml:"pages" kind:"path"`

	// Also replace what the servers themselves answer with such a status, for
	// clients that ask for HTML, as browsers do for pages.
	Intercept bool `yaml:"intercept" default:"false"`
}

// Maintenance closes a site while a file exists. In the file it may be just the
// name of that file.
type Maintenance struct {
	// While this file exists requests are answered with 503 and its content,
	// which may be a template as in `errors`; if it is empty, with the page of
	// status 503. Looked for once a second.
	File string `yaml:"file" kind:"path"`

	// Clients (addresses or networks) that are served all the same.
	Allow Texts `yaml:"allow"`

	// What other clients are told to wait.
	RetryAfter time.Duration `yaml:"retry_after" default:"5m" min:"1s"`
}
