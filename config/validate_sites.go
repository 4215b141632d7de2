package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// sites checks every site, its names, its server and where its certificates
// come from. It normalises the aliases.
func (v *validator) sites() {
	sites := v.cfg.Sites
	if len(sites) == 0 && !v.doubts("sites") {
		v.missing("", "sites", "no site is configured", "add at least one\nsites:\n  app.example.com: http://app:8080")
	}
	owners := make(map[string]string, len(sites)) // name -> path
	for i := range sites {
		owners[sites[i].Name] = sites[i].Path()
	}
	for i := range sites {
		v.aliases(&sites[i], owners)
	}
	for _, u := range v.cfg.Upstreams {
		for i, server := range u.Servers {
			if server.URL != "" && serverFault(server.URL) == nil {
				v.circles(fmt.Sprintf("upstreams[%s].servers[%d]", u.Name, i), server.URL, owners)
			}
		}
	}
	for i := range sites {
		site := &sites[i]
		v.actions(site, owners)
		v.tls(site)
		v.clientAuth(site)
	}
	v.acmeNames()
}

// aliases normalises the aliases of a site and finds names that are used twice.
func (v *validator) aliases(site *Site, owners map[string]string) {
	var good []string
	for i, text := range site.Aliases {
		path := fmt.Sprintf("%s.aliases[%d]", site.Path(), i)
		if text == "" {
			continue // reported by the decoder
		}
		name, wrong := normalName(text)
		if v.bad(path, text, wrong) {
			continue
		}
		if owner, taken := owners[name]; taken {
			v.fail(path, fmt.Sprintf("%s %s is already %s on %s", v.name(path), v.src.quote(path, text), v.name(owner), v.place(owner)), "a name belongs to one site; remove one of the two")
			continue
		}
		owners[name] = path
		good = append(good, name)
	}
	site.Aliases = good
}

// circles warns of a server's address that probably is a mistake.
func (v *validator) circles(path, address string, owners map[string]string) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "unix" {
		return
	}
	switch {
	case u.Scheme == "http" && u.Port() == "443":
		v.warn(path, v.name(path)+" speaks plain HTTP to port 443", "write https:// if the server has TLS there")
	case u.Scheme == "https" && u.Port() == "80":
		v.warn(path, v.name(path)+" speaks TLS to port 80", "write http:// if the server has no TLS there")
	case v.listensOn(u.Hostname(), portOf(u)):
		v.warn(path, v.name(path)+" goes to an address that this proxy listens on", "requests would go in circles")
	case owners[strings.ToLower(u.Hostname())] != "":
		v.warn(path, v.name(path)+" goes to a name that this proxy serves itself", "requests would go in circles, unless the name leads elsewhere inside your network")
	}
}

// portOf returns the port of a server's address.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// listensOn reports whether a host and port on this machine is one of our own.
func (v *validator) listensOn(host, port string) bool {
	local := host == "localhost" || host == "127.0.0.1" || host == "::1"
	for _, address := range v.listening {
		if strconv.Itoa(int(address.Port())) == port && (local && (address.Addr().IsUnspecified() || address.Addr().IsLoopback()) || address.Addr().String() == host) {
			return true
		}
	}
	return false
}

// tls checks that a site's certificate comes from one place.
func (v *validator) tls(site *Site) {
	path, tls := site.Path()+".tls", site.TLS
	name := v.name(path)
	switch {
	case tls.Certificate != "" && tls.Key == "":
		v.missing(path, "key", name+" has a certificate without its key", "add key: FILE")
	case tls.Certificate == "" && tls.Key != "":
		v.missing(path, "certificate", name+" has a key without its certificate", "add certificate: FILE")
	}
	switch {
	case tls.Issuer != "" && (tls.Certificate != "" || tls.Key != ""):
		v.fail(path+".issuer", name+" has both an issuer and files", "keep the files, or the issuer")
	case tls == TLS{} && v.src.has(name) && !v.doubts(path):
		v.fail(path, name+" says nothing about where the certificate comes from", "write acme, internal or {certificate: FILE, key: FILE}, or remove the line")
	}
}

// acmeNames checks that every name which needs ACME can have it: that a public
// CA would sign it, and that it lies in a zone with a token.
func (v *validator) acmeNames() {
	zones, shown := v.listedZones()
	unsure := v.doubts("cloudflare")
	for n := range v.cfg.Sites {
		site := &v.cfg.Sites[n]
		for i, name := range site.Names() {
			if site.IssuerOf(name) != IssuerACME {
				continue
			}
			path := namePath(site, i)
			if wrong := acmeFault(name); wrong != nil {
				v.fail(path, v.name(path)+" "+wrong.message, wrong.hint)
				continue
			}
			in := func(zone string) bool { return under(name, zone) }
			if unsure || slices.ContainsFunc(zones, in) {
				continue
			}
			message, hint := "is under none of the zones that cloudflare lists", ""
			if len(zones) == 0 {
				message = "needs a certificate by ACME, and cloudflare lists no zone to prove it in"
			}
			if v.src.shows(path, name) {
				hint = zoneHint(name, zones, shown)
			}
			v.fail(path, v.subject(path, name)+" "+message, hint)
		}
	}
}

// namePath returns the path of the i-th of a site's Names.
func namePath(site *Site, i int) string {
	if i == 0 {
		return site.Path()
	}
	return fmt.Sprintf("%s.aliases[%d]", site.Path(), i-1)
}

// subject returns the name at a path, or the path where the name could be part
// of a secret.
func (v *validator) subject(path, name string) string {
	if v.src.shows(path, name) {
		return name
	}
	return v.name(path)
}

// listedZones returns the zones of all credentials, in the order of the file,
// and those of them that may be printed.
func (v *validator) listedZones() (zones, shown []string) {
	for i, credential := range v.cfg.Cloudflare {
		for _, zone := range credential.Zones {
			zones = append(zones, zone)
			if v.src.shows(fmt.Sprintf("cloudflare[%d].zones", i), zone) {
				shown = append(shown, zone)
			}
		}
	}
	return zones, shown
}

// acmeFault says why a public CA would not sign a name. nil: it would.
func acmeFault(name string) *fault {
	const internal = "write tls: internal, and trust its root on your machines"
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case isIP(name):
		return &fault{"is an IP address, for which DNS-01 gives no certificate", internal}
	case under(name, "localhost"):
		return &fault{"is a name of this machine alone, for which no CA signs", "write tls: internal, or leave tls out"}
	case last == "internal" || last == "local":
		return &fault{"is a private name (." + last + "), for which no public CA signs", internal}
	case strings.Count(strings.TrimPrefix(name, "*."), ".") == 0:
		return &fault{"is a single word, for which no public CA signs", internal + ";\nor write the whole name, such as app.example.com"}
	case strings.ContainsRune(name, '_'):
		return &fault{"has an underscore, which CAs refuse", "use a hyphen; or write tls: internal"}
	}
	return nil
}

// zoneHint says how a name can get under one of the zones, of which shown may
// be printed.
func zoneHint(name string, zones, shown []string) string {
	domain, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimPrefix(name, "*."))
	if err != nil {
		domain = strings.TrimPrefix(name, "*.")
	}
	if near, ok := nearest(domain, shown); ok {
		return fmt.Sprintf("did you mean the zone %s?", near)
	}
	if len(zones) == 0 {
		return fmt.Sprintf("add cloudflare: [{zones: [%s], token_file: FILE}]; or write tls: internal", domain)
	}
	hint := fmt.Sprintf("add %s to the zones of a token that may edit it; or write tls: internal", domain)
	if len(shown) > 0 {
		hint += "\nzones listed: " + strings.Join(shown, ", ")
	}
	return hint
}
