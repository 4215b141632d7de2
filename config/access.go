package config

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The words that stand for networks.
const (
	cloudflareWord = "cloudflare"
	allWord        = "all"
)

// TrustedNetworks returns the networks of trusted_proxies, and whether
// Cloudflare's are among them.
func (c *Config) TrustedNetworks() (networks []netip.Prefix, cloudflare bool) {
	return Networks(c.TrustedProxies), slices.Contains(c.TrustedProxies, cloudflareWord)
}

// AccessNetworks returns the networks of allow or deny: nil if the key is not
// given.
func AccessNetworks(list Texts) []netip.Prefix {
	networks := Networks(list)
	if slices.Contains(list, allWord) {
		networks = append(networks, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return networks
}

// AskedAddress takes the address of something that is asked (forward_auth.url,
// jwt.jwks_url) apart: where to connect to, in the form of a site's proxy, the
// Host field and the target.
func AskedAddress(text string) (server, host, target string) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", ""
	}
	return u.Scheme + "://" + u.Host, u.Host, u.RequestURI()
}

// askedFault says what is wrong with such an address.
func askedFault(text string) *fault {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return &fault{"is not an address of HTTP", "write http://HOST:PORT/PATH, or https://"}
	case u.User != nil:
		return &fault{"has a name and a password in it", "leave them out"}
	case u.Fragment != "" || u.Opaque != "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return &fault{"has a character that does not belong there", "write http://HOST:PORT/PATH"}
	}
	return nil
}

// CanonicalFields returns the names of fields in the form in which they are
// looked up.
func CanonicalFields(list Texts) []string {
	var names []string
	for _, name := range list {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	return names
}
