package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/sallyport/sallyport/tlsmgr"
)

// This file looks at the certificates that are stored, and those to come.

// week is the time that limits per domain count.
const week = 7 * 24 * time.Hour

// limit is what a CA gives: certificates under one registered domain in a week,
// and orders of one account in three hours.
type limit struct {
	ca                string
	perDomain, orders int
}

// limitOf returns the limits of the CA with that directory, as it publishes them;
// false where it publishes none that we know of.
func limitOf(directory string) (limit, bool) {
	switch directory {
	case "https://acme-v02.api.letsencrypt.org/directory": // https://letsencrypt.org/docs/rate-limits/
		return limit{"Let's Encrypt", 50, 300}, true
	case "https://acme-staging-v02.api.letsencrypt.org/directory": // https://letsencrypt.org/docs/staging-environment/
		return limit{"Let's Encrypt's staging", 30_000, 1500}, true
	}
	return limit{}, false
}

// mostCertificate bounds what is read of one file.
const mostCertificate = 1 << 20

// stored returns the certificates in the storage of the configured CA, by name.
// A storage that does not exist yet has none; one that may not be read is an error.
func (d *doctor) stored() (map[string]*x509.Certificate, error) {
	all := make(map[string]*x509.Certificate)
	root, err := os.OpenRoot(d.Config.Storage)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	folder := path.Join("certificates", d.Settings.ACME.StorageKey())
	var denied error
	_ = fs.WalkDir(root.FS(), folder, func(name string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			denied = err
		}
		if err != nil || !strings.HasSuffix(name, ".crt") {
			return nil
		}
		file, err := root.Open(name)
		if errors.Is(err, fs.ErrPermission) {
			denied = err
		}
		if err != nil {
			return nil
		}
		defer file.Close()
		content, err := io.ReadAll(io.LimitReader(file, mostCertificate))
		if err != nil {
			return nil
		}
		if block, _ := pem.Decode(content); block != nil {
			if leaf, err := x509.ParseCertificate(block.Bytes); err == nil && len(leaf.DNSNames) > 0 {
				all[leaf.DNSNames[0]] = leaf
			}
		}
		return nil
	})
	return all, denied
}

// ordered returns the names that certificates are ordered for.
func (d *doctor) ordered() []tlsmgr.Entry {
	var list []tlsmgr.Entry
	for _, entry := range d.Settings.Plan {
		if entry.Issuer == tlsmgr.IssuerACME && entry.CoveredBy == "" {
			list = append(list, entry)
		}
	}
	return list
}

// certificates tells what is due and what is late.
func (d *doctor) certificates(context.Context) []Finding {
	names := d.ordered()
	if len(names) == 0 {
		return nil
	}
	have, err := d.stored()
	if err != nil {
		return []Finding{found(Unknown, "run doctor as the user that sallyport runs as", "which certificates are stored: %v", err)}
	}
	now := time.Now()
	var list []Finding
	fresh, missing := 0, 0
	for _, entry := range names {
		leaf := have[entry.Name]
		if leaf == nil {
			missing++
			continue
		}
		left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
		cure := "sallyport certs shows why it is not renewed; sallyport renew '" + entry.Name + "' tries at once"
		if d.running == nil {
			cure = "start sallyport: it renews what is due"
		}
		switch {
		case left <= 0:
			list = append(list, found(Error, cure, "the certificate of %s expired on %s", entry.Name, leaf.NotAfter.UTC().Format(time.DateOnly)))
		case left < life/5: // a third is when it is renewed
			list = append(list, found(Warning, cure, "the certificate of %s ends on %s, and its renewal is overdue", entry.Name, leaf.NotAfter.UTC().Format(time.DateOnly)))
		case left < life/3:
			list = append(list, found(Note, "", "the certificate of %s is due for renewal: it ends on %s", entry.Name, leaf.NotAfter.UTC().Format(time.DateOnly)))
		default:
			fresh++
		}
	}
	if fresh > 0 {
		list = append(list, found(OK, "", "%d of %d certificates are stored and not due", fresh, len(names)))
	}
	if missing > 0 {
		list = append(list, found(Note, "", "%d of %d certificates are still to be ordered", missing, len(names)))
	}
	return list
}

// rateLimit compares what is to be ordered with what the CA gives in a week.
// It knows only of what this storage has; other machines count too.
func (d *doctor) rateLimit(context.Context) []Finding {
	names := d.ordered()
	if len(names) == 0 {
		return nil
	}
	have, err := d.stored()
	if err != nil {
		return nil // the step before has said so
	}
	type count struct{ recent, wanted int }
	domains := make(map[string]*count)
	of := func(name string) *count {
		name = strings.TrimPrefix(name, "*.")
		if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
			name = domain
		}
		if domains[name] == nil {
			domains[name] = new(count)
		}
		return domains[name]
	}
	recent, wanted := 0, 0
	for name, leaf := range have {
		if time.Since(leaf.NotBefore) < week {
			of(name).recent++
			recent++
		}
	}
	for _, entry := range names {
		if have[entry.Name] == nil {
			of(entry.Name).wanted++
			wanted++
		}
	}
	gives, known := limitOf(d.Settings.ACME.Directory)
	if !known {
		return []Finding{found(Note, "", "what is left of its rate limit is unknown for this CA, %s: %d certificates in the last 7 days and %d to order", d.Settings.ACME.Directory, recent, wanted)}
	}
	var list []Finding
	for domain, n := range domains {
		used := fmt.Sprintf("%s: %d certificates in the last 7 days and %d to order, of %d that %s gives in that time", domain, n.recent, n.wanted, gives.perDomain, gives.ca)
		switch {
		case n.recent+n.wanted > gives.perDomain:
			list = append(list, found(Warning, "a wildcard (\"*."+domain+"\") covers all names one label below with one certificate; the rest is ordered as the limit allows", "%s", used))
		case n.recent+n.wanted > gives.perDomain*4/5:
			list = append(list, found(Note, "", "%s", used))
		}
	}
	if wanted > gives.orders {
		list = append(list, found(Note, "", "%d certificates to order, and %s takes %d orders of one account in 3 hours: the others follow", wanted, gives.ca, gives.orders))
	}
	if len(list) == 0 {
		list = append(list, found(OK, "", "enough left of what %s gives: %d certificates in the last 7 days and %d to order, of %d for each registered domain, and %d orders in 3 hours", gives.ca, recent, wanted, gives.perDomain, gives.orders))
	}
	slices.SortFunc(list, func(a, b Finding) int { return strings.Compare(a.Message, b.Message) })
	return list
}
