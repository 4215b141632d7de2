package tlsmgr

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// slot is where the certificate of one name lies. It lives, across reloads, as
// long as the name is planned with the same issuer.
type slot struct {
	name        string
	certificate atomic.Pointer[tls.Certificate] // nil until there is one
	reported    atomic.Int64                    // when a handshake without certificate was last logged, Unix nanoseconds

	// cover is set for a stand-in: the wildcard's slot, which is used instead
	// as soon as it has a certificate.
	cover *slot
}

// snapshot is the set of names that handshakes are served for. It is never
// changed: a reload publishes another one. The certificates in its slots are
// replaced one by one, so that ten thousand renewals do not copy the map ten
// thousand times.
type snapshot struct {
	exact     map[string]*slot
	wildcards map[string]*slot // by what follows "*."
}

func newSnapshot(slots []*slot) *snapshot {
	s := &snapshot{exact: make(map[string]*slot), wildcards: make(map[string]*slot)}
	for _, slot := range slots {
		if rest, ok := strings.CutPrefix(slot.name, "*."); ok {
			s.wildcards[rest] = slot
		} else {
			s.exact[slot.name] = slot
		}
	}
	return s
}

// find returns the slot that serves a name, or nil. It allocates only for a
// name that is not in lower case.
func (s *snapshot) find(name string) *slot {
	name = canonicalName(name)
	if found, ok := s.exact[name]; ok {
		if found.cover != nil && found.cover.certificate.Load() != nil {
			return found.cover
		}
		return found
	}
	// "*.example.com" itself, which no client sends, finds its own slot too.
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		return s.wildcards[name[dot+1:]]
	}
	return nil
}

// GetCertificate returns the certificate for a handshake; it is made for
// tls.Config.GetCertificate. It reads one snapshot, never waits for anything
// and does no I/O but the log line below.
//
// A client that sends no name, or a name that is not planned, gets neither a
// certificate nor an error: crypto/tls then answers with the alert
// unrecognized_name (RFC 6066 section 3). A planned name that has no
// certificate yet is a *NotReadyError, which crypto/tls turns into an alert, and
// is logged once a minute with what is being waited for. A certificate that has
// expired because it could not be renewed is served all the same: some clients
// get by with it, and none is better off without.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	names := m.names.Load()
	if names == nil || hello.ServerName == "" {
		return nil, nil
	}
	slot := names.find(hello.ServerName)
	if slot == nil {
		return nil, nil
	}
	if certificate := slot.certificate.Load(); certificate != nil {
		return certificate, nil
	}
	return nil, m.notReady(slot)
}

// notReadyInterval is the least time between two log lines about one name.
const notReadyInterval = time.Minute

// notReady makes the error for a name without certificate and logs it, seldom.
func (m *Manager) notReady(slot *slot) error {
	err := &NotReadyError{Status: m.statusOf(slot.name)}
	now := time.Now().UnixNano()
	last := slot.reported.Load()
	if last != 0 && now-last < int64(notReadyInterval) || !slot.reported.CompareAndSwap(last, now) {
		return err
	}
	status := err.Status
	fields := []zap.Field{
		zap.String("identifier", status.Name),
		zap.String("state", string(status.State)),
		zap.Int("failed_attempts", status.Attempts),
	}
	if status.Credential != "" {
		fields = append(fields, zap.String("credential", status.Credential), zap.String("zone", status.Zone))
	}
	if status.LastError != "" {
		fields = append(fields, zap.String("error", status.LastError), zap.String("hint", status.Hint))
	}
	if wait := time.Until(status.NextAttempt); wait > 0 {
		fields = append(fields, zap.Float64("retry_in_s", seconds(wait)))
	}
	m.logger.Warn("handshake refused: certificate is not there yet", fields...)
	return err
}

// NotReadyError says that a name is planned and has no certificate yet, and
// what is being waited for.
type NotReadyError struct{ Status Status }

// Error says it in one line.
func (e *NotReadyError) Error() string {
	text := fmt.Sprintf("certificate for %s is not there yet", e.Status.Name)
	if e.Status.LastError == "" {
		return text + ": " + string(e.Status.State)
	}
	return fmt.Sprintf("%s: attempt %d failed: %s", text, e.Status.Attempts, e.Status.LastError)
}

// Hint says what to do, or is empty when nothing can be said.
func (e *NotReadyError) Hint() string { return e.Status.Hint }
