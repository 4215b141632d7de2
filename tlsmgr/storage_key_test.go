package tlsmgr

import (
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

// A private CA has a port more often than not.
func TestTheFolderOfACAIsTheOneThatCertificatesAreIn(t *testing.T) {
	for _, directory := range []string{"https://acme-v02.api.letsencrypt.org/directory", "https://ca.test:14000/acme/dir", "https://CA.test/Dir"} {
		settings := ACMESettings{Directory: directory}
		file := certmagic.StorageKeys.SiteCert((&engine{settings: settings}).issuerKey(), "a.test")
		if folder := "certificates/" + settings.StorageKey() + "/"; !strings.HasPrefix(file, folder) {
			t.Errorf("%s: %s is not in %s", directory, file, folder)
		}
	}
}
