package cloudflare

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	library "github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
)

// AskNameServersAt makes Wait ask the zone's own name servers at the port of
// address: no test may listen on port 53.
func (m *Mux) AskNameServersAt(address string) { _, m.dnsPort, _ = net.SplitHostPort(address) }

// PanicWith makes every call of the DNS provider panic.
func (m *Mux) PanicWith(value any) {
	m.newProvider = func(library.HTTPClient) provider { return panicking{value} }
}

type panicking struct{ value any }

func (p panicking) AppendRecords(context.Context, string, []libdns.Record) ([]libdns.Record, error) {
	panic(p.value)
}

func (p panicking) DeleteRecords(context.Context, string, []libdns.Record) ([]libdns.Record, error) {
	panic(p.value)
}

// MemoryJournal is a journal for tests. Its owner reads it back with Load.
type MemoryJournal struct {
	mu      sync.Mutex
	records []Record
}

// Load returns the records, oldest first.
func (j *MemoryJournal) Load(context.Context) ([]Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records), nil
}

// Add remembers a record.
func (j *MemoryJournal) Add(_ context.Context, r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.ContainsFunc(j.records, r.same) {
		j.records = append(j.records, r)
	}
	return nil
}

// Remove forgets a record.
func (j *MemoryJournal) Remove(_ context.Context, r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = slices.DeleteFunc(j.records, r.same)
	return nil
}

// FullJournal is a journal that nothing can be added to.
type FullJournal struct{ MemoryJournal }

// Add fails.
func (*FullJournal) Add(context.Context, Record) error { return errors.New("no space left on device") }
