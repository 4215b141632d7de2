package tlsmgr

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/localca"
	"github.com/sallyport/sallyport/tlsmgr/storage"
)

// Options is what a manager needs besides its settings.
type Options struct {
	// Logger gets a line per certificate obtained or renewed, per attempt that
	// failed (ten a minute of one cause, with how many were not written) and,
	// seldom, per handshake that had to be refused. Everything else, such as the
	// steps of an order, is at debug level. Nil logs nothing.
	Logger *zap.Logger

	// Observer is told what metrics count; nil is nobody.
	Observer Observer

	// Orders is how many attempts may run at once; 0 is 16. Most of an attempt
	// is waiting for name servers and the CA.
	Orders int

	// FilePoll is how often certificate and key files are looked at; 0 is 3
	// seconds.
	FilePoll time.Duration
}

const (
	defaultOrders   = 16
	defaultFilePoll = 3 * time.Second
)

// Manager makes sure that every planned name has a certificate and hands it to
// handshakes. Its methods may be called from several goroutines.
type Manager struct {
	logger    *zap.Logger
	observer  Observer
	filePoll  time.Duration
	names     atomic.Pointer[snapshot]
	scheduler *scheduler
	repeats   repeats

	cache *certmagic.Cache // made by Run, before the first attempt

	// newSolver makes the DNS-01 solver of an engine; tests put trouble there.
	newSolver func(*cloudflare.Mux) acmez.Solver

	tendWake  chan struct{} // holds a token when the engine was replaced
	sweepWake chan struct{} // holds a token when there may be something to sweep

	applying sync.Mutex // one Apply at a time

	mu        sync.Mutex // guards what follows; held for no I/O
	settings  Settings
	store     *storage.Dir
	authority *localca.Authority
	engine    *engine
	records   map[string]*record
	orders    map[*engine]int // how many run
}

// New makes a manager that has no names yet. It starts nothing.
func New(options Options) (*Manager, error) {
	if options.Orders < 0 || options.FilePoll < 0 {
		return nil, fmt.Errorf("tlsmgr: negative option: orders %d, file poll %v", options.Orders, options.FilePoll)
	}
	m := &Manager{
		logger:    options.Logger,
		observer:  options.Observer,
		filePoll:  options.FilePoll,
		newSolver: func(mux *cloudflare.Mux) acmez.Solver { return mux },
		tendWake:  make(chan struct{}, 1),
		sweepWake: make(chan struct{}, 1),
		orders:    make(map[*engine]int),
		records:   make(map[string]*record),
		repeats:   repeats{seen: make(map[string]*repeat)},
	}
	if m.logger == nil {
		m.logger = zap.NewNop()
	}
	if m.filePoll == 0 {
		m.filePoll = defaultFilePoll
	}
	orders := options.Orders
	if orders == 0 {
		orders = defaultOrders
	}
	m.scheduler = newScheduler(orders, m.attempt)
	return m, nil
}

// Run obtains and renews certificates, reads changed files and changed tokens,
// and removes TXT records that an earlier process left over. It owns every
// goroutine of the manager and returns, with nil, when ctx has ended and all of
// them have. Orders that run are broken off; removing their TXT records gets half
// a minute, and what is left over is for the next start. It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	// certmagic wants a cache though nothing is put into it. Its maintenance
	// goroutine wakes at these intervals only, and Stop waits for it.
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			return nil, errors.New("the cache is not in use")
		},
		RenewCheckInterval: never,
		OCSPCheckInterval:  never,
		Logger:             demote(m.logger),
	})
	defer m.cache.Stop()

	var group sync.WaitGroup
	group.Go(func() { m.watchFiles(ctx) })
	group.Go(func() { m.watchStorage(ctx) })
	group.Go(func() { m.tend(ctx) })
	m.scheduler.run(ctx)
	group.Wait()
	return nil
}

// never is an interval that does not pass.
const never = 100 * 365 * 24 * time.Hour

// Renew makes the certificate of a name be renewed now, whatever is due. A name
// that is covered by a wildcard renews the wildcard. It returns before the order
// has begun; Status and the log tell how it went.
func (m *Manager) Renew(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = canonicalName(name)
	r := m.records[name]
	if r == nil {
		for _, entry := range m.settings.Plan {
			if entry.Name == name && entry.CoveredBy != "" {
				r = m.records[entry.CoveredBy]
			}
		}
	}
	switch {
	case r == nil:
		return fmt.Errorf("certificate for %s: the name is not planned", name)
	case r.entry.Issuer == IssuerFile:
		return fmt.Errorf("certificate for %s: it comes from %s, which is read when it changes", name, r.entry.CertificateFile)
	}
	r.force = true
	m.scheduler.ask(r.entry.Name)
	return nil
}

// Preflight asks Cloudflare, reading only, whether each credential is fit for
// its zones. Without credentials it returns nothing.
func (m *Manager) Preflight(ctx context.Context) []cloudflare.Report {
	m.mu.Lock()
	engine := m.engine
	m.mu.Unlock()
	if engine == nil || engine.mux == nil {
		return nil
	}
	return engine.mux.Preflight(ctx)
}
