package tlsmgr

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/localca"
	"github.com/sallyport/sallyport/tlsmgr/storage"
)

// Apply replaces the settings. It may be called before Run and while it runs.
//
// When it returns, handshakes are served with what the storage has, with the
// files and with certificates of the internal CA; what is missing or due is
// obtained by Run. A name that stays keeps its certificate and its state; one
// whose issuer changed keeps its old certificate until the new one is there; one
// that is gone is not served any more, and its order is broken off.
//
// A storage that cannot be written is an error only at the first Apply and if
// there is nothing else to serve; Run tells of it.
//
// On error, which is about the storage, the internal CA or the credentials as a
// whole, the previous settings stay in force. A single certificate, file or
// token that is of no use is no error: it is logged, shown by Status and tried
// again.
func (m *Manager) Apply(settings Settings) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	next, err := m.build(settings)
	if err != nil {
		return err
	}
	for _, r := range next.fresh {
		m.prime(r)
	}
	if m.store == nil {
		if err := next.nothing(); err != nil {
			return err
		}
	}
	for _, entry := range settings.Plan {
		if entry.CoveredBy != "" {
			m.standIn(next, entry)
		}
	}
	m.commit(settings, next)
	return nil
}

// built is what Apply makes before it touches anything that runs.
type built struct {
	store     *storage.Dir
	authority *localca.Authority
	engine    *engine

	records map[string]*record // all, those that stay included
	fresh   []*record          // new, or with another issuer
	again   []string           // to be tried again if they had failed: something of theirs changed

	standIns []*slot // of covered names whose wildcard has no certificate yet
}

// build makes what the settings need and the manager has not got. Only Apply
// writes the fields it reads, so it needs no lock.
func (m *Manager) build(settings Settings) (*built, error) {
	b := &built{store: m.store, authority: m.authority, engine: m.engine, records: make(map[string]*record)}
	moved := m.store == nil || m.settings.Storage != settings.Storage
	var err error
	if moved {
		b.store, err = storage.Open(storage.Options{Dir: settings.Storage, Logger: m.logger})
		if err != nil {
			return nil, err
		}
		b.authority = nil
	}
	internal := func(e Entry) bool { return e.Issuer == IssuerInternal }
	if b.authority == nil && slices.ContainsFunc(settings.Plan, internal) {
		b.authority, err = localca.Open(localca.Options{Dir: filepath.Join(b.store.Path(), "localca")})
		if err != nil {
			return nil, err
		}
	}
	changed, rest := changedCredentials(m.settings.Cloudflare, settings.Cloudflare)
	rest = rest || moved || !m.settings.ACME.same(settings.ACME)
	if m.engine == nil || rest || len(changed) > 0 {
		if b.engine, err = m.newEngine(settings, b.store); err != nil {
			return nil, err
		}
	}
	for _, entry := range settings.Plan {
		if entry.CoveredBy != "" {
			continue
		}
		b.place(entry, m.records[entry.Name], moved)
		affected := rest || slices.Contains(changed, entry.Credential)
		if old := m.records[entry.Name]; old != nil && entry.Issuer == IssuerACME &&
			(affected || old.entry.Credential != entry.Credential || old.entry.Zone != entry.Zone) {
			b.again = append(b.again, entry.Name)
		}
	}
	return b, nil
}

// place makes the record of an entry, or keeps that of before.
func (b *built) place(entry Entry, old *record, moved bool) {
	if old != nil && sameIssuer(old.entry, entry) && !(moved && entry.Issuer != IssuerFile) {
		b.records[entry.Name] = old
		return
	}
	r := &record{entry: entry, slot: &slot{name: entry.Name}, engine: b.engine, authority: b.authority}
	if entry.Issuer == IssuerFile {
		r.files = newWatchedFiles(entry.CertificateFile, entry.KeyFile)
	}
	b.records[entry.Name] = r
	b.fresh = append(b.fresh, r)
}

func (m *Manager) newEngine(settings Settings, store *storage.Dir) (*engine, error) {
	e := &engine{
		settings:    settings.ACME,
		store:       store,
		propagation: cmp.Or(settings.Cloudflare.PropagationTimeout, 2*time.Minute),
		logger:      demote(m.logger.Named("certmagic")),
	}
	e.logger = overhear(e.logger, func(entry zapcore.Entry, fields []zapcore.Field) {
		if m.observer != nil {
			statusHeard(entry, fields, m.observer.CalledCA)
		}
		e.heard(entry, fields)
	})
	if len(settings.Cloudflare.Credentials) == 0 {
		return e, nil
	}
	options := settings.Cloudflare
	options.Logger = m.logger.Named("cloudflare")
	if m.observer != nil {
		options.Observer = m.observer
	}
	options.Journal = journal{store: store, logger: m.logger}
	mux, err := cloudflare.New(options)
	if err != nil {
		return nil, err
	}
	e.mux = mux
	e.gate = newGate(mux, m.logger)
	e.solver = guardedSolver{inner: m.newSolver(mux), logger: m.logger}
	return e, nil
}

// prime finds what a new record can serve at once, without a network.
func (m *Manager) prime(r *record) {
	switch r.entry.Issuer {
	case IssuerFile:
		r.primed, r.err = r.files.read(r.entry.Name)
		if r.err != nil {
			m.logFile(r.entry, r.err, m.served(r.entry.Name) != nil)
		}
	case IssuerInternal:
		r.primed, r.err = r.authority.Issue(r.entry.Name)
	case IssuerACME:
		found, err := r.engine.load(context.Background(), r.entry.Name)
		if err != nil && !errors.Is(err, errDamaged) { // the first attempt deals with that
			r.err = err
		}
		if found != nil {
			r.primed = found.certificate
			m.logger.Debug("certificate loaded from storage", zap.String("identifier", r.entry.Name),
				zap.Time("not_after", found.certificate.Leaf.NotAfter))
		}
	}
	if r.primed == nil {
		// Until it has its own it is served with what it is served with now:
		// the certificate of its previous issuer, or the wildcard that covered
		// it.
		r.primed = m.served(r.entry.Name)
	}
}

// standIn keeps a name served that had a certificate of its own until a
// wildcard came to cover it, for as long as that has none.
func (m *Manager) standIn(next *built, entry Entry) {
	cover := next.records[entry.CoveredBy]
	if cover == nil || cover.primed != nil || cover.slot.certificate.Load() != nil {
		return
	}
	certificate := m.served(entry.Name)
	if certificate == nil {
		found, err := next.engine.load(context.Background(), entry.Name)
		if err != nil || found == nil {
			return
		}
		certificate = found.certificate
	}
	s := &slot{name: entry.Name, cover: cover.slot}
	s.certificate.Store(certificate)
	next.standIns = append(next.standIns, s)
}

// served returns the certificate that handshakes for a name get now, or nil.
func (m *Manager) served(name string) *tls.Certificate {
	names := m.names.Load()
	if names == nil {
		return nil
	}
	if slot := names.find(name); slot != nil {
		return slot.certificate.Load()
	}
	return nil
}

// commit puts what was built in force. It cannot fail.
func (m *Manager) commit(settings Settings, next *built) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.records
	replaced := m.engine
	m.settings, m.store, m.authority, m.engine, m.records = settings, next.store, next.authority, next.engine, next.records

	slots := next.standIns
	for _, entry := range settings.Plan {
		if r := next.records[entry.Name]; r != nil {
			r.entry, r.engine, r.authority = entry, next.engine, next.authority
			slots = append(slots, r.slot)
		}
	}
	for _, r := range next.fresh {
		if r.primed != nil {
			r.slot.certificate.Store(r.primed)
			r.primed = nil
		}
	}
	m.names.Store(newSnapshot(slots))

	for name := range old {
		if r := next.records[name]; r == nil || r.entry.Issuer == IssuerFile {
			m.scheduler.remove(name)
		}
	}
	for _, r := range next.fresh {
		if r.entry.Issuer != IssuerFile {
			r.next = time.Now()
			m.scheduler.submit(r.entry.Name)
		}
	}
	m.scheduler.resubmit(next.again)
	if replaced != next.engine {
		if replaced != nil && replaced.mux != nil {
			replaced.mux.Close() // drops idle connections; attempts that run go on
		}
		signal(m.tendWake)
	}
}
