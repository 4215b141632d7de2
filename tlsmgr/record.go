package tlsmgr

import (
	"crypto/tls"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/localca"
)

// record is what the manager knows of a name that has a certificate of its own.
// Its fields are guarded by Manager.mu; slot and what it points to are not.
type record struct {
	entry Entry
	slot  *slot

	// engine orders for IssuerACME, authority signs for IssuerInternal; files
	// is set for IssuerFile.
	engine    *engine
	authority *localca.Authority
	files     *watchedFiles

	primed *tls.Certificate // found by Apply, for commit to publish

	force    bool      // renew at the next attempt whatever is due
	ordered  time.Time // when the last certificate was ordered here
	adviceAt time.Time // when to ask the CA for advice again

	ordering bool // an order runs
	failures int  // in a row
	err      error
	next     time.Time
}

// job is what an attempt needs to know: a copy of a record's fields.
type job struct {
	name      string
	entry     Entry
	slot      *slot
	engine    *engine
	authority *localca.Authority
	force     bool
	ordered   time.Time
	adviceAt  time.Time
	attempt   int // counts from 1, since the last success
	failures  int // since the last success or resubmission
}

// begin copies what an attempt needs.
func (m *Manager) begin(name string, failures int) (job, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[name]
	if r == nil {
		return job{}, false
	}
	r.next = time.Time{}
	m.scheduler.takenIn(name) // Renew holds m.mu too, so its wish is in r.force by now
	return job{
		name: name, entry: r.entry, slot: r.slot, engine: r.engine, authority: r.authority,
		force: r.force, ordered: r.ordered, adviceAt: r.adviceAt,
		attempt: r.failures + 1, failures: failures,
	}, true
}

// setOrdering notes that an order runs.
func (m *Manager) setOrdering(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[name]; r != nil {
		r.ordering = true
	}
}

// end publishes the outcome of an attempt. An attempt for what the record was
// before a reload changes nothing.
func (m *Manager) end(job job, done outcome, err error) {
	m.attempted(job, done, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[job.name]
	if !r.isFor(job) {
		return
	}
	r.ordering, r.next, r.err = false, done.next, err
	if err != nil {
		r.failures++
		return
	}
	r.failures = 0
	if !done.adviceAt.IsZero() {
		r.adviceAt = done.adviceAt
	}
	if !done.ordered.IsZero() {
		r.ordered, r.force = done.ordered, false
	}
	if done.certificate != nil {
		r.slot.certificate.Store(done.certificate)
	}
}

// publish makes handshakes use a certificate, unless a reload has made it
// somebody else's.
func (m *Manager) publish(job job, certificate *tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[job.name].isFor(job) {
		job.slot.certificate.Store(certificate)
	}
}

// isFor reports whether a job that began for a record is still about it.
func (r *record) isFor(job job) bool {
	return r != nil && r.slot == job.slot && sameIssuer(r.entry, job.entry)
}

// sameIssuer reports whether two entries of one name get their certificate from
// the same place, so that what one has does for the other.
func sameIssuer(a, b Entry) bool {
	return a.Issuer == b.Issuer && a.CA == b.CA && a.CertificateFile == b.CertificateFile && a.KeyFile == b.KeyFile
}

// servedUntil returns the end of the certificate that is served, or zero.
func (m *Manager) servedUntil(job job) time.Time {
	if certificate := job.slot.certificate.Load(); certificate != nil {
		return expiry(certificate.Leaf)
	}
	return time.Time{}
}
