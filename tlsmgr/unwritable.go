package tlsmgr

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// A storage that cannot be written, such as a volume that was mounted read-only,
// is no reason not to serve what it has. Nothing would fail until the first
// renewal, weeks later, so it is looked at and said now.

// storageLook is how often.
const storageLook = 10 * time.Second

// watchStorage tells when the storage cannot be written, and when it can again,
// until ctx ends.
func (m *Manager) watchStorage(ctx context.Context) {
	ticker := time.NewTicker(storageLook)
	defer ticker.Stop()
	told := false
	for {
		err := m.Unwritable()
		switch {
		case err != nil && !told:
			m.logger.Error("the storage cannot be written: certificates that it has are served, and none can be obtained or renewed",
				zap.Error(err), zap.String("hint", cureOf(err)))
		case err == nil && told:
			m.logger.Info("the storage can be written again")
			m.retryStorage()
		}
		told = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Unwritable returns why no certificate can be kept, or nil. It is about
// permissions and mounts; a full disk shows when something is written. Without
// names that need ACME nothing has to be kept.
func (m *Manager) Unwritable() error {
	m.mu.Lock()
	store := m.store
	needed := slices.ContainsFunc(m.settings.Plan, func(e Entry) bool { return e.Issuer == IssuerACME })
	m.mu.Unlock()
	if store == nil || !needed {
		return nil
	}
	return store.Writable()
}

// retryStorage resubmits the names that had failed.
func (m *Manager) retryStorage() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, r := range m.records {
		if r.entry.Issuer == IssuerACME {
			names = append(names, name)
		}
	}
	m.scheduler.resubmit(names)
}

// nothing is the error of a start with nothing to serve and no way to get it: all
// names need certificates of a storage that has none and cannot be written.
func (b *built) nothing() error {
	if len(b.fresh) == 0 || slices.ContainsFunc(b.fresh, func(r *record) bool { return r.primed != nil || r.entry.Issuer != IssuerACME }) {
		return nil
	}
	if err := b.store.Writable(); errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // the disk may have room again
}
