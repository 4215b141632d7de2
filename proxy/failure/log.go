package failure

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Origin says where in the configuration a failure happened. The zero Origin
// is before a site was found. A site leads to an upstream with a name, or to a
// server.
type Origin struct{ Site, Upstream, Server string }

// OriginOf returns what the record of a request says about where it is.
func OriginOf(x *exchange.Exchange) Origin {
	at := Origin{Site: x.Site, Upstream: x.Upstream}
	if x.Upstream == "" {
		at.Server = x.Server
	}
	return at
}

// key is what makes two failures alike enough that the second need not be told
// at once.
type key struct {
	at    Origin
	label string
}

// Log bounds the log under attack or outage: of failures that are alike one is
// written per second, with the number of those that were held back before it. A
// failure that happens alone is always written. It may be used by many
// goroutines.
type Log struct {
	mu   sync.Mutex
	last map[key]*count
}

type count struct {
	written time.Time
	held    int
}

const (
	interval = time.Second
	mostKept = 4096 // forget the old ones past this many; sites come and go by reload
)

// NewLog returns a Log that has seen nothing.
func NewLog() *Log { return &Log{last: make(map[key]*count)} }

// Admit reports whether a failure is to be written now. suppressed is the field
// for its line that tells how many like it were not since the last that was; it
// is empty if none.
func (l *Log) Admit(at Origin, label string) (suppressed zap.Field, ok bool) {
	held, ok := l.admit(key{at, label}, time.Now())
	if held == 0 {
		return zap.Skip(), ok
	}
	return zap.Int("suppressed", held), ok
}

func (l *Log) admit(k key, now time.Time) (held int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.last[k]
	if c == nil {
		if len(l.last) >= mostKept {
			l.forget(now)
		}
		l.last[k] = &count{written: now}
		return 0, true
	}
	if now.Sub(c.written) < interval {
		c.held++
		return 0, false
	}
	held, c.held, c.written = c.held, 0, now
	return held, true
}

func (l *Log) forget(now time.Time) {
	for k, c := range l.last {
		if now.Sub(c.written) >= interval {
			delete(l.last, k)
		}
	}
}
