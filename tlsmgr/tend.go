package tlsmgr

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// tend keeps company to each engine in turn: watches its tokens and sweeps
// what was left over, until the engine is replaced or ctx ends.
func (m *Manager) tend(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		engine := m.engine
		m.mu.Unlock()

		tending, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		if engine != nil && engine.mux != nil {
			signal(m.sweepWake)
			group.Go(func() { m.sweep(tending, engine) })
			group.Go(func() { m.watchTokens(tending, engine) })
		}
		select {
		case <-ctx.Done():
		case <-m.tendWake:
		}
		cancel()
		group.Wait()
	}
}

// watchTokens resubmits the names of a credential that had failed when it gets
// a new token, until ctx ends.
func (m *Manager) watchTokens(ctx context.Context, engine *engine) {
	err := engine.mux.Watch(ctx, func(credential string) {
		engine.gate.forget(credential)
		m.retryCredential(credential)
		signal(m.sweepWake) // perhaps the old token was what the last sweep failed for
	})
	if ctx.Err() == nil {
		m.logger.Error("tokens are not watched any more: a new one takes effect at the next order", zap.Error(err))
	}
}

// retryCredential resubmits the names of a credential that had failed.
func (m *Manager) retryCredential(credential string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, r := range m.records {
		if r.entry.Issuer == IssuerACME && r.entry.Credential == credential {
			names = append(names, name)
		}
	}
	m.scheduler.resubmit(names)
}

// sweepTimeout bounds one sweep.
const sweepTimeout = 2 * time.Minute

// sweep removes left-over TXT records whenever there may be some, until ctx
// ends. It does not keep orders waiting.
func (m *Manager) sweep(ctx context.Context, engine *engine) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.sweepWake:
		}
		if m.ordersOfOthers(engine) {
			continue // the end of the last one wakes us
		}
		limited, cancel := context.WithTimeout(ctx, sweepTimeout)
		err := engine.mux.Sweep(limited)
		cancel()
		if err != nil && ctx.Err() == nil {
			m.logger.Warn("left-over challenge records were not removed; it is tried again with a new token or at the next start",
				zap.String("error", err.Error()), zap.String("hint", cureOf(err)))
		}
	}
}

// A Mux spares the records of its own orders when it sweeps. Those of an engine
// that was replaced while it ordered it takes for left-overs: so nothing is swept
// while such orders run.

func (m *Manager) orderBegan(engine *engine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders[engine]++
}

func (m *Manager) orderEnded(engine *engine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.orders[engine]--; m.orders[engine] > 0 {
		return
	}
	delete(m.orders, engine)
	if engine != m.engine {
		signal(m.sweepWake)
	}
}

func (m *Manager) ordersOfOthers(engine *engine) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.orders {
		if other != engine {
			return true
		}
	}
	return false
}

// signal puts a token into a channel that has room for one.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // there is one already
	}
}
