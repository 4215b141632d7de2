package proxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/middleware/access"
	"github.com/sallyport/sallyport/proxy/middleware/auth/basic"
	"github.com/sallyport/sallyport/proxy/middleware/auth/bearer"
	"github.com/sallyport/sallyport/proxy/middleware/auth/certificate"
	forwardauth "github.com/sallyport/sallyport/proxy/middleware/auth/forward"
	"github.com/sallyport/sallyport/proxy/middleware/clientip"
)

// This file builds what decides who may come in.

// trustOf returns whom to believe about clients, nil for nobody.
func trustOf(cfg *config.Config) *clientip.Trust {
	networks, cloudflare := cfg.TrustedNetworks()
	if len(networks) == 0 && !cloudflare {
		return nil
	}
	return clientip.New(clientip.Options{Proxies: networks, Cloudflare: cloudflare})
}

// reservedOf returns the fields that tell servers behind who a client is, on
// whatever site: a server may be behind several, and behind routes that set
// none.
func reservedOf(cfg *config.Config) []string {
	var names []string
	fields := func(pairs config.Pairs) {
		for _, pair := range pairs {
			names = append(names, http.CanonicalHeaderKey(pair.Name))
		}
	}
	for i := range cfg.Sites {
		site := &cfg.Sites[i]
		if c := site.TLS.ClientAuth; c != nil {
			fields(c.Headers)
		}
		for _, place := range site.Places() {
			if f := place.ForwardAuth; f != nil && !f.Off {
				names = append(names, config.CanonicalFields(f.CopyHeaders)...)
			}
			if j := place.JWT; j != nil && !j.Off {
				fields(j.Headers)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// access lets clients in, or not, by their address.
func (b *routeBuilder) access() func(http.Handler) http.Handler {
	h := &b.place.Handling
	if len(h.Allow) == 0 && len(h.Deny) == 0 {
		return nil
	}
	return access.New(access.Options{Allow: config.AccessNetworks(h.Allow), Deny: config.AccessNetworks(h.Deny)})
}

// causeOf returns an error with its hint, however deep that is.
func causeOf(err error) error {
	var knows interface {
		error
		Hint() string
	}
	if errors.As(err, &knows) && knows != err {
		return hinted{err, knows.Hint()}
	}
	return err
}

// hinted is an error with the hint of one inside it.
type hinted struct {
	error
	hint string
}

// Hint says what to do.
func (e hinted) Hint() string { return e.hint }

// basicAuth asks for a name and a password.
func (b *routeBuilder) basicAuth() func(http.Handler) http.Handler {
	from := b.place.BasicAuth
	if from == nil || from.Off {
		return nil
	}
	o := basic.Options{Realm: from.Realm, UsersFile: from.UsersFile, PassAuthorization: from.PassAuthorization}
	var lines strings.Builder
	for _, user := range from.Users {
		lines.WriteString(user.Name + ":" + user.Hash.Reveal() + "\n")
	}
	o.Users = lines.String()
	auth, err := keep(b.proxy, b.next, o, func() (*basic.Auth, error) { return basic.New(o, b.logger("basic_auth")) })
	if err != nil {
		key := "basic_auth.users_file"
		if from.UsersFile == "" {
			key = "basic_auth.users"
			if bad, ok := errors.AsType[*basic.HashError](err); ok {
				bad.Line = 0 // it would be one of the lines made here
			}
		}
		b.fail(key, causeOf(err))
		return nil
	}
	return auth.Wrap
}

// logger is for what outlives a generation.
func (b *routeBuilder) logger(key string) *zap.Logger {
	return b.proxy.logger.With(zap.String("key", key))
}

// asked returns the way to a server that is asked something, with its Host and
// target.
func (b *routeBuilder) asked(key, address string) (to http.RoundTripper, host, target string, ok bool) {
	server, host, target := config.AskedAddress(address)
	pool, err := b.proxy.pool(b.next, b.cfg, server)
	if err != nil {
		b.fail(key, err)
		return nil, "", "", false
	}
	return pool, host, target, true
}

// token asks for a JSON Web Token.
func (b *routeBuilder) token() func(http.Handler) http.Handler {
	from := b.place.JWT
	if from == nil || from.Off {
		return nil
	}
	o := bearer.Options{
		KeyFile:     from.KeyFile,
		Algorithms:  strings.Join(from.Algorithms, ","),
		Issuer:      from.Issuer,
		Audiences:   strings.Join(from.Audience, "\n"),
		Leeway:      from.Leeway,
		Field:       http.CanonicalHeaderKey(from.Header),
		UserClaim:   from.UserClaim,
		RemoveToken: from.RemoveToken,
	}
	var lines []string
	for _, pair := range from.Headers {
		lines = append(lines, http.CanonicalHeaderKey(pair.Name)+"="+pair.Value)
	}
	o.Headers = strings.Join(lines, "\n")
	key := "jwt.key_file"
	if from.KeyFile == "" {
		var ok bool
		key = "jwt.jwks_url"
		if o.To, o.Host, o.Target, ok = b.asked(key, from.JWKSURL); !ok {
			return nil
		}
	}
	verifier, err := keep(b.proxy, b.next, o, func() (*bearer.Verifier, error) { return bearer.New(o, b.logger("jwt")) })
	if err != nil {
		b.fail(key, causeOf(err))
		return nil
	}
	return verifier.Wrap
}

// forwardAuth asks a server of authentication.
func (b *routeBuilder) forwardAuth() func(http.Handler) http.Handler {
	from := b.place.ForwardAuth
	if from == nil || from.Off {
		return nil
	}
	to, host, target, ok := b.asked("forward_auth.url", from.URL)
	if !ok {
		return nil
	}
	return forwardauth.New(forwardauth.Options{
		To: to, Host: host, Target: target,
		Send:    config.CanonicalFields(from.SendHeaders),
		Copy:    config.CanonicalFields(from.CopyHeaders),
		SignIn:  from.SignIn,
		Timeout: from.Timeout,
	})
}

// clientsOf returns what a site asks of its clients' certificates, nil for
// nothing.
func (p *Proxy) clientsOf(next *Generation, cfg *config.Config, site *config.Site) (*clientPolicy, config.Problems) {
	from := site.TLS.ClientAuth
	if from == nil {
		return nil, nil
	}
	o := certificate.Options{Files: strings.Join(from.CA, "\n"), Require: from.Mode != "verify_if_given"}
	policy, err := keep(p, next, policyKey{site.Name, o}, func() (*clientPolicy, error) {
		gate, err := certificate.New(o, p.logger.With(zap.String("key", "client_auth"), zap.String("site", site.Name)))
		return &clientPolicy{gate: gate}, err
	})
	if err != nil {
		path, hint := site.Path()+".tls.client_auth.ca", ""
		if knows, ok := causeOf(err).(interface{ Hint() string }); ok {
			hint = knows.Hint()
		}
		return nil, config.Problems{cfg.Problem(path, path+" "+err.Error(), hint)}
	}
	next.asksClients = true
	return policy, nil
}

// clientCertificate makes sure that the connection has the certificate that the
// site wants.
func (b *routeBuilder) clientCertificate() func(http.Handler) http.Handler {
	if b.clients == nil {
		return nil
	}
	var fields []certificate.Field
	for _, pair := range b.site.TLS.ClientAuth.Headers {
		fields = append(fields, certificate.Field{Name: http.CanonicalHeaderKey(pair.Name), What: certificate.What(pair.Value)})
	}
	return func(next http.Handler) http.Handler { return b.clients.gate.Wrap(next, fields) }
}
