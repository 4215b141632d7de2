package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Options shapes a Cache.
type Options struct {
	// Name tells caches apart that are otherwise alike: where in the
	// configuration this one stands.
	Name string

	// Size is how many bytes of responses are held in memory; at least 1 MiB.
	Size int64

	// MaxObject is the largest response that is kept, in bytes, head included;
	// at least 1 KiB, at most Size.
	MaxObject int64

	// Folder is where responses are kept on disk as well, "" for nowhere. It
	// belongs to this cache alone; what else lies in it is left alone.
	Folder string

	// FolderSize is how many bytes of files the folder may hold. Required with
	// Folder.
	FolderSize int64

	// TTL is for how long a response is fresh that does not say so itself, and
	// whose status allows to assume it (RFC 9110 section 15.1). 0: such a
	// response is not stored, unless Heuristic.
	TTL time.Duration

	// Heuristic takes a tenth of the time since Last-Modified, at most a day,
	// for a response that does not say how long it is fresh (RFC 9111 section
	// 4.2.2).
	Heuristic bool

	// StaleWhileRevalidate and StaleIfError hold for responses that do not
	// have the directive (RFC 5861). 0: not at all.
	StaleWhileRevalidate, StaleIfError time.Duration

	// LockTimeout is how long a request waits for the answer to another one for
	// the same resource. 0: it does not wait.
	LockTimeout time.Duration

	// IgnoreRequest makes the client's Cache-Control count for nothing, so that
	// reloading a page does not reach the server.
	IgnoreRequest bool
}

// Cache stores responses. It is safe for concurrent use.
type Cache struct {
	options Options
	memory  *otter.Cache[string, variants]
	disk    *disk // nil: none
	flights flights

	mu         sync.Mutex
	closed     bool
	background sync.WaitGroup // revalidations behind a client's back
	ctx        context.Context
	stop       context.CancelFunc
	slots      chan struct{}
}

// Revalidations behind clients' backs: how many at once, and how long one may
// take.
const (
	mostRevalidations = 16
	revalidationTime  = time.Minute
)

// New returns an empty cache, or one that holds what its folder has from
// before. It starts nothing. An error is about the folder or the options.
func New(o Options) (*Cache, error) {
	switch {
	case o.Size < 1<<20:
		return nil, errors.New("a cache needs at least 1 MiB of memory")
	case o.MaxObject < 1<<10 || o.MaxObject > o.Size:
		return nil, errors.New("the largest object is between 1 KiB and the size of the cache")
	case o.Folder != "" && o.FolderSize < o.MaxObject:
		return nil, errors.New("the folder cannot hold even one object of the largest size")
	}
	memory, err := otter.New(&otter.Options[string, variants]{
		MaximumWeight: uint64(o.Size),
		Weigher:       func(key string, v variants) uint32 { return v.weight(key) },
		Executor:      func(task func()) { task() }, // on the caller's goroutine: none without an owner
		Logger:        &otter.NoopLogger{},
	})
	if err != nil {
		return nil, fmt.Errorf("making a cache: %w", err)
	}
	c := &Cache{options: o, memory: memory, slots: make(chan struct{}, mostRevalidations)}
	c.flights.open = make(map[string]*flight)
	if o.Folder != "" {
		if c.disk, err = openDisk(o.Folder, o.FolderSize, o.MaxObject); err != nil {
			return nil, err
		}
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Close ends revalidations that nobody waits for and returns when they have
// ended. What is on disk stays there. Requests that are still under way find
// what is in memory.
func (c *Cache) Close() {
	c.stop()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.background.Wait()
	if c.disk != nil {
		c.disk.close()
	}
}

// Relieve forgets what is in memory, to make room. What is on disk stays.
func (c *Cache) Relieve() { c.memory.InvalidateAll() }

// Purge forgets what is stored for a host and a path with its query, in both
// schemes, and returns how many resources that were. A path that ends in "*"
// means all that begin with what is before it, and has to look through all that
// is stored.
func (c *Cache) Purge(host, path string) int {
	prefix, all := strings.CutSuffix(path, "*")
	purged := 0
	for _, scheme := range []string{"https", "http"} {
		if !all {
			purged += c.forget(address(scheme, host, path))
			continue
		}
		begin := address(scheme, host, prefix)
		for _, key := range c.keys() {
			if strings.HasPrefix(key, begin) {
				purged += c.forget(key)
			}
		}
	}
	return purged
}

// keys returns the key of everything that is stored, some of it twice.
func (c *Cache) keys() []string {
	keys := slices.Collect(c.memory.Keys())
	if c.disk != nil {
		keys = append(keys, c.disk.keys()...)
	}
	return keys
}

// key names a resource by its address (RFC 9111 section 2).
func key(r *http.Request) string {
	return address(exchange.Of(r).Scheme(), r.Host, r.RequestURI)
}

func address(scheme, host, target string) string {
	return scheme + "://" + strings.ToLower(host) + target
}

// lookup returns what is stored for a key, the variant for r if there is one.
func (c *Cache) lookup(key string, r *http.Request) (found *entry, stored variants) {
	stored, _ = c.memory.GetIfPresent(key)
	if found = stored.find(r); found != nil || c.disk == nil {
		return found, stored
	}
	if len(stored) > 0 {
		return nil, stored // memory holds all that the disk has of a resource
	}
	if stored = c.disk.load(key); len(stored) > 0 {
		c.memory.SetIfAbsent(key, stored)
	}
	return stored.find(r), stored
}

// store keeps e.
func (c *Cache) store(key string, e *entry) {
	var now variants
	c.memory.Compute(key, func(old variants, _ bool) (variants, otter.ComputeOp) {
		now = old.with(e)
		return now, otter.WriteOp
	})
	if c.disk != nil {
		c.disk.save(key, now)
	}
}

// forget removes what is stored for a key; 1 if there was anything.
func (c *Cache) forget(key string) int {
	_, had := c.memory.Invalidate(key)
	if c.disk != nil && c.disk.remove(key) || had {
		return 1
	}
	return 0
}

// invalidate forgets what a successful unsafe request may have changed (RFC
// 9111 section 4.4): its target, and what Location and Content-Location name
// on the same host, by whichever route they are read.
func (c *Cache) invalidate(r *http.Request, h http.Header) {
	c.Purge(r.Host, r.RequestURI)
	for _, name := range []string{"Location", "Content-Location"} {
		there, err := r.URL.Parse(h.Get(name))
		if err == nil && h.Get(name) != "" && (there.Host == "" || strings.EqualFold(there.Host, r.Host)) {
			c.Purge(r.Host, there.RequestURI())
		}
	}
}

// authenticated reports whether a request is somebody's own (RFC 9111 section
// 3.5). An earlier middleware may have found out who it is and taken the
// credentials away.
func authenticated(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || exchange.Of(r).User != ""
}

// Held is how many bytes of memory responses take, as far as they are counted.
func (c *Cache) Held() int64 {
	c.memory.CleanUp()
	return int64(c.memory.WeightedSize())
}
