package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Record is a TXT record that we made, or were about to make.
type Record struct {
	Zone    string    `json:"zone"`    // lower case, no trailing dot
	Name    string    `json:"name"`    // the complete name, lower case, no trailing dot
	Value   string    `json:"value"`   // the text, without quotes
	Created time.Time `json:"created"` // when it went into the journal
}

// same reports whether both are the same DNS record, whenever they were made.
func (r Record) same(other Record) bool {
	return r.Zone == other.Zone && r.Name == other.Name && r.Value == other.Value
}

// Journal remembers the TXT records that still have to be deleted, across
// restarts. A record is in it from before it is created until after it is
// deleted. Zone, Name and Value identify a record.
//
// Methods are called concurrently. When Add returns nil the record MUST be
// there after a crash. Adding a record twice and removing one that is not there MUST
// succeed. A value is no secret: it was public in DNS.
type Journal interface {
	Load(context.Context) ([]Record, error)
	Add(context.Context, Record) error
	Remove(context.Context, Record) error
}

// noJournal stands in for no journal.
type noJournal struct{}

func (noJournal) Load(context.Context) ([]Record, error) { return nil, nil }
func (noJournal) Add(context.Context, Record) error      { return errors.New("there is no journal") }
func (noJournal) Remove(context.Context, Record) error   { return nil }

// sweepTimeout bounds the deletion of one record.
const sweepTimeout = 30 * time.Second

// Sweep deletes the records that the journal names, which an earlier run left
// behind, and nobody else's: a record goes only if zone, name and text are the
// journal's. Records that this Mux is using are spared; those of another process, or
// another Mux, with the same journal are not, so sweep before the first order.
//
// What cannot be deleted stays in the journal; the error joins the reasons.
// Records of zones that are not configured any more stay there too, without
// an error: a later configuration may bring the zone back.
func (m *Mux) Sweep(ctx context.Context) (err error) {
	defer recovered(m.log, "sweeping left-over records", &err)
	records, err := m.journal.Load(ctx)
	if err != nil {
		return fmt.Errorf("sweeping left-over records: %w", err)
	}
	var failures []error
	for _, r := range records {
		if ctx.Err() != nil {
			return errors.Join(append(failures, ctx.Err())...)
		}
		if m.isLive(r) {
			continue
		}
		c := m.zones[r.Zone]
		if c == nil {
			m.log.Warn("left-over record is in a zone of no credential", zap.String("zone", r.Zone), zap.String("record", r.Name))
			continue
		}
		start := time.Now()
		if err := m.sweepOne(ctx, c, r); err != nil {
			failures = append(failures, err)
			continue
		}
		m.log.Info("left-over record deleted", m.recordFields(c, r, start)...)
	}
	return errors.Join(failures...)
}

func (m *Mux) sweepOne(ctx context.Context, c *credential, r Record) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return m.remove(ctx, c, r)
}

// liveKey identifies a record in Mux.live.
type liveKey struct{ name, value string }

func (m *Mux) isLive(r Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live[liveKey{r.Name, r.Value}] > 0
}

// setLive counts a record as in use, or no longer.
func (m *Mux) setLive(r Record, live bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := liveKey{r.Name, r.Value}
	switch {
	case live:
		m.live[key]++
	case m.live[key] > 1:
		m.live[key]--
	default:
		delete(m.live, key)
	}
}
