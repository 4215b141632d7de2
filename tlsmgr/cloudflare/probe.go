package cloudflare

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// probeLabel is where the write probe puts its record: not a challenge name, so
// that it is in nobody's way.
const probeLabel = "_sallyport-probe."

// ProbeWrite creates a TXT record in a zone and deletes it again, with the
// zone's credential: the only way to learn whether a token may edit. An error
// says which of the two failed; a record that could not be deleted is named in
// it, and does no harm.
func (m *Mux) ProbeWrite(ctx context.Context, zone string) (err error) {
	defer recovered(m.log, "trying to write to zone "+zone, &err)
	zone = canonical(zone)
	c := m.zones[zone]
	if c == nil {
		return &noCredentialError{zone}
	}
	r := Record{Zone: zone, Name: probeLabel + zone, Value: "probe-" + rand.Text(), Created: time.Now().UTC()}
	creating, cancel := context.WithTimeout(ctx, presentTimeout)
	defer cancel()
	err = m.create(creating, c, r)
	if err != nil && refused(err) {
		return fmt.Errorf("creating record %s: %w", r.Name, err)
	}
	// Whatever became of it, it may be there.
	deleting, stop := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer stop()
	if failure := m.delete(deleting, c, r); failure != nil && err == nil {
		return fmt.Errorf("deleting record %s, which stays and does no harm: %w", r.Name, failure)
	}
	if err != nil {
		return fmt.Errorf("creating record %s: %w", r.Name, err)
	}
	return nil
}
