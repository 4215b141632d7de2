package tlsmgr

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// preflightTimeout bounds the questions about one credential.
const preflightTimeout = 30 * time.Second

// reportLife is how long an answer with failures stands for all names of a
// credential: long enough for those that start together, short enough for a
// retry to ask anew.
const reportLife = 3 * time.Second

// gate keeps names from being ordered while their credential is known not to
// be fit for them: the order would fail and count against the CA's limits.
type gate struct {
	check  func(ctx context.Context, credential string) cloudflare.Report
	logger *zap.Logger

	mu      sync.Mutex
	answers map[string]*answer
}

// answer is what is known about one credential. Its turn is held by whoever
// asks, so that fifty names ask once.
type answer struct {
	turn chan struct{}

	mu     sync.Mutex
	report *cloudflare.Report
	until  time.Time // zero: until forget
}

func newGate(mux *cloudflare.Mux, logger *zap.Logger) *gate {
	return &gate{check: mux.PreflightOf, logger: logger, answers: make(map[string]*answer)}
}

// pass returns nil when an order for a name in zone may go ahead, which
// includes that nothing definite is known.
func (g *gate) pass(ctx context.Context, credential, zone string) error {
	g.mu.Lock()
	a := g.answers[credential]
	if a == nil {
		a = &answer{turn: make(chan struct{}, 1)}
		g.answers[credential] = a
	}
	g.mu.Unlock()

	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	report := a.get(time.Now())
	if report == nil {
		asked, cancel := context.WithTimeout(ctx, preflightTimeout)
		fresh := g.check(asked, credential)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		report = &fresh
		a.set(report, time.Now())
		g.warn(report)
	}
	return report.Blocks(zone)
}

// forget makes the next order ask again: there is a new token.
func (g *gate) forget(credential string) {
	g.mu.Lock()
	a := g.answers[credential]
	g.mu.Unlock()
	if a != nil {
		a.set(nil, time.Time{})
	}
}

// warn logs what is no failure and yet should be known, such as a token that
// reaches more zones than it needs.
func (g *gate) warn(report *cloudflare.Report) {
	for _, warning := range report.Warnings {
		g.logger.Warn("credential: "+warning, zap.String("credential", report.Credential))
	}
}

func (a *answer) get(now time.Time) *cloudflare.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.report != nil && !a.until.IsZero() && now.After(a.until) {
		return nil
	}
	return a.report
}

func (a *answer) set(report *cloudflare.Report, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report, a.until = report, time.Time{}
	if report != nil && report.Err() != nil {
		a.until = now.Add(reportLife)
	}
}
