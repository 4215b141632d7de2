package fastcgi

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/static"
)

// PHPOptions is what shapes a [PHP].
type PHPOptions struct {
	// Files are the scripts and what lies beside them: with index.php among
	// its indexes, and what is tried for a path that is no file.
	Files *static.Files

	// Root is the folder of the files as the FastCGI server sees it, which may
	// be another one than here, in a container of its own.
	Root string
}

// PHP decides which script a request means. The rules:
//
//   - A script is a file whose name ends with ".php", in lower case, that is
//     there, below the root and not hidden. Nothing else is ever run.
//   - /a.php/b runs a.php with the path info /b, provided that a.php is a
//     script: with /photo.jpg/b.php nothing is run unless the folder photo.jpg
//     has a script b.php. (Handing PHP the whole path and letting it look for
//     the file is how uploaded pictures came to be run.)
//   - Else the files' own rules: the file of that name, a folder's index, what
//     is to be tried; and if that is a script it is run, without path info.
//   - What has ".php" anywhere in its name, or another ending of PHP's, but is
//     no script, is not served at all: config.php~ and config.php.bak are
//     sources with passwords.
type PHP struct {
	options PHPOptions
	next    http.Handler
}

var errSource = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_source", Reason: "the file looks like a copy of a script's source"}

// NewPHP returns the action that has next, a handler that forwards to a
// [Transport], run scripts.
func NewPHP(o PHPOptions, next http.Handler) (*PHP, error) {
	if !path.IsAbs(o.Root) {
		return nil, fmt.Errorf("root %q: not an absolute path", o.Root)
	}
	return &PHP{options: o, next: next}, nil
}

// ServeHTTP runs a script, or sends a file.
func (p *PHP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, _, err := static.Name(r); err != nil {
		exchange.Refuse(w, r, err)
		return
	}
	if name, info, ok := p.split(r.URL.Path); ok {
		p.run(w, r, name, info)
		return
	}
	files := p.options.Files
	found, err := files.Find(r)
	if err != nil {
		exchange.Refuse(w, r, err)
		return
	}
	name := found.Name
	switch {
	case found.Bare() && files.ToSlash(w, r):
	case found.Listing():
		files.Serve(w, r, found)
	case isScript(name):
		found.Close()
		p.run(w, r, name, "")
		return
	case isSource(name):
		exchange.Refuse(w, r, errSource)
	default:
		files.Serve(w, r, found)
	}
	found.Close()
}

// split finds the script that a path names or leads through.
func (p *PHP) split(at string) (name, info string, ok bool) {
	for end, looked := 0, 0; ; {
		i := strings.Index(at[end:], scriptSuffix)
		if i < 0 {
			return "", "", false
		}
		end += i + len(scriptSuffix)
		if end < len(at) && at[end] != '/' {
			continue
		}
		if name = at[1:end]; isScript(name) && p.options.Files.IsFile(name) {
			return name, at[end:], true
		}
		if looked++; looked == mostLooks {
			return "", "", false
		}
	}
}

func (p *PHP) run(w http.ResponseWriter, r *http.Request, name, info string) {
	p.next.ServeHTTP(w, WithScript(r, &Script{Root: p.options.Root, Name: name, PathInfo: info, Request: r}))
}

// mostLooks bounds how many of a path's segments are looked for as a script.
const mostLooks = 8

const scriptSuffix = ".php"

func isScript(name string) bool {
	return strings.HasSuffix(name, scriptSuffix) && path.Base(name) != scriptSuffix
}

func isSource(name string) bool {
	base := strings.ToLower(path.Base(name))
	if strings.Contains(base, scriptSuffix) {
		return true
	}
	switch path.Ext(base) {
	case ".phtml", ".pht", ".phar", ".phps":
		return true
	}
	return false
}
