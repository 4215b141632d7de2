package limit

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// ConnectionsOptions shape a [Connections]. They are comparable.
type ConnectionsOptions struct {
	// Name tells apart limits that shall not count together although all else
	// is the same.
	Name string

	// Key says whose requests count together.
	Key Key

	// Limit is how many requests of a key may be under way; above zero.
	Limit int
}

// Connections limits how many requests of a key are under way at once; an
// upgraded connection (a WebSocket) is one as long as it lasts. More are
// refused with 429.
//
// Memory is bounded by the requests under way: a key is forgotten with its last.
type Connections struct {
	keyer  *keyer
	limit  int
	shards [shardCount]underway
}

type underway struct {
	mu    sync.Mutex
	count map[uint64]int
}

var errConnections = &exchange.Refusal{
	Status: http.StatusTooManyRequests, Label: "connections_limited",
	Reason: "too many requests under way", Hint: "max_connections of the route says how many are allowed for one key",
}

// NewConnections returns a limit without any request under way.
func NewConnections(o ConnectionsOptions) (*Connections, error) {
	if o.Limit <= 0 {
		return nil, fmt.Errorf("a limit of %d requests under way lets none through", o.Limit)
	}
	keyer, err := newKeyer(o.Key)
	if err != nil {
		return nil, err
	}
	return &Connections{keyer: keyer, limit: o.Limit}, nil
}

// Wrap puts the limit before next.
func (l *Connections) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := l.keyer.of(r)
		s := &l.shards[key%shardCount]
		if !s.enter(key, l.limit) {
			w.Header()["Retry-After"] = []string{"1"}
			exchange.Refuse(w, r, errConnections)
			return
		}
		defer s.leave(key)
		next.ServeHTTP(w, r)
	})
}

func (s *underway) enter(key uint64, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[key] >= limit {
		return false
	}
	if s.count == nil {
		s.count = make(map[uint64]int)
	}
	s.count[key]++
	return true
}

func (s *underway) leave(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[key]--; s.count[key] == 0 {
		delete(s.count, key)
		if len(s.count) == 0 {
			s.count = nil // a map keeps the room that it once needed
		}
	}
}
