package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

const (
	presentTimeout = 90 * time.Second // all attempts at creating a record
	cleanUpTimeout = 30 * time.Second // all attempts at deleting one; a stop waits for it
	recordTTL      = 60 * time.Second // the least that Cloudflare takes
)

// Present creates the challenge's TXT record (RFC 8555 section 8.4). The record goes
// into the journal first: one that cannot be journalled is not created. Several
// values at one name, as for example.com and *.example.com, stand side by side.
//
// On error the record may exist nevertheless; CleanUp or Sweep deletes it then.
func (m *Mux) Present(ctx context.Context, chal acme.Challenge) (err error) {
	defer recovered(m.log, "creating the challenge record", &err)
	r, c, err := m.challengeRecord(chal)
	if err != nil {
		return err
	}
	m.setLive(r, true)
	if err := m.journal.Add(ctx, r); err != nil {
		return fmt.Errorf("challenge record %s: not created, because it could not be journalled: %w", r.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, presentTimeout)
	defer cancel()
	start := time.Now()
	err = m.create(ctx, c, r)
	if err == nil {
		return nil
	}
	if refused(err) {
		// There is nothing to delete. Forgetting it keeps the journal from
		// growing with every attempt while a token is dead.
		if err := m.journal.Remove(ctx, r); err != nil {
			m.log.Warn("journal entry could not be removed", append(m.recordFields(c, r, start), zap.Error(err))...)
		}
	}
	return fmt.Errorf("creating challenge record %s: %w", r.Name, err)
}

// refused reports whether err proves that no record was created: there was no token
// to try with, or the API itself said no.
func refused(err error) bool {
	if _, ok := errors.AsType[*TokenError](err); ok {
		return true
	}
	answer, ok := errors.AsType[*APIError](err)
	return ok && !answer.Temporary()
}

// challengeRecord returns the record for a challenge and its credential.
func (m *Mux) challengeRecord(chal acme.Challenge) (Record, *credential, error) {
	name := strings.TrimPrefix(canonical(chal.Identifier.Value), "*.")
	zone, c, err := m.solving(name)
	if err != nil {
		return Record{}, nil, err
	}
	return Record{
		Zone:    zone,
		Name:    "_acme-challenge." + name,
		Value:   chal.DNS01KeyAuthorization(),
		Created: time.Now().UTC().Truncate(time.Second),
	}, c, nil
}

// create makes the record. That it exists already is what we want.
func (m *Mux) create(ctx context.Context, c *credential, r Record) error {
	a, err := c.to(m, r.Zone)
	if err != nil {
		return err
	}
	// The complete name, not the relative one that libdns asks for: libdns passes
	// it on as it is, and the API takes a relative name that ends in the zone's
	// name for a complete one.
	_, err = a.provider.AppendRecords(ctx, r.Zone, []libdns.Record{libdns.TXT{Name: r.Name, Text: r.Value, TTL: recordTTL}})
	if answer, ok := errors.AsType[*APIError](err); ok && answer.exists() {
		return nil
	}
	c.settle(a, err)
	return err
}

// CleanUp deletes the challenge's TXT record, and no other at that name, and
// removes it from the journal once it is gone. It goes on for up to 30 seconds after
// ctx has ended: an order that was cancelled still has a record to delete. A record
// that could not be deleted stays in the journal for Sweep.
func (m *Mux) CleanUp(ctx context.Context, chal acme.Challenge) (err error) {
	defer recovered(m.log, "deleting the challenge record", &err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	r, c, err := m.challengeRecord(chal)
	if err != nil {
		return err
	}
	defer m.setLive(r, false)
	if records, err := m.journal.Load(ctx); err == nil && !slices.ContainsFunc(records, r.same) {
		return nil // Present made none: no call, and no second error for one cause
	}
	return m.remove(ctx, c, r)
}

// remove deletes the record and its journal entry.
func (m *Mux) remove(ctx context.Context, c *credential, r Record) error {
	if err := m.delete(ctx, c, r); err != nil {
		return fmt.Errorf("deleting challenge record %s (kept in the journal): %w", r.Name, err)
	}
	if err := m.journal.Remove(ctx, r); err != nil {
		return fmt.Errorf("challenge record %s is deleted, its journal entry is not: %w", r.Name, err)
	}
	return nil
}

// delete deletes the one TXT record with this name and text. That there is none is
// what we want.
func (m *Mux) delete(ctx context.Context, c *credential, r Record) error {
	a, err := c.to(m, r.Zone)
	if err != nil {
		return err
	}
	ctx, sink := withSink(ctx)
	relative := libdns.RelativeName(r.Name, r.Zone)
	_, err = a.provider.DeleteRecords(ctx, r.Zone, []libdns.Record{libdns.TXT{Name: relative, Text: r.Value}})
	if err == nil {
		err = sink.get() // see withSink
	}
	if answer, ok := errors.AsType[*APIError](err); ok && answer.gone() {
		return nil
	}
	c.settle(a, err)
	return err
}

func (m *Mux) recordFields(c *credential, r Record, start time.Time) []zap.Field {
	return []zap.Field{
		zap.String("identifier", strings.TrimPrefix(r.Name, "_acme-challenge.")),
		zap.String("credential", c.name), zap.String("zone", r.Zone), zap.String("record", r.Name),
		zap.Int64("duration_ms", time.Since(start).Milliseconds()),
	}
}

// Wait returns nil once the zone's name servers, asked directly, show the
// challenge's record; see propagation for what that means exactly. Its error after
// the propagation timeout names the servers that still lack it.
func (m *Mux) Wait(ctx context.Context, chal acme.Challenge) (err error) {
	defer recovered(m.log, "waiting for the challenge record", &err)
	r, c, err := m.challengeRecord(chal)
	if err != nil {
		return err
	}
	start := time.Now()
	servers, err := m.serversOf(ctx, c, r.Zone)
	if err != nil {
		return fmt.Errorf("waiting for challenge record %s: %w", r.Name, err)
	}
	p := propagation{record: r, servers: servers, resolver: m.resolver, recursive: len(m.nameServers) > 0, log: m.log}
	if err := p.wait(ctx, m.timeout, m.interval); err != nil {
		return fmt.Errorf("waiting for challenge record %s: %w", r.Name, err)
	}
	m.observer.Visible(time.Since(start))
	return nil
}

// nameServersAge is how long the API's word on a zone's name servers is kept.
const nameServersAge = time.Hour

// serversOf returns the servers to ask: the configured ones or the zone's own.
func (m *Mux) serversOf(ctx context.Context, c *credential, zone string) ([]*nameServer, error) {
	addresses := m.nameServers
	if len(addresses) == 0 {
		a, err := c.to(m, zone)
		if err != nil {
			return nil, err
		}
		callCtx, cancel := context.WithTimeout(ctx, presentTimeout)
		defer cancel()
		info, err := a.client.zoneInfo(callCtx, nameServersAge)
		if err != nil {
			return nil, err
		}
		if len(info.NameServers) == 0 {
			return nil, &noServersError{zone}
		}
		for _, host := range info.NameServers {
			addresses = append(addresses, net.JoinHostPort(canonical(host), m.dnsPort))
		}
	}
	servers := make([]*nameServer, len(addresses))
	for i, address := range addresses {
		servers[i] = &nameServer{address: address}
	}
	return servers, nil
}

// noServersError is a zone for which the API names no name servers.
type noServersError struct{ zone string }

func (e *noServersError) Error() string {
	return fmt.Sprintf("zone %q: the API names no name servers for it", e.zone)
}

func (e *noServersError) Hint() string {
	return "set acme.propagation.servers to the zone's name servers"
}
