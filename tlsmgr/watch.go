package tlsmgr

import (
	"context"
	"crypto/tls"
	"time"

	"go.uber.org/zap"
)

// watchFiles reads certificate and key files again when they change, until ctx
// ends.
func (m *Manager) watchFiles(ctx context.Context) {
	ticker := time.NewTicker(m.filePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.mu.Lock()
		var records []*record
		for _, r := range m.records {
			if r.files != nil {
				records = append(records, r)
			}
		}
		m.mu.Unlock()
		for _, r := range records {
			m.refreshFiles(r)
		}
	}
}

// refreshFiles reads the files of a record if they changed. Whatever is wrong
// with them, a certificate that is served stays.
func (m *Manager) refreshFiles(r *record) {
	if !r.files.changed() {
		return
	}
	certificate, err := r.files.read(r.slot.name)
	m.mu.Lock()
	entry, serves := r.entry, r.slot.certificate.Load() != nil
	if m.records[entry.Name] != r {
		m.mu.Unlock()
		return
	}
	r.err = err
	if err != nil {
		r.failures++
	} else {
		r.failures = 0
		r.slot.certificate.Store(certificate)
	}
	m.mu.Unlock()
	if err != nil {
		m.logFile(entry, err, serves)
		return
	}
	m.logger.Info("certificate files reloaded", zap.String("identifier", entry.Name),
		zap.String("certificate", entry.CertificateFile), zap.Time("not_after", certificate.Leaf.NotAfter))
}

// logFile says why files cannot be used: once per version of them.
func (m *Manager) logFile(entry Entry, err error, serves bool) {
	message := "certificate files cannot be used; the name is not served until they can"
	if serves {
		message = "changed certificate files cannot be used; the previous ones keep being served"
	}
	m.logger.Error(message, zap.String("identifier", entry.Name),
		zap.String("error", err.Error()), zap.String("hint", cureOf(err)))
}

// watchedFiles is a certificate and its key in files. It is used by one
// goroutine at a time: Apply before the record is published, watchFiles after.
type watchedFiles struct {
	certificate, key string
	stamps           [2]fileStamp // as of the last read
}

func newWatchedFiles(certificate, key string) *watchedFiles {
	return &watchedFiles{certificate: certificate, key: key}
}

// changed reports whether one of the files is another than at the last read.
func (w *watchedFiles) changed() bool {
	return !w.stamps[0].same(stampOf(w.certificate)) || !w.stamps[1].same(stampOf(w.key))
}

// read reads the pair, which must match and be good for name.
func (w *watchedFiles) read(name string) (*tls.Certificate, error) {
	// The stamps first: what changes while we read is then read again.
	w.stamps = [2]fileStamp{stampOf(w.certificate), stampOf(w.key)}
	certificate, err := readPair(w.certificate, w.key)
	if err != nil {
		return nil, err
	}
	if err := covers(certificate, w.certificate, name); err != nil {
		return nil, err
	}
	return certificate, nil
}
