package config

import (
	"encoding/base64"
	"fmt"
	"net/mail"
	"slices"
	"strings"
)

// authorities are the CAs known by a word.
var authorities = []string{"letsencrypt", "letsencrypt-staging", "zerossl"}

// acme checks everything below `acme`.
func (v *validator) acme() {
	acme := &v.cfg.ACME
	v.email()
	v.authority()
	if r := acme.RenewalWindowRatio; !v.doubtful["acme.renewal_window_ratio"] {
		switch {
		case r <= 0 || r >= 1:
			v.fail("acme.renewal_window_ratio", "acme.renewal_window_ratio must be more than 0 and less than 1", "0.33 renews when a third of the lifetime is left")
		case r < 0.1 || r > 0.8:
			v.warn("acme.renewal_window_ratio", fmt.Sprintf("acme.renewal_window_ratio %v leaves little room", r), "0.33 renews when a third of the lifetime is left")
		}
	}
	v.nameServers("acme.resolvers", acme.Resolvers, false)
	v.nameServers("acme.propagation.servers", acme.Propagation.Servers, true)
	if p := acme.Propagation; p.Timeout < p.Interval && !v.doubts("acme.propagation") {
		v.fail("acme.propagation.timeout", "acme.propagation.timeout is shorter than one acme.propagation.interval", "")
	}
	v.accountBinding()
}

// nameServers brings DNS servers into the form host:port.
func (v *validator) nameServers(key string, list []string, namesAllowed bool) {
	for i, text := range list {
		path := fmt.Sprintf("%s[%d]", key, i)
		if text == "" {
			continue // reported by the decoder
		}
		server, wrong := nameServer(text, namesAllowed)
		if !v.bad(path, text, wrong) {
			list[i] = server
		}
	}
}

// email checks the account's address, which is needed as soon as a name is
// issued by ACME.
func (v *validator) email() {
	email := v.cfg.ACME.Email
	if email == "" {
		if subject, ok := v.firstACME(); ok {
			add := "add acme: {email: ADDRESS}"
			if v.src.has("acme") {
				add = "add email: ADDRESS"
			}
			v.missing("acme", "email", fmt.Sprintf("acme.email is missing, and %s needs a certificate by ACME", subject),
				add+"; the CA writes to it when something is wrong")
		}
		return
	}
	if address, err := mail.ParseAddress(email); err != nil || address.Address != email || !strings.Contains(email[strings.LastIndexByte(email, '@'):], ".") {
		v.bad("acme.email", email, &fault{"is not an e-mail address", "write one address: ops@your-domain"})
		return
	}
	domain := strings.ToLower(email[strings.LastIndexByte(email, '@')+1:])
	if slices.Contains(authorities, v.cfg.ACME.CA) && (domain == "example.com" || domain == "example.net" || domain == "example.org") {
		v.warn("acme.email", "acme.email is at "+domain+", where no mail arrives", "write an address that somebody reads; a CA may refuse this one")
	}
}

// firstACME returns how to call the first name that is issued by ACME.
func (v *validator) firstACME() (subject string, ok bool) {
	for n := range v.cfg.Sites {
		site := &v.cfg.Sites[n]
		for i, name := range site.Names() {
			if site.IssuerOf(name) == IssuerACME && acmeFault(name) == nil {
				return v.subject(namePath(site, i), name), true
			}
		}
	}
	return "", false
}

// authority checks which CA is asked.
func (v *validator) authority() {
	acme := &v.cfg.ACME
	switch acme.CA {
	case "":
		return // reported by the decoder
	case "letsencrypt", "letsencrypt-staging", "zerossl":
		if acme.CARoot != "" {
			v.warn("acme.ca_root", "acme.ca_root is given, but acme.ca is a public CA", "ca_root is for a private CA, whose address goes into ca")
		}
		if acme.CA == "zerossl" && acme.EAB == nil {
			v.missing("acme", "eab", "acme.ca zerossl needs acme.eab",
				"take key_id and the MAC key from the developer page of your ZeroSSL account, and add\neab: {key_id: ID, mac_key_file: FILE}")
		}
		return
	}
	if !strings.Contains(acme.CA, "://") {
		hint := "write " + orList(authorities) + ", or the https:// address of an ACME directory"
		if near, ok := nearest(strings.ToLower(acme.CA), authorities); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		v.bad("acme.ca", acme.CA, &fault{"is not a CA that is known", hint})
		return
	}
	v.bad("acme.ca", acme.CA, httpsFault(acme.CA))
}

// accountBinding checks `eab`.
func (v *validator) accountBinding() {
	eab := v.cfg.ACME.EAB
	if eab == nil || v.doubtful["acme.eab"] {
		return
	}
	if eab.KeyID == "" {
		v.missing("acme.eab", "key_id", "acme.eab has no key_id", "the CA gives it together with the MAC key")
	}
	switch {
	case eab.MACKeyFile != "" && !eab.MACKey.IsZero():
		v.fail("acme.eab.mac_key", "acme.eab has both mac_key and mac_key_file", "keep mac_key_file")
	case eab.MACKeyFile == "" && eab.MACKey.IsZero() && !v.doubtful["acme.eab.mac_key"]:
		v.missing("acme.eab", "mac_key_file", "acme.eab has no MAC key", "write mac_key_file: FILE")
	case !eab.MACKey.IsZero():
		if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(eab.MACKey.Reveal(), "=")); err != nil {
			v.fail("acme.eab.mac_key", "acme.eab.mac_key is not base64url", "copy it again, exactly as the CA shows it")
		}
	}
}
