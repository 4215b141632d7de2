package tlsmgr

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/tlsmgr/storage"
)

// steps tells each step of one order in a line of its own: for which
// identifier, with which credential, in which zone, and how long the step took.
// certmagic and acmez say more, at debug level, but not that. A nil *steps tells
// nothing.
type steps struct {
	logger *zap.Logger // has the order's fields
	issued string      // storage key that is written first once there is a certificate
	stored string      // and the one that is written last

	mu         sync.Mutex
	last       time.Time     // when the step before ended
	present    bool          // there is a record to remove
	validation time.Duration // how long the CA took to judge
}

type stepsKey struct{}

// orderOf returns what tells of the order that a context belongs to, or nil.
func orderOf(ctx context.Context) *steps {
	s, _ := ctx.Value(stepsKey{}).(*steps)
	return s
}

// follow returns a context by which the steps of a job's order are told, and
// what ends that.
func (e *engine) follow(ctx context.Context, logger *zap.Logger, job job) (following context.Context, end func()) {
	s := &steps{
		logger: logger.With(orderFields(job)...),
		issued: certmagic.StorageKeys.SitePrivateKey(e.issuerKey(), job.name),
		stored: certmagic.StorageKeys.SiteMeta(e.issuerKey(), job.name),
		last:   time.Now(),
	}
	e.following.Store(job.name, s)
	return context.WithValue(ctx, stepsKey{}, s), func() { e.following.CompareAndDelete(job.name, s) }
}

// done tells that a step has ended now; it began when the one before ended.
func (s *steps) done(message string, more ...zap.Field) {
	if s == nil {
		return
	}
	s.mu.Lock()
	took := time.Since(s.last)
	s.last = s.last.Add(took)
	s.mu.Unlock()
	s.logger.Debug(message, append(more, zap.Int64("duration_ms", took.Milliseconds()))...)
}

// created tells that the record is there.
func (s *steps) created(record zap.Field) {
	if s == nil {
		return
	}
	s.done("challenge record created", record)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present = true
}

// judged notes that the CA has come to an answer: it is told by heard, after
// the record was removed.
func (s *steps) judged() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.validation = time.Since(s.last)
	s.last = s.last.Add(s.validation)
}

// removed tells that the record is gone, if there was one.
func (s *steps) removed(record zap.Field) {
	if s == nil {
		return
	}
	s.mu.Lock()
	present := s.present
	s.present = false
	s.mu.Unlock()
	if present {
		s.done("challenge record deleted", record)
	}
}

// validated tells that the CA has found the record.
func (s *steps) validated() {
	s.mu.Lock()
	took := s.validation
	s.last = time.Now()
	s.mu.Unlock()
	s.logger.Debug("challenge validated", zap.Int64("duration_ms", took.Milliseconds()))
}

// or returns the logger with the order's fields, or another without an order.
func (s *steps) or(logger *zap.Logger) *zap.Logger {
	if s == nil {
		return logger
	}
	return s.logger
}

// stepStore tells when certmagic has a certificate, and when it is stored.
type stepStore struct{ *storage.Dir }

// Store implements certmagic.Storage.
func (s stepStore) Store(ctx context.Context, key string, value []byte) error {
	order := orderOf(ctx)
	if order != nil && key == order.issued {
		order.done("certificate issued")
	}
	err := s.Dir.Store(ctx, key, value)
	if err == nil && order != nil && key == order.stored {
		order.done("certificate stored")
	}
	return err
}

// heard takes a line of the ACME client's, which tells only there that the CA
// has validated a name.
func (e *engine) heard(entry zapcore.Entry, fields []zapcore.Field) {
	if entry.Message != "authorization finalized" {
		return
	}
	text := func(key string) string {
		for _, field := range fields {
			if field.Key == key && field.Type == zapcore.StringType {
				return field.String
			}
		}
		return ""
	}
	if text("authz_status") != "valid" {
		return
	}
	if s, ok := e.following.Load(text("identifier")); ok {
		s.(*steps).validated()
	}
}

// repeats bounds what a cause that many names share, such as a dead token, adds
// to the log: of failures that are alike but for the name, some are written a
// minute, and then one with the number of those that were held back. Each name's
// own state is always in Status.
type repeats struct {
	mu   sync.Mutex
	seen map[string]*repeat
}

type repeat struct {
	since         time.Time
	written, held int
}

const (
	repeatInterval = time.Minute
	repeatBurst    = 10   // written per interval, to see which names it is about
	repeatsKept    = 1024 // forget the old ones past this many
)

// admit reports whether a failure of a name is to be written now, and how many
// like it were not since the last that was.
func (r *repeats) admit(name, credential, cause string, now time.Time) (held int, ok bool) {
	key := credential + "\n" + strings.ReplaceAll(cause, strings.TrimPrefix(name, "*."), "NAME")
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.seen[key]
	if c == nil {
		if len(r.seen) >= repeatsKept {
			r.forget(now)
		}
		c = &repeat{since: now}
		r.seen[key] = c
	}
	if now.Sub(c.since) >= repeatInterval {
		c.since, c.written = now, 0
	}
	if c.written >= repeatBurst {
		c.held++
		return 0, false
	}
	c.written++
	held, c.held = c.held, 0
	return held, true
}

// forget drops what is old, or everything if nothing is: it is only about how
// often something is said.
func (r *repeats) forget(now time.Time) {
	for key, c := range r.seen {
		if now.Sub(c.since) >= repeatInterval {
			delete(r.seen, key)
		}
	}
	if len(r.seen) >= repeatsKept {
		clear(r.seen)
	}
}
