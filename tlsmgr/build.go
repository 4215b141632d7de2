package tlsmgr

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/config/secret"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// FromOptions is what the configuration file cannot say.
type FromOptions struct {
	// CredentialsDir is the directory that `credential: NAME` is looked up in
	// (systemd's CREDENTIALS_DIRECTORY, given as --credentials-dir=%d). Empty
	// makes such a credential a problem.
	CredentialsDir string

	// Roots are trusted when talking to the CA and to Cloudflare; ca_root and
	// api_root add to a copy. Nil trusts none.
	Roots *x509.CertPool
}

// FromConfig turns a configuration into settings and reads the files that it
// names: roots, certificates and keys, tokens.
//
// Everything wrong is in the problems, with its place in the configuration.
// The settings are of use in spite of them: what is missing only keeps those
// certificates from being obtained that need it, and files are read again later.
func FromConfig(cfg *config.Config, options FromOptions) (Settings, config.Problems) {
	b := &builder{cfg: cfg, options: options}
	if b.options.Roots == nil {
		b.options.Roots = x509.NewCertPool()
	}
	settings := Settings{
		ACME:       b.acme(),
		Cloudflare: b.cloudflare(),
		Storage:    cfg.Storage,
	}
	settings.Plan = NewPlan(b.sites(), settings.ACME.Directory, zoneIndex(settings.Cloudflare.Credentials))
	return settings, b.problems
}

// builder collects the problems on the way.
type builder struct {
	cfg      *config.Config
	options  FromOptions
	problems config.Problems
}

func (b *builder) problem(path string, err error, hint string) {
	b.problems = append(b.problems, b.cfg.Problem(path, err.Error(), hint))
}

func (b *builder) warn(path string, err error, hint string) {
	problem := b.cfg.Problem(path, err.Error(), hint)
	problem.Warning = true
	b.problems = append(b.problems, problem)
}

func (b *builder) acme() ACMESettings {
	from := b.cfg.ACME
	settings := ACMESettings{
		Directory:          directoryOf(from.CA),
		Email:              from.Email,
		Profile:            from.Profile,
		KeyType:            from.KeyType,
		ARI:                from.ARI,
		RenewalWindowRatio: from.RenewalWindowRatio,
		Resolvers:          from.Resolvers,
		Roots:              b.roots("acme.ca_root", from.CARoot),
	}
	if from.EAB != nil {
		settings.EABKeyID = from.EAB.KeyID
		settings.EABMACKey = b.macKey(from.EAB)
	}
	return settings
}

// directoryOf returns the directory of a CA given by name or by address.
func directoryOf(ca string) string {
	switch ca {
	case "letsencrypt":
		return certmagic.LetsEncryptProductionCA
	case "letsencrypt-staging":
		return certmagic.LetsEncryptStagingCA
	case "zerossl":
		return certmagic.ZeroSSLProductionCA
	}
	return ca
}

// macKey returns the MAC key of an external account binding.
func (b *builder) macKey(eab *config.EAB) secret.Text {
	if eab.MACKeyFile == "" {
		return eab.MACKey
	}
	const path = "acme.eab.mac_key_file"
	content, err := os.ReadFile(eab.MACKeyFile)
	if err != nil {
		b.problem(path, fmt.Errorf("MAC key: %w", err), "put the MAC key that the CA gave you into this file, readable by the user sallyport runs as")
		return secret.Text{}
	}
	key := strings.TrimSpace(string(content))
	if key == "" {
		b.problem(path, fmt.Errorf("MAC key: %s is empty", eab.MACKeyFile), "put the MAC key that the CA gave you into this file")
	}
	return secret.New(key)
}

// roots returns the trusted roots with those of a PEM file added.
func (b *builder) roots(path, file string) *x509.CertPool {
	if file == "" {
		return b.options.Roots
	}
	pool := b.options.Roots.Clone()
	content, err := os.ReadFile(file)
	if err != nil {
		b.problem(path, err, "name a PEM file with the root certificates to trust")
		return pool
	}
	found := 0
	for len(content) > 0 {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			b.problem(path, fmt.Errorf("%s: %w", file, err), "one of its certificates is damaged; export it again")
			continue
		}
		pool.AddCert(certificate)
		found++
	}
	if found == 0 {
		b.problem(path, fmt.Errorf("%s holds no certificate", file), "it must be PEM: blocks that start with -----BEGIN CERTIFICATE-----")
	}
	return pool
}

func (b *builder) cloudflare() cloudflare.Options {
	acme := b.cfg.ACME
	options := cloudflare.Options{
		Resolver:            resolverOf(acme.Resolvers),
		NameServers:         acme.Propagation.Servers,
		PropagationTimeout:  acme.Propagation.Timeout,
		PropagationInterval: acme.Propagation.Interval,
	}
	for i, from := range b.cfg.Cloudflare {
		if len(from.Zones) == 0 {
			continue // config has said so
		}
		path := fmt.Sprintf("cloudflare[%d]", i)
		source, key := b.source(path, from)
		if source == nil {
			continue
		}
		if _, err := source.Read(); err != nil {
			b.problem(path+"."+key, fmt.Errorf("no token for %s: %w", zoneList(from.Zones), err), cloudflare.Hint(err))
		}
		options.Credentials = append(options.Credentials, cloudflare.Credential{
			Name:   cmp.Or(from.Name, from.Zones[0]),
			Zones:  from.Zones,
			Source: source,
			APIURL: from.APIURL,
			Roots:  b.roots(path+".api_root", from.APIRoot),
		})
	}
	return options
}

// source returns where a credential's token comes from and the key that says
// so in the configuration; nil if nothing usable does.
func (b *builder) source(path string, from config.Credential) (source cloudflare.Source, key string) {
	switch {
	case from.TokenFile != "":
		return cloudflare.File(from.TokenFile), "token_file"
	case !from.Token.IsZero():
		return cloudflare.Inline(from.Token), "token"
	case from.Credential == "":
		return nil, "" // config has said so
	}
	path += ".credential"
	if b.options.CredentialsDir == "" {
		b.problem(path,
			fmt.Errorf("no token for %s: credential %q needs --credentials-dir", zoneList(from.Zones), from.Credential),
			fmt.Sprintf("in the systemd unit: LoadCredential=%s:/path/to/token and ExecStart=... --credentials-dir=%%d; elsewhere use token_file", from.Credential))
		return nil, ""
	}
	if filepath.Base(from.Credential) != from.Credential || from.Credential == ".." || from.Credential == "." {
		b.problem(path, fmt.Errorf("%q is not the name of a systemd credential", from.Credential), "give the NAME of LoadCredential=NAME:PATH")
		return nil, ""
	}
	return cloudflare.File(filepath.Join(b.options.CredentialsDir, from.Credential)), "credential"
}

func zoneList(zones []string) string {
	if len(zones) == 1 {
		return "zone " + zones[0]
	}
	return "zones " + strings.Join(zones, ", ")
}

// zoneIndex returns the function that finds the longest zone of a name.
func zoneIndex(credentials []cloudflare.Credential) ZoneFunc {
	owner := make(map[string]string)
	for _, credential := range credentials {
		for _, zone := range credential.Zones {
			if zone = canonicalName(zone); owner[zone] == "" {
				owner[zone] = credential.Name
			}
		}
	}
	return func(name string) (zone, credential string, ok bool) {
		for zone = canonicalName(name); zone != ""; {
			if credential, ok = owner[zone]; ok {
				return zone, credential, true
			}
			_, zone, _ = strings.Cut(zone, ".")
		}
		return "", "", false
	}
}

// sites lists the sites for the plan and checks their certificate files.
func (b *builder) sites() []PlannedSite {
	sites := make([]PlannedSite, 0, len(b.cfg.Sites))
	for _, from := range b.cfg.Sites {
		site := PlannedSite{Name: from.Name, Aliases: from.Aliases, Issuer: string(issuerOf(from))}
		if site.Issuer == IssuerFile {
			site.CertificateFile, site.KeyFile = from.TLS.Certificate, from.TLS.Key
			b.checkFiles(site)
		}
		sites = append(sites, site)
	}
	return sites
}

// issuerOf completes what the configuration leaves open.
func issuerOf(site config.Site) config.Issuer {
	switch {
	case site.TLS.Issuer != "":
		return site.TLS.Issuer
	case site.TLS.Certificate != "" || site.TLS.Key != "":
		return config.IssuerFile
	case site.Name == "localhost" || strings.HasSuffix(site.Name, ".localhost"):
		return config.IssuerInternal // RFC 6761 section 6.3: no public CA may vouch for it
	}
	return config.IssuerACME
}

// checkFiles reads a site's certificate and key as Manager.Apply will.
func (b *builder) checkFiles(site PlannedSite) {
	path := fmt.Sprintf("sites[%s].tls", site.Name)
	certificate, err := readPair(site.CertificateFile, site.KeyFile)
	if err != nil {
		at := path
		if failure, ok := errors.AsType[*FileError](err); ok {
			at = path + "." + failure.Part
		}
		b.problem(at, err, cloudflare.Hint(err))
		return
	}
	for _, name := range append([]string{site.Name}, site.Aliases...) {
		if err := covers(certificate, site.CertificateFile, name); err != nil {
			b.problem(path+".certificate", err, cloudflare.Hint(err))
		}
	}
	if err := current(certificate, site.CertificateFile); err != nil {
		b.warn(path+".certificate", err, cloudflare.Hint(err))
	}
	if info, err := os.Stat(site.KeyFile); err == nil && info.Mode().Perm()&0o004 != 0 {
		b.warn(path+".key", fmt.Errorf("private key %s can be read by everybody", site.KeyFile), "chmod o-r "+site.KeyFile)
	}
}

// resolverOf returns a resolver that asks the given servers in turn, or the
// system's when there are none.
func resolverOf(servers []string) *net.Resolver {
	if len(servers) == 0 {
		return &net.Resolver{PreferGo: true}
	}
	var next atomic.Uint32
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			// Each try of a question dials anew, so taking turns is what
			// lets the second try ask another server.
			server := servers[int(next.Add(1)-1)%len(servers)]
			return (&net.Dialer{}).DialContext(ctx, network, server)
		},
	}
}
