package config

import (
	"fmt"
	"io/fs"
	"net"
	"path"
	"strconv"
	"strings"
)

// files checks what serves files.
func (v *validator) files(f *Files, at string) {
	if f.Root == "" && !v.doubts(at+".root") {
		v.missing(at, "root", v.name(at)+" says nothing about which folder", "write files: {root: /srv/www}")
	}
	v.fileRules(at, f.Index, f.Try, f.Hidden)
	if strings.ContainsFunc(f.CacheControl, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		v.bad(at+".cache_control", f.CacheControl, &fault{"has a control character", ""})
	}
}

// fileRules checks which files a request may lead to.
func (v *validator) fileRules(at string, index, try, hidden Texts) {
	for i, text := range index {
		if text != "" && (!fs.ValidPath(text) || text == ".") {
			v.bad(v.item(at+".index", i), text, &fault{"is not the name of a file in the folder", "write index.html"})
		}
	}
	for i, text := range try {
		v.bad(v.item(at+".try", i), text, tryFault(text))
	}
	for i, text := range hidden {
		if _, err := path.Match(text, ""); err != nil {
			v.bad(v.item(at+".hidden", i), text, &fault{"is not a pattern", "* stands for any characters of a name, ? for one"})
		} else if strings.Contains(text, "/") {
			v.bad(v.item(at+".hidden", i), text, &fault{"has a slash: what is hidden are names, wherever they are", "for one folder write a route before this one: {path: /folder/, respond: 404}"})
		}
	}
}

// tryFault says what is wrong with something to be tried.
func tryFault(text string) *fault {
	if text == "" {
		return nil // reported by the decoder
	}
	const hint = "write $path, $path/, $path.html or /index.html"
	if after, ok := strings.CutPrefix(text, "$path"); ok {
		if strings.Contains(after, "$") || strings.Contains(strings.TrimSuffix(after, "/"), "/") {
			return &fault{"has more than an ending or a slash behind $path", hint}
		}
		return nil
	}
	name, rooted := strings.CutPrefix(text, "/")
	switch {
	case strings.HasPrefix(text, "$uri"):
		return &fault{"is nginx's word", "write $path" + strings.TrimPrefix(text, "$uri")}
	case strings.HasPrefix(text, "="):
		return &fault{"is not needed: what is not found is 404", "remove it"}
	case !rooted || name != "" && !fs.ValidPath(strings.TrimSuffix(name, "/")) || strings.Contains(name, "$"):
		return &fault{"is neither $path nor a path below the folder", hint}
	}
	return nil
}

// php checks what runs scripts.
func (v *validator) php(p *PHP, at string) {
	if p.Root == "" && !v.doubts(at+".root") {
		v.missing(at, "root", v.name(at)+" says nothing about which folder", "write php: {root: /srv/www, server: unix:/run/php/php-fpm.sock}")
	}
	if p.Server == "" {
		if !v.doubts(at + ".server") {
			v.missing(at, "server", v.name(at)+" says nothing about who runs the scripts", "write server: unix:/run/php/php-fpm.sock, or server: HOST:9000")
		}
	} else {
		v.bad(at+".server", p.Server, fastCGIFault(p.Server))
	}
	if p.ServerRoot != "" && !path.IsAbs(p.ServerRoot) {
		v.bad(at+".server_root", p.ServerRoot, &fault{"is not an absolute path", "write the folder's path as the FastCGI server sees it"})
	}
	v.fileRules(at, p.Index, p.Try, p.Hidden)
	for _, pair := range p.Env {
		if !isVariable(pair.Name) {
			v.fail(at+".env["+pair.Name+"]", v.name(at+".env")+" has a name that no variable can have", "capitals, digits and _")
		}
	}
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' && i > 0) {
			return false
		}
	}
	return name != ""
}

// fastCGIFault says what is wrong with the address of a FastCGI server.
func fastCGIFault(text string) *fault {
	const hint = "write unix:/run/php/php-fpm.sock or HOST:9000"
	if socket, ok := strings.CutPrefix(text, "unix:"); ok {
		switch {
		case !path.IsAbs(socket):
			return &fault{"has no absolute path behind unix:", hint}
		case len(socket) > 107:
			return &fault{"is longer than the 107 bytes that a socket's path may have", ""}
		}
		return nil
	}
	switch {
	case strings.Contains(text, "://"):
		return &fault{"is the address of another protocol", hint}
	case path.IsAbs(text):
		return &fault{"is neither unix:/path nor host:port", "write unix:" + text}
	}
	host, port, err := net.SplitHostPort(text)
	number, wrong := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || wrong != nil || number == 0 {
		return &fault{"is neither unix:/path nor host:port", hint}
	}
	return nil
}

// pages checks the site's own pages.
func (v *validator) pages(e *ErrorPages, at string) {
	if len(e.Pages) == 0 && !v.doubts(at+".pages") {
		v.missing(at, "pages", v.name(at)+" names no page", "write errors: {pages: {404: FILE, 5xx: FILE}}")
	}
	for _, pair := range e.Pages {
		if !pageStatus(pair.Name) {
			v.fail(fmt.Sprintf("%s.pages[%s]", at, pair.Name), v.name(at+".pages")+" has something that is no status", "400 to 599, 4xx, 5xx or default")
		}
	}
}

func pageStatus(text string) bool {
	switch text {
	case "default", "4xx", "5xx":
		return true
	}
	status, err := strconv.Atoi(text)
	return err == nil && len(text) == 3 && status >= 400 && status <= 599
}

func (v *validator) maintenance(m *Maintenance, at string) {
	if m.File == "" && !v.doubts(at+".file") {
		v.missing(at, "file", v.name(at)+" names no file", "write maintenance: /run/sallyport/closed.html")
	}
	v.networks(at+".allow", m.Allow)
}
