package config

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// This file checks who may come in: addresses, users, tokens, certificates.

// wordsOrNetworks checks a list of networks in which some words may stand.
func (v *validator) wordsOrNetworks(path string, list Texts, words ...string) {
	for i, text := range list {
		if slices.Contains(words, text) {
			continue
		}
		_, wrong := parseNetwork(text)
		if wrong != nil {
			if near, ok := nearest(text, words); ok {
				wrong = &fault{wrong.message, "did you mean " + near + "?"}
			}
		}
		v.bad(v.item(path, i), text, wrong)
	}
}

// clients checks what is believed of peers.
func (v *validator) clients() {
	v.wordsOrNetworks("trusted_proxies", v.cfg.TrustedProxies, cloudflareWord)
	for i, network := range v.cfg.TrustedProxies {
		if one, wrong := parseNetwork(network); wrong == nil && one.Bits() == 0 {
			at := v.item("trusted_proxies", i)
			v.warn(at, at+" trusts every peer: any client can say who it is", "list the addresses of your own proxies")
		}
	}
	v.networks("listen.proxy_protocol", v.cfg.Listen.ProxyProtocol)
}

// access checks who may come in at a site or route.
func (v *validator) access(h *Handling, path string) {
	v.wordsOrNetworks(path+".allow", h.Allow, allWord)
	v.wordsOrNetworks(path+".deny", h.Deny, allWord)
	if b := h.BasicAuth; b != nil && !b.Off {
		v.basicAuth(b, path+".basic_auth")
	}
	if f := h.ForwardAuth; f != nil && !f.Off {
		v.forwardAuth(f, path+".forward_auth")
	}
	if j := h.JWT; j != nil && !j.Off {
		v.jwt(j, path+".jwt")
	}
}

func (v *validator) basicAuth(b *BasicAuth, path string) {
	switch {
	case b.UsersFile != "" && len(b.Users) > 0:
		v.fail(path+".users", v.name(path)+" has both users_file and users", "keep users_file: it can be changed without a reload")
	case b.UsersFile == "" && len(b.Users) == 0 && !v.doubts(path):
		v.fail(path, v.name(path)+" has no users", "add users_file: FILE, with lines made by: htpasswd -nB NAME")
	}
	if strings.ContainsFunc(b.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		v.bad(path+".realm", b.Realm, &fault{"has a character that a realm cannot have", "plain ASCII without quotes and backslashes"})
	}
}

func (v *validator) forwardAuth(f *ForwardAuth, path string) {
	if f.URL == "" {
		v.missing(path, "url", v.name(path)+" says nothing about whom to ask", "add url: http://HOST:PORT/PATH")
	} else {
		v.bad(path+".url", f.URL, askedFault(f.URL))
	}
	v.ownFields(path+".copy_headers", f.CopyHeaders)
	for i, name := range f.SendHeaders {
		if !isToken(name) {
			v.bad(v.item(path+".send_headers", i), name, &fault{"is not the name of a field", "letters, digits and -"})
		}
	}
	if to := f.SignIn; to != "" && !strings.HasPrefix(to, "https://") && !strings.HasPrefix(to, "http://") && (to[0] != '/' || strings.HasPrefix(to, "//")) {
		v.bad(path+".sign_in", to, &fault{"is neither an address nor a path", "write /oauth2/sign_in, or https://HOST/PATH"})
	}
}

// ownFields checks the names of fields that only the proxy may set.
func (v *validator) ownFields(path string, names []string) {
	for i, name := range names {
		v.bad(v.item(path, i), name, ownFieldFault(name))
	}
}

// ownFieldFault says why the proxy cannot set a field to who a client is.
func ownFieldFault(name string) *fault {
	switch canonical := http.CanonicalHeaderKey(name); {
	case !isToken(name):
		return &fault{"is not the name of a field", "letters, digits and -"}
	case strings.Contains(name, "_"):
		return &fault{"has an underscore, which many servers take for a hyphen", "write " + strings.ReplaceAll(name, "_", "-")}
	case slices.Contains([]string{"Host", "Connection", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Te",
		"Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Expect", "Range", "Cookie", "Set-Cookie"}, canonical):
		return &fault{"is a field of the message itself", "choose a name like Remote-User"}
	}
	return nil
}

// namedFields checks a mapping of such names to words.
func (v *validator) namedFields(path string, pairs Pairs, words []string) {
	for _, pair := range pairs {
		at := path + "[" + pair.Name + "]"
		if wrong := ownFieldFault(pair.Name); wrong != nil {
			v.fail(at, v.name(at)+" "+wrong.message, wrong.hint)
		}
		if words == nil || slices.Contains(words, pair.Value) {
			continue
		}
		hint := "write " + orList(words)
		if near, ok := nearest(pair.Value, words); ok {
			hint = "did you mean " + near + "?"
		}
		v.bad(at, pair.Value, &fault{"is not known of a client's certificate", hint})
	}
}

// asymmetric are the algorithms of tokens with a public key.
var asymmetric = [...]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (v *validator) jwt(j *JWT, path string) {
	switch {
	case j.JWKSURL != "" && j.KeyFile != "":
		v.fail(path+".key_file", v.name(path)+" has both jwks_url and key_file", "keep jwks_url, unless the address cannot be reached")
	case j.JWKSURL == "" && j.KeyFile == "" && !v.doubts(path):
		v.fail(path, v.name(path)+" has no keys", "add jwks_url: https://HOST/PATH, or key_file: FILE")
	}
	if j.JWKSURL != "" && !v.bad(path+".jwks_url", j.JWKSURL, askedFault(j.JWKSURL)) && strings.HasPrefix(j.JWKSURL, "http://") {
		v.warn(path+".jwks_url", v.name(path)+".jwks_url is fetched without TLS: who can change the answer can sign tokens", "write https://, unless the way there is your own")
	}
	for i, name := range j.Algorithms {
		switch {
		case slices.Contains(asymmetric[:], name):
		case strings.HasPrefix(name, "HS") || strings.EqualFold(name, "none"):
			v.bad(v.item(path+".algorithms", i), name, &fault{"is not an algorithm with a public key", "let the issuer sign with RS256, ES256 or EdDSA: whoever can check an HMAC can also make one"})
		default:
			v.bad(v.item(path+".algorithms", i), name, &fault{"is not an algorithm", "write " + orList(asymmetric[:])})
		}
	}
	if j.Issuer == "" {
		v.missing(path, "issuer", v.name(path)+" has no issuer", "add issuer: what the tokens have as iss, often the address of the login server")
	}
	if len(j.Audience) == 0 {
		v.warn(path, v.name(path)+" has no audience: a token that was made for another application passes too", "add audience: what the tokens have as aud")
	}
	if !isToken(j.Header) {
		v.bad(path+".header", j.Header, &fault{"is not the name of a field", "letters, digits and -"})
	}
	v.namedFields(path+".headers", j.Headers, nil)
}

// certificateWords are what can be told of a client's certificate.
var certificateWords = [...]string{"subject", "common_name", "fingerprint", "serial", "names", "certificate"}

// clientAuth checks what a site wants of its clients' certificates.
func (v *validator) clientAuth(site *Site) {
	c := site.TLS.ClientAuth
	if c == nil {
		return
	}
	path := site.Path() + ".tls.client_auth"
	if len(c.CA) == 0 {
		v.missing(path, "ca", v.name(path)+" does not say whose certificates are good", "add ca: FILE, the certificate of the authority that signs your clients'")
	}
	v.namedFields(path+".headers", c.Headers, certificateWords[:])
	for _, place := range site.Places() {
		if place.HTTP == "serve" && c.Mode == "require" {
			v.warn(place.Path+".http", fmt.Sprintf("%s.http serves without TLS, where there is no certificate: every request gets 403", v.name(place.Path)), "write redirect or refuse")
		}
	}
}
