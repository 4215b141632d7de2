package tlsmgr

import (
	"time"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// State is what a name's certificate is up to.
type State string

// The states. Only of StateWaiting, StateObtaining and StateFailed is there no
// certificate to serve.
const (
	// StateWaiting: the first attempt has not begun.
	StateWaiting State = "waiting"
	// StateObtaining: the first certificate is being obtained.
	StateObtaining State = "obtaining"
	// StateFailed: the first certificate could not be obtained yet.
	StateFailed State = "failed"
	// StateServing: all is well.
	StateServing State = "serving"
	// StateRenewing: served, and being renewed.
	StateRenewing State = "renewing"
	// StateFailing: served, and its renewal has failed.
	StateFailing State = "failing"
	// StateExpired: served although it has expired; renewal has failed.
	StateExpired State = "expired"
)

// Status is what is known about the certificate of one name.
type Status struct {
	Name  string
	Sites []string

	// Issuer is IssuerACME, IssuerInternal or IssuerFile; CA the ACME
	// directory.
	Issuer, CA string

	// Zone and Credential are how the name is proven; empty for other issuers
	// than ACME.
	Zone, Credential string

	// CoveredBy is the wildcard that the name is served with; the fields below
	// are then the wildcard's.
	CoveredBy string

	State State

	// NotAfter is when the certificate that is served ends; zero when there is
	// none.
	NotAfter time.Time

	// NextAttempt is when something is to be done next: a renewal, a question
	// for the CA's advice, another try. Zero while an attempt runs and for
	// files.
	NextAttempt time.Time

	// Attempts counts those that failed in a row.
	Attempts int

	// LastError is why the last attempt failed and Hint what to do about it;
	// both empty after a success.
	LastError, Hint string
}

// Status returns what is known about every planned name, sorted by name.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.settings.Plan))
	for _, entry := range m.settings.Plan {
		all = append(all, m.describe(entry))
	}
	return all
}

// statusOf returns the status of one name that has a certificate of its own.
func (m *Manager) statusOf(name string) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[name]; r != nil {
		return m.describe(r.entry)
	}
	return Status{Name: name, State: StateWaiting} // removed since the snapshot was read
}

// describe makes the status of an entry. The caller holds m.mu.
func (m *Manager) describe(entry Entry) Status {
	status := Status{
		Name: entry.Name, Sites: entry.Sites, Issuer: entry.Issuer, CA: entry.CA,
		Zone: entry.Zone, Credential: entry.Credential, CoveredBy: entry.CoveredBy,
		State: StateWaiting,
	}
	name := entry.Name
	if entry.CoveredBy != "" {
		name = entry.CoveredBy
	}
	r := m.records[name]
	if r == nil {
		return status
	}
	status.NextAttempt, status.Attempts = r.next, r.failures
	if r.err != nil {
		status.LastError, status.Hint = r.err.Error(), cureOf(r.err)
	}
	certificate := r.slot.certificate.Load()
	switch {
	case certificate == nil && r.ordering:
		status.State = StateObtaining
	case certificate == nil && r.err != nil:
		status.State = StateFailed
	case certificate == nil:
	case r.ordering:
		status.State = StateRenewing
	case time.Now().After(expiry(certificate.Leaf)):
		status.State = StateExpired
	case r.err != nil:
		status.State = StateFailing
	default:
		status.State = StateServing
	}
	if certificate != nil {
		status.NotAfter = certificate.Leaf.NotAfter
	}
	return status
}

// Credentials returns what is known of each Cloudflare token from its use.
func (m *Manager) Credentials() []cloudflare.CredentialStatus {
	m.mu.Lock()
	engine := m.engine
	m.mu.Unlock()
	if engine == nil || engine.mux == nil {
		return nil
	}
	return engine.mux.Status()
}
