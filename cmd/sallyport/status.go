package main

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/listen"
	"github.com/sallyport/sallyport/proxy/metrics"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/tlsmgr"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// This file says how the rooms are, in the words of the admin API.

// status returns everything that there is to know of the running process.
func (e *edge) status() *admin.Status {
	e.mu.Lock()
	cfg, loaded, last := e.config, e.loaded, e.last
	e.mu.Unlock()
	now := time.Now().UTC()
	s := &admin.Status{
		Schema: admin.Schema, Version: version(), PID: os.Getpid(), Started: e.started, Now: now,
		Problems:    e.health(),
		Config:      admin.Config{Path: cfg.File(), Hash: cfg.Hash(), LoadedAt: loaded, Last: last, Stale: e.stale()},
		Listeners:   e.listenerStatus(),
		Connections: connectionStatus(e),
		Traffic:     e.traffic(now),
		Events:      e.events.List(),
		// Lists are never null.
		Sites: []admin.Site{}, Certificates: []admin.Certificate{}, Credentials: []admin.Credential{}, Upstreams: []admin.Upstream{},
	}
	if err := e.certificates.Unwritable(); err != nil {
		s.Storage = &admin.Problem{Place: cfg.Storage, Message: "no certificate can be kept: " + err.Error(), Hint: hintOf(err)}
	}
	for i := range cfg.Sites {
		s.Sites = append(s.Sites, siteStatus(&cfg.Sites[i]))
	}
	for _, one := range e.certificates.Status() {
		s.Certificates = append(s.Certificates, certificateStatus(one, now))
	}
	for _, one := range e.certificates.Credentials() {
		s.Credentials = append(s.Credentials, credentialStatus(one))
	}
	for _, one := range e.proxy.Upstreams() {
		group := admin.Upstream{Name: one.Name}
		for _, server := range one.Servers {
			group.Servers = append(group.Servers, memberStatus(server))
		}
		s.Upstreams = append(s.Upstreams, group)
	}
	return s
}

// pulse returns what changes by the second.
func (e *edge) pulse() admin.Pulse {
	e.mu.Lock()
	hash, loaded := e.config.Hash(), e.loaded
	e.mu.Unlock()
	now := time.Now().UTC()
	counts := e.listeners.Counts()
	return admin.Pulse{
		Now: now, Problems: e.health(), Open: counts.Open(), Traffic: e.traffic(now),
		Revision: fmt.Sprintf("%s-%d-%d", hash, loaded.UnixMilli(), e.events.Revision()),
	}
}

func (e *edge) listenerStatus() []admin.Listener {
	var list []admin.Listener
	plain, secure := e.listeners.Addrs()
	for _, address := range plain {
		list = append(list, admin.Listener{Name: "http", Address: address.String()})
	}
	for _, address := range secure {
		list = append(list, admin.Listener{Name: "https", Address: address.String()})
	}
	for _, address := range e.listeners.AddrsUDP() {
		list = append(list, admin.Listener{Name: "http3", Address: address.String()})
	}
	return list
}

func connectionStatus(e *edge) admin.Connections {
	counts := e.listeners.Counts()
	c := admin.Connections{Open: counts.Open()}
	for _, transport := range []*listen.Transport{&counts.TCP, &counts.QUIC} {
		all, resumed := transport.Handshakes()
		c.Accepted += transport.Accepted
		c.Handshakes += all
		c.Resumed += resumed
		c.Failed += transport.Failed
	}
	for _, one := range counts.Refused {
		if one.OfConnections {
			c.Refused += one.Count
		}
	}
	return c
}

func (e *edge) traffic(now time.Time) admin.Traffic {
	const recent = 10 * time.Second
	short, minute := e.history.Since(now, recent), e.history.Since(now, time.Minute)
	t := admin.Traffic{
		UnderWay: e.history.UnderWay(),
		Rate:     perSecond(short.Total, recent), Failing: perSecond(short.Failed, recent),
		P50: milliseconds(minute.P50), P99: milliseconds(minute.P99),
	}
	for _, point := range e.history.Points(now) {
		t.Series = append(t.Series, admin.Point{
			Rate: perSecond(point.Total, metrics.Interval), Failing: perSecond(point.Failed, metrics.Interval),
			P50: milliseconds(point.P50), P99: milliseconds(point.P99),
		})
	}
	return t
}

func perSecond(n uint32, within time.Duration) float64 { return float64(n) / within.Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func siteStatus(site *config.Site) admin.Site {
	s := admin.Site{Name: site.Name, Aliases: site.Aliases}
	for _, place := range site.Places() {
		s.Routes = append(s.Routes, place.Summary())
	}
	return s
}

func certificateStatus(from tlsmgr.Status, now time.Time) admin.Certificate {
	c := admin.Certificate{
		Name: from.Name, Sites: from.Sites, State: string(from.State), Serves: !from.NotAfter.IsZero(),
		Issuer: string(from.Issuer), CA: from.CA, Zone: from.Zone, Credential: from.Credential, CoveredBy: from.CoveredBy,
		NotAfter: moment(from.NotAfter), Next: moment(from.NextAttempt), Attempts: from.Attempts, Error: from.LastError, Hint: from.Hint,
	}
	if c.Serves {
		days := int(math.Floor(from.NotAfter.Sub(now).Hours() / 24)) // an hour too late is -1
		c.DaysLeft = &days
	}
	return c
}

func credentialStatus(from cloudflare.CredentialStatus) admin.Credential {
	c := admin.Credential{
		Name: from.Name, Zones: from.Zones, Source: from.Source, Fingerprint: from.Fingerprint,
		Checked: moment(from.Used), OK: from.Err == nil,
	}
	if from.Err != nil {
		c.Error, c.Hint = from.Err.Error(), cloudflare.Hint(from.Err)
	}
	return c
}

func memberStatus(from upstream.MemberStatus) admin.Member {
	m := admin.Member{
		Address: from.Address, State: "up", Since: moment(from.Since), UnderWay: from.UnderWay, Waiting: from.Waiting,
		Weight: from.Weight, Backup: from.Backup, Failures: from.Failures,
	}
	switch {
	case from.Draining:
		m.State = "draining"
	case !from.Up:
		m.State = "down"
	}
	if from.Cause != nil {
		m.Cause, m.Hint = from.Cause.Error(), failure.OfServer(from.Cause).Hint
	}
	return m
}

// moment is a time, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// problemsOf are those of a configuration, for the API.
func problemsOf(problems config.Problems) []admin.Problem {
	var list []admin.Problem
	for _, p := range problems {
		list = append(list, admin.Problem{Place: p.Position.String(), Message: p.Message, Hint: p.Hint, Warning: p.Warning})
	}
	return list
}

// adminToken reads the token of admin.listen.
func (e *edge) adminToken() (string, error) { return admin.ReadToken(e.current().Admin.TokenFile) }

// renew has the certificate of a name renewed.
func (e *edge) renew(name string) error {
	if err := e.certificates.Renew(name); err != nil {
		return &exitError{err: err, hint: "sallyport certs shows the names, and where their certificates come from"}
	}
	return nil
}
