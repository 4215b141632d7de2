package tlsmgr

import (
	"cmp"
	"slices"
	"strings"
)

// The issuers of an [Entry], as the configuration words them.
const (
	IssuerACME     = "acme"
	IssuerInternal = "internal"
	IssuerFile     = "file"
)

// challengeDNS is the only challenge there is; see RFC 8555 section 8.4.
const challengeDNS = "dns-01"

// Entry says where the certificate of one name comes from.
type Entry struct {
	// Name is a DNS name in lower case, perhaps a wildcard: *.example.com.
	Name string

	// Sites are the sites that have the name, sorted.
	Sites []string

	// Issuer is IssuerACME, IssuerInternal or IssuerFile.
	Issuer string

	// CA is the ACME directory, Challenge how the name is proven, Zone and
	// Credential where; all empty for other issuers. Zone and Credential are
	// also empty when no credential lists a zone of the name.
	CA, Challenge, Zone, Credential string

	// CertificateFile and KeyFile are set for IssuerFile.
	CertificateFile, KeyFile string

	// CoveredBy is the wildcard of this plan whose certificate the name is
	// served with; empty when it has one of its own.
	CoveredBy string
}

// Plan is every name with the place its certificate comes from, sorted by
// name. No name is in it twice.
type Plan []Entry

// PlannedSite is what the plan needs to know of a site.
type PlannedSite struct {
	Name    string
	Aliases []string

	// Issuer is IssuerACME, IssuerInternal or IssuerFile.
	Issuer string

	// CertificateFile and KeyFile belong to IssuerFile.
	CertificateFile, KeyFile string
}

// ZoneFunc returns the longest configured zone that holds a name and the
// credential that is used for it.
type ZoneFunc func(name string) (zone, credential string, ok bool)

// NewPlan plans the certificates of sites. A name for which a wildcard is
// ordered as well is covered by it and not ordered again; a name with files or
// from the internal CA keeps its own. Of two sites with one name, which a valid
// configuration does not have, the first decides.
func NewPlan(sites []PlannedSite, ca string, zoneOf ZoneFunc) Plan {
	index := make(map[string]int)
	var plan Plan
	for _, site := range sites {
		for _, name := range append([]string{site.Name}, site.Aliases...) {
			name = canonicalName(name)
			if at, ok := index[name]; ok {
				if !slices.Contains(plan[at].Sites, site.Name) {
					plan[at].Sites = append(plan[at].Sites, site.Name)
				}
				continue
			}
			index[name] = len(plan)
			plan = append(plan, newEntry(name, site, ca, zoneOf))
		}
	}
	for i := range plan {
		slices.Sort(plan[i].Sites)
		if plan[i].Issuer != IssuerACME {
			continue
		}
		wildcard, ok := wildcardOf(plan[i].Name)
		if !ok {
			continue
		}
		if at, ok := index[wildcard]; ok && plan[at].Issuer == IssuerACME {
			plan[i].CoveredBy = wildcard
		}
	}
	slices.SortFunc(plan, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return plan
}

func newEntry(name string, site PlannedSite, ca string, zoneOf ZoneFunc) Entry {
	entry := Entry{Name: name, Sites: []string{site.Name}, Issuer: site.Issuer}
	switch site.Issuer {
	case IssuerACME:
		entry.CA, entry.Challenge = ca, challengeDNS
		// The challenge of a wildcard lies at the name below the asterisk,
		// which may be the zone itself (RFC 8555 section 8.4).
		entry.Zone, entry.Credential, _ = zoneOf(strings.TrimPrefix(name, "*."))
	case IssuerFile:
		entry.CertificateFile, entry.KeyFile = site.CertificateFile, site.KeyFile
	}
	return entry
}

// wildcardOf returns the wildcard that covers a name: one label, and only the
// first, may differ (RFC 9525 section 6.3). A wildcard is covered by none.
func wildcardOf(name string) (string, bool) {
	first, rest, ok := strings.Cut(name, ".")
	if !ok || first == "*" || rest == "" {
		return "", false
	}
	return "*." + rest, true
}

// canonicalName is the form in which names are compared.
func canonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
