package tlsmgr

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/storage"
)

// engine obtains certificates with one set of ACME and Cloudflare settings. A
// change of these makes another engine; attempts that run finish with theirs.
type engine struct {
	settings ACMESettings
	store    *storage.Dir
	mux      *cloudflare.Mux // nil without credentials
	gate     *gate
	solver   acmez.Solver
	logger   *zap.Logger // certmagic's: everything at debug level

	following sync.Map // name to *steps, of the orders that run

	// propagation is how long a record may take to be visible.
	propagation time.Duration

	build  sync.Once
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// prepare makes certmagic's part, at the first use: its cache exists only while
// Run does.
//
// Every field whose zero value certmagic would fill from a package variable, the
// environment or a question on standard input is set here. Its global rate
// limiter is passed by in order.
func (e *engine) prepare(cache *certmagic.Cache) {
	e.build.Do(func() {
		e.config = certmagic.New(cache, certmagic.Config{
			RenewalWindowRatio:  e.settings.ratio(),
			OnEvent:             func(context.Context, string, map[string]any) error { return nil },
			Issuers:             []certmagic.Issuer{}, // nil would make one from DefaultACME
			IssuerPolicy:        certmagic.UseFirstIssuer,
			KeySource:           certmagic.StandardKeyGenerator{KeyType: certmagic.KeyType(e.settings.KeyType)},
			OCSP:                certmagic.OCSPConfig{DisableStapling: true},
			Storage:             stepStore{e.store},
			DisableStorageCheck: true, // storage.Dir.Probe does it, with an error that says what to do
			DisableARI:          !e.settings.ARI,
			Logger:              e.logger,
		})
		e.issuer = certmagic.NewACMEIssuer(e.config, e.template())
		// NewACMEIssuer puts Let's Encrypt's staging here; what an order
		// there proves or breaks says nothing about the real one.
		e.issuer.TestCA = ""
		e.config.Issuers = []certmagic.Issuer{e.issuer}
	})
}

func (e *engine) template() certmagic.ACMEIssuer {
	template := certmagic.ACMEIssuer{
		CA:                      e.settings.Directory,
		Email:                   e.settings.Email,
		Agreed:                  true,
		Profile:                 e.settings.Profile,
		DisableHTTPChallenge:    true,
		DisableTLSALPNChallenge: true,
		DNS01Solver:             e.solver,
		TrustedRoots:            e.settings.Roots,
		HTTPProxy:               func(*http.Request) (*url.URL, error) { return nil, nil },
		Logger:                  e.logger,
	}
	if e.settings.EABKeyID != "" {
		template.ExternalAccount = &acme.EAB{KeyID: e.settings.EABKeyID, MACKey: e.settings.EABMACKey.Reveal()}
	}
	if len(e.settings.Resolvers) > 0 {
		template.Resolver = e.settings.Resolvers[0]
	}
	return template
}

// issuerKey names the CA in storage. It needs no prepare.
func (e *engine) issuerKey() string {
	return (&certmagic.ACMEIssuer{CA: e.settings.Directory}).IssuerKey()
}

// order gets a certificate for name and stores it: a renewal, telling the CA
// what it replaces, when the storage has one, else a first one. failures counts
// the attempts that failed before.
func (e *engine) order(ctx context.Context, name string, failures int) error {
	if e.settings.Email == "" {
		// certmagic would ask for one on standard input, and wait.
		return &hintedError{errors.New("no contact address for the ACME account"), "set `acme.email`"}
	}
	// A number above 0 tells certmagic that this is a retry. Without a TestCA
	// that changes two things: the package-wide rate limiter (10 orders per 10
	// seconds, and a goroutine that nobody can stop) is for first attempts
	// only, while ours bounds what runs at once; and number 2 omits
	// `replaces` (RFC 9773 section 5), so that a CA which rejects it for
	// whatever reason does not do so for ever.
	number := 1 + failures%2
	ctx = context.WithValue(ctx, certmagic.AttemptsCtxKey, &number)
	return e.config.RenewCertSync(ctx, name, true)
}

// stored is a certificate as the storage has it.
type stored struct {
	certificate *tls.Certificate // Leaf is set
	data        acme.Certificate // what the CA said about it; may be zero
	advice      *acme.RenewalInfo
}

// errDamaged says that what the storage has for a name is of no use.
var errDamaged = errors.New("stored certificate is damaged")

// load reads the certificate of a name; nil when there is none.
func (e *engine) load(ctx context.Context, name string) (*stored, error) {
	keys, issuer := certmagic.StorageKeys, e.issuerKey()
	certificatePEM, err := e.store.Load(ctx, keys.SiteCert(issuer, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keyPEM, err := e.store.Load(ctx, keys.SitePrivateKey(issuer, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := covers(&certificate, "", name); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	found := &stored{certificate: &certificate}
	// The metadata serves renewal times only: without it, or with somebody
	// else's, the certificate is as good.
	metadata, err := e.store.Load(ctx, keys.SiteMeta(issuer, name))
	if err != nil {
		return found, nil
	}
	var resource certmagic.CertificateResource
	if json.Unmarshal(metadata, &resource) == nil && json.Unmarshal(resource.IssuerData, &found.data) == nil {
		id, err := acme.ARIUniqueIdentifier(certificate.Leaf)
		if advice := found.data.RenewalInfo; err == nil && advice != nil && advice.UniqueIdentifier == id {
			found.advice = advice
		}
	}
	return found, nil
}

// discard makes the next order for a name a first one, because what is stored
// is damaged. It removes the metadata only: no key is ever deleted.
func (e *engine) discard(ctx context.Context, name string) error {
	return e.store.Delete(ctx, certmagic.StorageKeys.SiteMeta(e.issuerKey(), name))
}

// advise asks the CA when to renew (RFC 9773) and notes the answer in storage.
func (e *engine) advise(ctx context.Context, name string, have *stored) error {
	advice, err := e.issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: *have.certificate})
	if err != nil {
		return err
	}
	// The time within the window is chosen at random, once per window: else
	// each question would move it.
	if have.advice != nil && advice.SameWindow(*have.advice) && !have.advice.SelectedTime.IsZero() {
		advice.SelectedTime = have.advice.SelectedTime
	}
	have.advice, have.data.RenewalInfo = &advice, &advice
	data, err := json.Marshal(have.data)
	if err != nil {
		return err
	}
	metadata, err := json.MarshalIndent(certmagic.CertificateResource{SANs: []string{name}, IssuerData: data}, "", "\t")
	if err != nil {
		return err
	}
	return e.store.Store(ctx, certmagic.StorageKeys.SiteMeta(e.issuerKey(), name), metadata)
}

// guardedSolver is what certmagic gets as the DNS-01 solver: a panic below it
// becomes an error of that attempt, and a record that could not be removed is
// said where people see it, because certmagic only notes it in passing.
//
// certmagic cleans up with a context that never ends. cloudflare.Mux bounds that
// itself, to half a minute, which is what a stop waits for at most.
type guardedSolver struct {
	inner  acmez.Solver
	logger *zap.Logger
}

var (
	_ acmez.Solver = guardedSolver{}
	_ acmez.Waiter = guardedSolver{}
)

// Present makes the record.
func (s guardedSolver) Present(ctx context.Context, challenge acme.Challenge) (err error) {
	defer recovered(s.logger, "making the challenge record", &err)
	order, record := orderOf(ctx), zap.String("record", challenge.DNS01TXTRecordName())
	order.done("certificate ordered")
	if err = s.inner.Present(ctx, challenge); err == nil {
		order.created(record)
	}
	return err
}

// Wait waits until the record is visible.
func (s guardedSolver) Wait(ctx context.Context, challenge acme.Challenge) (err error) {
	defer recovered(s.logger, "waiting for the challenge record", &err)
	if waiter, ok := s.inner.(acmez.Waiter); ok {
		if err = waiter.Wait(ctx, challenge); err == nil {
			orderOf(ctx).done("challenge record is visible", zap.String("record", challenge.DNS01TXTRecordName()))
		}
	}
	return err
}

// CleanUp removes the record. What cannot be removed stays in the journal.
func (s guardedSolver) CleanUp(ctx context.Context, challenge acme.Challenge) (err error) {
	defer recovered(s.logger, "removing the challenge record", &err)
	order, record, start := orderOf(ctx), zap.String("record", challenge.DNS01TXTRecordName()), time.Now()
	order.judged()
	if err = s.inner.CleanUp(ctx, challenge); err != nil {
		order.or(s.logger.With(zap.String("identifier", challenge.Identifier.Value))).Warn("challenge record was not removed; it is tried again with a new token or at the next start",
			record, zap.Int64("duration_ms", time.Since(start).Milliseconds()),
			zap.String("error", err.Error()), zap.String("hint", cureOf(err)))
		return err
	}
	order.removed(record)
	return err
}

// recovered turns a panic into an error. Of its value only a runtime error is
// shown: anything else might hold a secret.
func recovered(logger *zap.Logger, doing string, err *error) {
	value := recover()
	if value == nil {
		return
	}
	text := fmt.Sprintf("a value of type %T", value)
	if failure, ok := value.(runtime.Error); ok {
		text = failure.Error()
	}
	logger.Error("panic recovered", zap.String("doing", doing), zap.String("panic", text), zap.Stack("stack"))
	*err = fmt.Errorf("%s: panic: %s", doing, text)
}

// StorageKey is the name of the folder, below certificates, in which the storage
// has those of this CA.
func (s ACMESettings) StorageKey() string {
	return certmagic.StorageKeys.Safe((&engine{settings: s}).issuerKey()) // a port's colon is not kept
}
