package proxy

import (
	"sync"
	"time"
)

// failureKey is what makes two failures alike enough that the second need not
// be told at once.
type failureKey struct {
	at    origin
	label string
}

// failureLog bounds the log under attack or outage: of failures that are alike
// one is written per interval, with the number of those that were held back
// before it. A failure that happens alone is always written.
type failureLog struct {
	mu   sync.Mutex
	last map[failureKey]*failureCount
}

type failureCount struct {
	written time.Time
	held    int
}

const (
	failureInterval = time.Second
	failureKinds    = 4096 // forget the old ones past this many; sites come and go by reload
)

func newFailureLog() *failureLog { return &failureLog{last: make(map[failureKey]*failureCount)} }

// admit reports whether a failure is to be written now, and how many like it
// were not since the last that was.
func (l *failureLog) admit(key failureKey, now time.Time) (held int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.last[key]
	if c == nil {
		if len(l.last) >= failureKinds {
			l.forget(now)
		}
		l.last[key] = &failureCount{written: now}
		return 0, true
	}
	if now.Sub(c.written) < failureInterval {
		c.held++
		return 0, false
	}
	held, c.held, c.written = c.held, 0, now
	return held, true
}

func (l *failureLog) forget(now time.Time) {
	for key, c := range l.last {
		if now.Sub(c.written) >= failureInterval {
			delete(l.last, key)
		}
	}
}
