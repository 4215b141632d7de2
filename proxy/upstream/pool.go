package upstream

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// PoolOptions shapes how an upstream chooses among its servers and what it
// does when they fail. They can be compared with ==.
type PoolOptions struct {
	// Name is the upstream's, "" for one that has none.
	Name string

	// Method is how a server is chosen.
	Method balance.Method

	// Key is what balance.Hash goes by: what kind of thing, and its name.
	Key     KeyKind
	KeyName string

	// StickyCookie is the cookie that leads a client to the server it was
	// with before. Empty: none.
	StickyCookie string

	// Attempts is how often a request is tried in all; below 1 counts as 1. A
	// server that refuses the connection costs no attempt.
	Attempts int

	// RetryOn is what else is tried again: idempotent requests of which no
	// part of a body was sent. A server that could not be connected to is
	// always another's turn.
	RetryOn RetryOn

	// Hold is how long a request waits while every server refuses the
	// connection. Zero: not at all.
	Hold time.Duration
}

// RetryOn is a set of reasons to try a request again.
type RetryOn uint8

// The reasons.
const (
	RetryClosed  RetryOn = 1 << iota // the connection broke before an answer
	RetryTimeout                     // there was no answer in time
	Retry502
	Retry503
	Retry504
)

// Pool sends requests to the servers of one upstream. It is safe for
// concurrent use.
type Pool struct {
	options PoolOptions
	members []*Member
	picker  balance.Picker
	primary balance.Set // the members that are no backups
	sticky  []string    // the cookie's value for each member
	checks  bool        // some member wants health checks
	counted bool        // requests under way matter to somebody
	hold    holder

	mu     sync.Mutex
	cancel context.CancelFunc // of the checks that run; nil: none
	ended  chan struct{}
}

// NewPool prepares a pool of members, which it does not own: whoever made them
// closes them. It starts nothing.
func NewPool(o PoolOptions, members []*Member) (*Pool, error) {
	p := &Pool{options: o, members: slices.Clone(members), counted: len(members) > 1, hold: newHolder()}
	var nodes []*balance.Node
	for i, m := range members {
		nodes = append(nodes, m.node)
		if i < balance.Most && !m.options.Backup {
			p.primary.Add(i)
		}
		p.checks = p.checks || m.options.Interval > 0
		p.counted = p.counted || m.slots != nil
		p.sticky = append(p.sticky, stickyValue(o.Name, m.options.Address))
	}
	var err error
	p.picker, err = balance.New(o.Method, nodes)
	return p, err
}

// Same reports whether a pool of these would be no different.
func (p *Pool) Same(o PoolOptions, members []*Member) bool {
	return p.options == o && slices.Equal(p.members, members)
}

// Start begins to check the servers' health, in one goroutine (and one for
// each check under way). It does nothing where none is checked or checks run
// already. Every Start must be followed by a Stop.
func (p *Pool) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.checks || p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		p.watch(ctx)
	}()
}

// Stop ends the checks and waits for their end. Requests are not affected.
func (p *Pool) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return
	}
	p.cancel()
	<-p.ended
	p.cancel = nil
}

// watch checks each member at once and then at its interval, until ctx ends.
func (p *Pool) watch(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	due := make([]time.Time, len(p.members))
	busy := make([]sync.Mutex, len(p.members)) // no two checks of one server at once
	for {
		now := time.Now()
		next := now.Add(time.Hour)
		for i, m := range p.members {
			if m.options.Interval <= 0 {
				continue
			}
			if !due[i].After(now) {
				due[i] = now.Add(jitter(m.options.Interval))
				if busy[i].TryLock() {
					group.Go(func() {
						defer busy[i].Unlock()
						if m.check(ctx) {
							p.hold.wakeAll()
						}
					})
				}
			}
			if due[i].Before(next) {
				next = due[i]
			}
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// jitter spreads an interval by a tenth in both directions, so that many
// proxies do not ask at the same moment.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// RoundTrip sends req to one of the servers, or to several in turn, and returns
// the response of the last. It is a [http.RoundTripper] like [Server.RoundTrip],
// with these additions: req.RemoteAddr is the address of the client, with or
// without a port, for balancing by it; with a GetBody, a request whose body was
// read already can be sent again.
//
// An error is that of the last server tried, or an [*Unavailable], or the
// context's. The response's body must be closed: the server is busy until then.
// The URL of the response's Request names the server.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	res, _, err := p.Send(req)
	return res, err
}

// Send is RoundTrip that tells how it went.
func (p *Pool) Send(req *http.Request) (*http.Response, Outcome, error) {
	x := exchange{pool: p, req: req}
	if req.Body != nil {
		x.body = &onceBody{in: req.Body, again: req.GetBody}
		x.original = req
		x.req = clone(req, x.body.attempt())
	}
	res, err := x.run()
	return res, x.outcome, err
}

// candidates returns the members that may be tried now: the best class that
// has any besides those tried. Not even one that is out of the choice for its
// failures is worse than none, but one that fails its health checks is.
func (p *Pool) candidates(tried *balance.Set) balance.Set {
	var up, backup, ejected balance.Set
	for i, m := range p.members {
		switch {
		case tried.Has(i) || m.health.unhealthy.Load() || m.draining.Load():
		case !m.health.up():
			ejected.Add(i)
		case p.primary.Has(i):
			up.Add(i)
		default:
			backup.Add(i)
		}
	}
	for _, class := range []*balance.Set{&up, &backup, &ejected} {
		if !class.Empty() {
			return *class
		}
	}
	return balance.Set{}
}

// withRoom narrows a set to the members that can take a request at once, else
// to those with a place in the queue, else not at all.
func (p *Pool) withRoom(class balance.Set) balance.Set {
	if !p.counted {
		return class
	}
	var now, later balance.Set
	for i, m := range p.members {
		if !class.Has(i) {
			continue
		}
		atOnce, soon := m.slots.room()
		if atOnce {
			now.Add(i)
		}
		if soon {
			later.Add(i)
		}
	}
	switch {
	case !now.Empty():
		return now
	case !later.Empty():
		return later
	}
	return class
}

// unavailable returns why there is nothing to try.
func (p *Pool) unavailable() error {
	var err error
	for _, m := range p.members {
		err = m.health.lastCause()
		if !m.health.gone() {
			return &Unavailable{Upstream: p.options.Name, Reason: NoServer, Err: err}
		}
	}
	return err // all refuse
}
