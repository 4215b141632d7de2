package tlsmgr

import (
	"crypto/x509"
	"slices"

	"github.com/sallyport/sallyport/config/secret"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// Settings is everything a [Manager] needs to know, as plain values. Once
// applied it must not be changed.
type Settings struct {
	// Plan says which certificate each name gets.
	Plan Plan

	// ACME says who signs and how. Needed when the plan has such a name.
	ACME ACMESettings

	// Cloudflare says how names are proven. Journal and Logger are filled in
	// by the manager.
	Cloudflare cloudflare.Options

	// Storage is the directory of certificates, keys and accounts.
	Storage string
}

// ACMESettings says which CA is asked, and how (RFC 8555).
type ACMESettings struct {
	// Directory is the address of the CA's directory.
	Directory string

	// Email is the account's contact. Never empty: certmagic would ask for
	// one on standard input.
	Email string

	// EABKeyID and EABMACKey bind the account to one at the CA (section
	// 7.3.4). Empty: no binding.
	EABKeyID  string
	EABMACKey secret.Text

	// Profile is the certificate profile asked for; empty leaves it to the CA.
	Profile string

	// KeyType is p256, p384, rsa2048 or rsa4096; empty is p256. A change
	// takes effect with each certificate's next renewal.
	KeyType string

	// ARI follows the CA's advice on when to renew (RFC 9773).
	ARI bool

	// RenewalWindowRatio is the part of a lifetime that is left when a
	// certificate is renewed for want of advice. 0 or less, or 1 and more, is
	// a third.
	RenewalWindowRatio float64

	// Resolvers are DNS servers (host:port) that resolve the CA's name. Empty
	// uses the system's. Of several the first is used: certmagic takes one.
	Resolvers []string

	// Roots are trusted when talking to the CA; required.
	Roots *x509.CertPool
}

// ratio returns the renewal window ratio with its default.
func (s ACMESettings) ratio() float64 {
	if s.RenewalWindowRatio <= 0 || s.RenewalWindowRatio >= 1 {
		return 1.0 / 3
	}
	return s.RenewalWindowRatio
}

// same reports whether an issuer made for s would do for other.
func (s ACMESettings) same(other ACMESettings) bool {
	return s.Directory == other.Directory &&
		s.Email == other.Email &&
		s.EABKeyID == other.EABKeyID &&
		s.EABMACKey.Equal(other.EABMACKey) &&
		s.Profile == other.Profile &&
		s.KeyType == other.KeyType &&
		s.ARI == other.ARI &&
		s.RenewalWindowRatio == other.RenewalWindowRatio &&
		slices.Equal(s.Resolvers, other.Resolvers) &&
		samePool(s.Roots, other.Roots)
}

// changedCredentials returns the names of the credentials of after that are
// new or differ from before, and whether anything else of the two differs.
func changedCredentials(before, after cloudflare.Options) (changed []string, rest bool) {
	for _, credential := range after.Credentials {
		same := slices.ContainsFunc(before.Credentials, func(c cloudflare.Credential) bool {
			return c.Name == credential.Name && c.APIURL == credential.APIURL &&
				slices.Equal(c.Zones, credential.Zones) && samePool(c.Roots, credential.Roots) &&
				sameSource(c.Source, credential.Source)
		})
		if !same {
			changed = append(changed, credential.Name)
		}
	}
	rest = len(before.Credentials) != len(after.Credentials) ||
		before.PropagationTimeout != after.PropagationTimeout ||
		before.PropagationInterval != after.PropagationInterval ||
		!slices.Equal(before.NameServers, after.NameServers)
	return changed, rest
}

// sameSource reports whether two sources give the same token now and, being
// the same place, later.
func sameSource(a, b cloudflare.Source) bool {
	if a.String() != b.String() {
		return false
	}
	tokenA, errA := a.Read()
	tokenB, errB := b.Read()
	return errA != nil && errB != nil || errA == nil && errB == nil && tokenA.Equal(tokenB)
}

func samePool(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}
