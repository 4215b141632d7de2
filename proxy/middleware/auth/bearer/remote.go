package bearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// keysAge is how long fetched keys are used without asking again.
	keysAge = time.Hour

	// retryAfter is the least time between two questions: what bounds the rate
	// at which tokens with made-up key ids can cause them.
	retryAfter = 30 * time.Second

	// fetchTimeout bounds one question. A request waits that long at most.
	fetchTimeout = 5 * time.Second

	// mostSet bounds an answer.
	mostSet = 1 << 20
)

// keyring knows keys by the id that a token names, "" if it names none.
type keyring interface {
	find(ctx context.Context, id string) ([]key, error)
}

// among returns the keys that a token with a key id may be signed with. Keys
// without an id could be any.
func among(keys []key, id string) []key {
	if id == "" {
		return keys
	}
	var list []key
	for _, k := range keys {
		if k.id == id || k.id == "" {
			list = append(list, k)
		}
	}
	return list
}

// remote is the key set of an address.
type remote struct {
	to     http.RoundTripper
	host   string
	target string
	logger *zap.Logger

	mu       sync.Mutex
	keys     []key
	fetched  time.Time
	tried    time.Time
	fetching chan struct{} // closed when done; nil when nobody fetches
	failure  error         // of the last try
}

// find fetches when there is nothing, when what there is is old, or when it has
// no key of that id. One request fetches; those that can do with what there is
// go on with it, the others wait.
func (s *remote) find(ctx context.Context, id string) ([]key, error) {
	for {
		s.mu.Lock()
		found := among(s.keys, id)
		now := time.Now()
		fresh := now.Sub(s.fetched) < keysAge
		recently := !s.tried.IsZero() && now.Sub(s.tried) < retryAfter
		fetching := s.fetching
		switch {
		case len(found) > 0 && (fresh || recently || fetching != nil):
			s.mu.Unlock()
			return found, nil
		case fetching != nil:
			s.mu.Unlock()
			select {
			case <-fetching:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case recently:
			none := s.keys == nil
			failure := s.failure
			s.mu.Unlock()
			if none {
				return nil, failure
			}
			return nil, nil
		}
		s.fetching, s.tried = make(chan struct{}), now
		s.mu.Unlock()
		s.refresh(ctx)
	}
}

// refresh fetches the keys. A client that goes away does not end it: others
// wait.
func (s *remote) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fetching)
	s.fetching = nil
	s.failure = err
	if err == nil {
		s.keys, s.fetched = keys, time.Now()
		return
	}
	if s.keys != nil {
		s.logger.Warn("JWKS not fetched: the keys from before still count",
			zap.String("host", s.host), zap.String("path", s.target), zap.Time("fetched", s.fetched), zap.Error(err))
	}
}

func (s *remote) fetch(ctx context.Context) ([]key, error) {
	path, query, has := strings.Cut(s.target, "?")
	res, err := s.to.RoundTrip((&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Opaque: path, RawQuery: query, ForceQuery: has},
		Host:   s.host,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": {"application/jwk-set+json, application/json"}, "User-Agent": {"sallyport"}},
	}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, mostSet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostSet {
		return nil, errors.New("the answer is larger than 1 MiB")
	}
	return parseSet(text)
}

// local is the key set of a file.
type local struct{ load func() *[]key }

func (s local) find(_ context.Context, id string) ([]key, error) {
	return slices.Clip(among(*s.load(), id)), nil
}
