package tlsmgr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// outcome is what an attempt did.
type outcome struct {
	certificate *tls.Certificate // to be served; nil leaves what is
	ordered     time.Time        // when one was ordered; zero if none was
	renewal     bool             // of an order: there was one before
	next        time.Time
	adviceAt    time.Time
}

// attempt is the scheduler's attemptFunc: it does for a name what is due and
// logs the outcome of an order, and only here.
func (m *Manager) attempt(ctx context.Context, name string, failures int) (next time.Time, failed bool) {
	job, ok := m.begin(name, failures)
	if !ok {
		return time.Now().Add(time.Hour), false // removed this instant; the task is as well
	}
	started := time.Now()
	done, err := m.ensure(ctx, job)
	if err != nil && ctx.Err() != nil {
		// Cancelled: the name was removed, its issuer changed, or Run is to
		// return. Nobody has failed.
		m.end(job, outcome{next: time.Now()}, nil)
		return time.Now(), false
	}
	took := time.Since(started)
	if err != nil {
		done.next = retryTime(time.Now(), job.failures, err, m.servedUntil(job))
		m.end(job, done, err)
		m.logFailure(job, err, took, done.next)
		return done.next, true
	}
	m.end(job, done, nil)
	if !done.ordered.IsZero() {
		m.logOrder(job, done, took)
	}
	return done.next, false
}

// ensure makes sure that a name has a certificate that is not due for renewal.
// A panic, ours or a library's, is an error of this attempt.
func (m *Manager) ensure(ctx context.Context, job job) (done outcome, err error) {
	defer recovered(m.logger, "an attempt for "+job.name, &err)
	if job.entry.Issuer == IssuerInternal {
		return m.ensureInternal(job)
	}
	return m.ensureACME(ctx, job)
}

// ensureInternal has the internal CA sign a new certificate when due.
func (m *Manager) ensureInternal(job job) (outcome, error) {
	const ratio = 1.0 / 3
	have := job.slot.certificate.Load()
	if have != nil && !job.force && job.authority.Signed(have.Leaf) {
		if due := renewalTime(have.Leaf, nil, ratio); due.After(time.Now()) {
			return outcome{next: due}, nil
		}
	}
	m.setOrdering(job.name)
	certificate, err := job.authority.Issue(job.name)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		certificate: certificate,
		ordered:     time.Now(),
		renewal:     have != nil,
		next:        renewalTime(certificate.Leaf, nil, ratio),
	}, nil
}

// ensureACME loads the certificate of a name, and obtains or renews it when
// there is none or it is due.
func (m *Manager) ensureACME(ctx context.Context, job job) (outcome, error) {
	engine := job.engine
	engine.prepare(m.cache)
	have, err := engine.load(ctx, job.name)
	if errors.Is(err, errDamaged) {
		m.logger.Warn("stored certificate is of no use; another is obtained",
			zap.String("identifier", job.name), zap.Error(err))
		err = engine.discard(ctx, job.name)
	}
	if err != nil {
		return outcome{}, err
	}
	if have != nil {
		m.publish(job, have.certificate) // another process may have renewed it
		done := outcome{adviceAt: job.adviceAt}
		done.next = m.schedule(ctx, job, have, &done.adviceAt)
		if !job.force && done.next.After(time.Now()) {
			return done, nil
		}
	}
	if err := m.order(ctx, job); err != nil {
		return outcome{}, err
	}
	fresh, err := engine.load(ctx, job.name)
	if err == nil && fresh == nil {
		err = errors.New("the certificate was obtained but is not in the storage")
	}
	if err != nil {
		return outcome{}, err
	}
	done := outcome{certificate: fresh.certificate, ordered: time.Now(), renewal: have != nil}
	job.ordered, job.adviceAt = done.ordered, firstAdviceTime(fresh.advice, done.ordered)
	done.adviceAt = job.adviceAt
	done.next = m.schedule(ctx, job, fresh, &done.adviceAt)
	return done, nil
}

// schedule returns when something is to be done for a certificate: its renewal,
// or a question for advice before that. It asks if that is due now, and moves
// adviceAt on.
func (m *Manager) schedule(ctx context.Context, job job, have *stored, adviceAt *time.Time) time.Time {
	settings := job.engine.settings
	leaf := have.certificate.Leaf
	if !settings.ARI {
		return renewalTime(leaf, nil, settings.ratio())
	}
	now := time.Now()
	if adviceAt.IsZero() {
		*adviceAt = firstAdviceTime(have.advice, now)
	}
	if !adviceAt.After(now) {
		switch err := job.engine.advise(ctx, job.name, have); {
		case err == nil:
			*adviceAt = adviceTime(*have.advice, now)
		case errors.Is(err, acme.ErrUnsupported):
			*adviceAt = now.Add(advicePauseMax)
		default:
			// Advice is a courtesy: the old one or the ratio does as well.
			m.logger.Debug("no advice from the CA on when to renew",
				zap.String("identifier", job.name), zap.Error(err))
			*adviceAt = now.Add(advicePauseDefault)
		}
	}
	due := renewalTime(leaf, have.advice, settings.ratio())
	// Advice to renew at once, given for each new certificate too, must not
	// make us order without end.
	if pause := min(time.Hour, expiry(leaf).Sub(leaf.NotBefore)/10); !job.ordered.IsZero() && due.Before(job.ordered.Add(pause)) {
		due = job.ordered.Add(pause)
	}
	if adviceAt.Before(due) {
		return *adviceAt
	}
	return due
}

// orderTimeout is what an order may take besides waiting for its record to be
// visible.
const orderTimeout = 5 * time.Minute

// order orders a certificate, if its credential is fit and the storage can keep
// it.
func (m *Manager) order(ctx context.Context, job job) error {
	m.setOrdering(job.name)
	if job.entry.Credential == "" || job.engine.gate == nil {
		return &hintedError{
			fmt.Errorf("no credential for %s: no usable entry of `cloudflare` lists a zone of it", job.name),
			"add its zone to an entry of `cloudflare`, with a token that may edit it",
		}
	}
	if err := job.engine.store.Probe(ctx); err != nil {
		return err
	}
	if err := job.engine.gate.pass(ctx, job.entry.Credential, job.entry.Zone); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout+job.engine.propagation)
	defer cancel()
	defer m.orderEnded(job.engine)
	m.orderBegan(job.engine)
	ctx, end := job.engine.follow(ctx, m.logger, job)
	defer end()
	return job.engine.order(ctx, job.name, job.failures)
}

func (m *Manager) logOrder(job job, done outcome, took time.Duration) {
	message := "certificate obtained"
	if done.renewal {
		message = "certificate renewed"
	}
	m.logger.Info(message, append(orderFields(job),
		zap.Int64("duration_ms", took.Milliseconds()),
		zap.Time("not_after", done.certificate.Leaf.NotAfter),
		zap.String("issuer", done.certificate.Leaf.Issuer.CommonName))...)
}

func (m *Manager) logFailure(job job, err error, took time.Duration, next time.Time) {
	held, ok := m.repeats.admit(job.name, job.entry.Credential, causeOf(err), time.Now())
	if !ok {
		return
	}
	message := "certificate not obtained"
	fields := append(orderFields(job),
		zap.Int("attempt", job.attempt),
		zap.Int64("duration_ms", took.Milliseconds()),
		zap.Float64("retry_in_s", seconds(time.Until(next))),
		zap.String("error", err.Error()),
		zap.String("hint", cureOf(err)))
	if until := m.servedUntil(job); !until.IsZero() {
		message = "certificate not renewed; the one there is keeps being served"
		fields = append(fields, zap.Time("not_after", until))
	}
	if held > 0 {
		fields = append(fields, zap.Int("suppressed", held))
	}
	m.logger.Error(message, fields...)
}

// causeOf is what makes two failures alike: of a CA's answer not the addresses
// of order and authorization, which no two have in common.
func causeOf(err error) string {
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		return problem.Type + " " + problem.Detail
	}
	return err.Error()
}

// orderFields says which name, and by which way it is proven.
func orderFields(job job) []zap.Field {
	fields := []zap.Field{zap.String("identifier", job.name)}
	if job.entry.Issuer == IssuerACME {
		fields = append(fields, zap.String("credential", job.entry.Credential), zap.String("zone", job.entry.Zone))
	}
	return fields
}

// seconds rounds to tenths, for people.
func seconds(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }
