package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// validator finds what is wrong with a configuration as a whole, after each
// value by itself has been decoded. It also brings names and addresses into
// their one form.
type validator struct {
	cfg      *Config
	src      *source
	doubtful map[string]bool
	problems Problems

	cacheFolders map[string]string // folder -> path

	listening []listener // set by listen
}

// validate completes and checks a decoded configuration. doubtful has the paths
// with which something was wrong already: that a value is missing there proves
// nothing.
func validate(cfg *Config, doubtful map[string]bool) Problems {
	v := &validator{cfg: cfg, src: cfg.source, doubtful: doubtful, cacheFolders: make(map[string]string)}
	v.listen()
	v.clients()
	v.cloudflare()
	v.upstreams()
	v.rateLimits()
	v.logs()
	v.tracing()
	v.sites()
	v.acme()
	v.limits()
	v.admin()
	return v.problems
}

// fail reports a problem at a path.
func (v *validator) fail(path, message, hint string) {
	path = v.name(path)
	v.doubtful[path] = true
	v.problems = append(v.problems, v.cfg.Problem(path, message, hint))
}

// warn reports what is legal but suspicious.
func (v *validator) warn(path, message, hint string) {
	problem := v.cfg.Problem(v.name(path), message, hint)
	problem.Warning = true
	v.problems = append(v.problems, problem)
}

// bad reports what is wrong with the value of a path, if anything is, and
// returns whether it is.
func (v *validator) bad(path, value string, wrong *fault) bool {
	if wrong == nil {
		return false
	}
	hint := wrong.hint
	if !v.src.shows(path, value) {
		hint = "" // it may be made from the value
	}
	v.fail(path, fmt.Sprintf("%s %s %s", v.name(path), v.src.quote(path, value), wrong.message), hint)
	return true
}

// missing reports that a key is not given, unless what is there could not be
// read.
func (v *validator) missing(parent, key, message, hint string) {
	parent = v.name(parent)
	if !v.doubtful[parent] && !v.doubtful[join(parent, key)] {
		v.fail(join(parent, key), message, hint)
	}
}

// doubts reports whether anything at or below a path was wrong.
func (v *validator) doubts(path string) bool {
	path = v.name(path)
	for p := range v.doubtful {
		if p == path || strings.HasPrefix(p, path+"[") || strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// name returns a path as a message shows it: with the site's name as it is
// written.
func (v *validator) name(path string) string { return v.src.asWritten(path) }

// place returns where a path is, for a hint.
func (v *validator) place(path string) string {
	return fmt.Sprintf("line %d", v.src.find(path).line)
}

func (v *validator) listen() {
	l := &v.cfg.Listen
	if len(l.HTTPS) == 0 && !v.doubts("listen.https") {
		v.fail("listen.https", "listen.https has no address; without HTTPS there is nothing to do", "write \":443\"")
	}
	taken := v.addresses("listen.http", l.HTTP, "80", nil)
	v.listening = v.addresses("listen.https", l.HTTPS, "443", taken)
}

// listener is an address that is listened on, and where the file says so.
type listener struct {
	netip.AddrPort
	path string
}

// clashes reports whether both cannot be open at once. Port 0 is a free port.
func (l listener) clashes(other listener) bool {
	everywhere := l.Addr().IsUnspecified() || other.Addr().IsUnspecified()
	return l.Port() == other.Port() && l.Port() != 0 && (everywhere || l.Addr() == other.Addr())
}

// addresses checks the addresses of one key, against each other and those that
// are taken, and returns all that are taken now.
func (v *validator) addresses(key string, list Addresses, port string, taken []listener) []listener {
	for i, text := range list {
		path := fmt.Sprintf("%s[%d]", key, i)
		if !v.src.has(path) {
			path = key // one address without the brackets of a list
		}
		if text == "" || v.bad(path, text, listenFault(text, port)) {
			continue
		}
		one := listener{addrPort(text), path}
		if other := slices.IndexFunc(taken, one.clashes); other >= 0 {
			v.fail(path, fmt.Sprintf("%s %s is on the same port as %s", path, v.src.quote(path, text), taken[other].path), "remove one of the two")
			continue
		}
		taken = append(taken, one)
	}
	return taken
}

// addrPort returns a listen address that has been found good. No host is every
// host.
func addrPort(text string) netip.AddrPort {
	host, port, _ := net.SplitHostPort(text)
	if host == "" {
		host = "::"
	}
	address, _ := netip.ParseAddrPort(net.JoinHostPort(host, port))
	return address
}

func (v *validator) admin() {
	if socket := v.cfg.SocketPath(); len(socket) > maxSocketPath {
		v.fail("admin.socket", fmt.Sprintf("the path of the admin socket has %d bytes; %d is the limit", len(socket), maxSocketPath),
			"set admin.socket to a shorter path, or to off")
	}
	listen := v.cfg.Admin.Listen
	if len(listen) == 0 {
		return
	}
	if v.cfg.SocketPath() == "" {
		v.fail("admin.listen", "admin.listen is set and admin.socket is off", "remove `socket: off`: the commands need the socket")
	}
	if v.cfg.Admin.TokenFile == "" {
		v.missing("admin", "token_file", "admin.listen needs a token", "write token_file: FILE, with at least 16 characters in it")
	}
	for i, text := range listen {
		path := "admin.listen"
		if len(listen) > 1 {
			path = fmt.Sprintf("admin.listen[%d]", i)
		}
		if v.bad(path, text, listenFault(text, "9180")) {
			continue
		}
		if address := addrPort(text); !address.Addr().IsLoopback() {
			v.warn(path, fmt.Sprintf("admin.listen %s can be reached from other machines, without encryption", text),
				"use 127.0.0.1, or see that only a private network leads there")
		}
	}
}
