package tlsmgr

import (
	"reflect"
	"testing"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

func TestNewPlan(t *testing.T) {
	zoneOf := zoneIndex([]cloudflare.Credential{
		{Name: "main", Zones: []string{"example.com", "Example.NET"}},
		{Name: "sub", Zones: []string{"dev.example.com"}},
	})
	const ca = "https://ca.test/dir"
	viaACME := func(name, zone, credential string, sites ...string) Entry {
		return Entry{Name: name, Sites: sites, Issuer: IssuerACME, CA: ca, Challenge: "dns-01", Zone: zone, Credential: credential}
	}
	covered := func(e Entry, by string) Entry {
		e.CoveredBy = by
		return e
	}
	tests := []struct {
		name  string
		sites []PlannedSite
		want  Plan
	}{
		{"nothing", nil, nil},
		{
			"the longest zone decides, the zone itself included",
			[]PlannedSite{
				{Name: "app.dev.example.com", Issuer: IssuerACME}, {Name: "dev.example.com", Issuer: IssuerACME},
				{Name: "notdev.example.com", Issuer: IssuerACME}, {Name: "example.net", Issuer: IssuerACME},
			},
			Plan{
				viaACME("app.dev.example.com", "dev.example.com", "sub", "app.dev.example.com"),
				viaACME("dev.example.com", "dev.example.com", "sub", "dev.example.com"),
				viaACME("example.net", "example.net", "main", "example.net"),
				viaACME("notdev.example.com", "example.com", "main", "notdev.example.com"),
			},
		},
		{
			"a wildcard is proven at the name below the asterisk",
			[]PlannedSite{{Name: "*.dev.example.com", Issuer: IssuerACME}},
			Plan{viaACME("*.dev.example.com", "dev.example.com", "sub", "*.dev.example.com")},
		},
		{
			"a wildcard covers one label and neither itself nor its base",
			[]PlannedSite{
				{Name: "*.example.com", Issuer: IssuerACME}, {Name: "a.example.com", Issuer: IssuerACME},
				{Name: "a.b.example.com", Issuer: IssuerACME}, {Name: "example.com", Issuer: IssuerACME},
			},
			Plan{
				viaACME("*.example.com", "example.com", "main", "*.example.com"),
				viaACME("a.b.example.com", "example.com", "main", "a.b.example.com"),
				covered(viaACME("a.example.com", "example.com", "main", "a.example.com"), "*.example.com"),
				viaACME("example.com", "example.com", "main", "example.com"),
			},
		},
		{
			"files and the internal CA are no business of a wildcard, nor do theirs cover",
			[]PlannedSite{
				{Name: "*.example.com", Issuer: IssuerACME},
				{Name: "f.example.com", Issuer: IssuerFile, CertificateFile: "c", KeyFile: "k"},
				{Name: "i.example.com", Issuer: IssuerInternal},
				{Name: "*.example.net", Issuer: IssuerFile, CertificateFile: "c", KeyFile: "k"},
				{Name: "a.example.net", Issuer: IssuerACME},
			},
			Plan{
				viaACME("*.example.com", "example.com", "main", "*.example.com"),
				{Name: "*.example.net", Sites: []string{"*.example.net"}, Issuer: IssuerFile, CertificateFile: "c", KeyFile: "k"},
				viaACME("a.example.net", "example.net", "main", "a.example.net"),
				{Name: "f.example.com", Sites: []string{"f.example.com"}, Issuer: IssuerFile, CertificateFile: "c", KeyFile: "k"},
				{Name: "i.example.com", Sites: []string{"i.example.com"}, Issuer: IssuerInternal},
			},
		},
		{
			"aliases, case and a name twice",
			[]PlannedSite{
				{Name: "b.example.com", Aliases: []string{"A.example.com."}, Issuer: IssuerACME},
				{Name: "a.example.com", Issuer: IssuerInternal},
			},
			Plan{
				viaACME("a.example.com", "example.com", "main", "a.example.com", "b.example.com"),
				viaACME("b.example.com", "example.com", "main", "b.example.com"),
			},
		},
		{
			"no zone",
			[]PlannedSite{{Name: "app.other.test", Issuer: IssuerACME}},
			Plan{viaACME("app.other.test", "", "", "app.other.test")},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := NewPlan(test.sites, ca, zoneOf); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, test.want)
			}
		})
	}
}
