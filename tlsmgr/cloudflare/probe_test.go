package cloudflare_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

func TestWriteProbeLeavesNoRecord(t *testing.T) {
	s := newSetup(t)
	if err := s.ProbeWrite(t.Context(), "Example.com."); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, r := range s.world.API.Requests() {
		if r.Method == "POST" && strings.Contains(string(r.Body), "_sallyport-probe.example.com") {
			made++
		}
	}
	if left := s.world.API.Records("example.com"); made != 1 || len(left) != 0 {
		t.Errorf("made %d, left %v", made, left)
	}
}

func TestWriteProbeTellsATokenThatMayOnlyRead(t *testing.T) {
	s := newSetup(t)
	s.world.API.AddToken(acmetest.Token{Value: tokenCom, Zones: []string{"example.com"}, Permissions: acmetest.ZoneRead | acmetest.DNSRead})
	err := s.ProbeWrite(t.Context(), "example.com")
	if err == nil || cloudflare.Temporary(err) || !strings.Contains(cloudflare.Hint(err), "Zone:DNS:Edit on example.com") {
		t.Errorf("%v, hint %q", err, cloudflare.Hint(err))
	}
	if err := s.ProbeWrite(t.Context(), "nobodys.test"); err == nil {
		t.Error("a zone that is not configured was written to")
	}
}
