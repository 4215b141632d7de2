package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
	"github.com/sallyport/sallyport/proxy/upstream/probe"
)

// MemberOptions shapes one server of an upstream, its limits and how its
// health is judged. Like [Options] they can be compared with ==: a reload keeps
// the member, with its health and its counters, whose options stayed the same.
type MemberOptions struct {
	Options

	// Upstream is the name of the upstream, for events. Empty for one that
	// has no name.
	Upstream string

	// Weight is the server's share in proportion to the others'; below 1
	// counts as 1.
	Weight int

	// Backup servers are used only when no other is up.
	Backup bool

	// MaxConnections bounds the requests under way (upgraded connections
	// count). Zero is no limit.
	MaxConnections int

	// QueueSize is how many requests wait when MaxConnections are under way,
	// QueueTimeout how long. Zero of either: none waits.
	QueueSize    int
	QueueTimeout time.Duration

	// MaxFails failures within FailTimeout keep the server out of the choice
	// for as long again. Zero: however many.
	MaxFails    int
	FailTimeout time.Duration

	// SlowStart is how long a server that comes back takes to get its whole
	// share. Zero: at once.
	SlowStart time.Duration

	// Check, if Interval is above zero, asks the server for its health. Fall
	// bad answers in a row make it unhealthy, Rise good ones healthy again.
	Check    probe.Options
	Interval time.Duration
	Fall     int
	Rise     int
}

// Event is that a server goes down, which is to say that no request goes there
// while there is another, or that it comes back. Or, if Kept, that its TLS files
// have changed into something that cannot be used.
type Event struct {
	Upstream string // "" for one without a name
	Server   string
	Up       bool
	Kept     bool  // what the files held before stays in use
	Err      error // what was wrong with the last that was tried, or with the files; nil if Up
}

// Member is one server of an upstream: its connections, the requests under way
// and waiting, its health. It is safe for concurrent use. It starts nothing:
// checks are made by the [Pool] that it is in.
type Member struct {
	options MemberOptions
	server  *Server
	node    *balance.Node
	slots   *slots // nil: no limit
	health  health

	draining atomic.Bool // somebody took it out of the choice
}

// NewMember prepares a member. It connects to nothing. Notify is told whenever
// the server goes down or comes back, never twice the same in a row, or its
// files cannot be used any more, and must not block; it may be nil.
func NewMember(o MemberOptions, notify func(Event)) (*Member, error) {
	server, err := New(o.Options)
	if err != nil {
		return nil, err
	}
	if notify != nil {
		server.notice = func(err error) {
			notify(Event{Upstream: o.Upstream, Server: o.Address, Kept: true, Err: err})
		}
	}
	o.Check.Host = cmp.Or(o.Check.Host, server.address.authority())
	m := &Member{options: o, server: server, node: balance.NewNode(o.Address, o.Weight)}
	if o.MaxConnections > 0 {
		m.slots = &slots{free: o.MaxConnections, queue: o.QueueSize}
	}
	m.health = health{options: &m.options, begun: time.Now(), notify: notify, node: m.node}
	return m, nil
}

// Address returns the address as configured.
func (m *Member) Address() string { return m.options.Address }

// Close keeps no connection from now on; see [Server.Close].
func (m *Member) Close() { m.server.Close() }

// Reopen takes a Close back.
func (m *Member) Reopen() { m.server.Reopen() }

// acquire takes a place for one request, waiting in the queue if there is
// none. The lease must be released.
func (m *Member) acquire(ctx context.Context) (*lease, error) {
	if m.slots != nil {
		if reason := m.slots.acquire(ctx, m.options.QueueTimeout); reason != 0 {
			return nil, &Unavailable{Upstream: m.options.Upstream, Server: m.options.Address, Reason: reason}
		}
	}
	m.node.Begin()
	return &lease{member: m}, nil
}

// check asks the server for its health once and draws the conclusion. It
// reports whether the server is usable now.
func (m *Member) check(ctx context.Context) bool {
	err := probe.Check(ctx, m.server, m.options.Check)
	if ctx.Err() != nil {
		return false // says nothing about the server
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &Error{Server: m.options.Address, Stage: Exchange, Err: fmt.Errorf("the health check took longer than %v: %w", m.options.Check.Timeout, err)}
	}
	m.health.checked(err)
	return !m.health.unhealthy.Load()
}

// answers reports whether the server takes connections, for a request that
// waits for one: by its health check if there is one, because a server that
// starts up may listen before it can answer.
func (m *Member) answers(ctx context.Context) bool {
	if m.options.Interval > 0 {
		return m.check(ctx)
	}
	conn, err := m.server.dial(ctx)
	if err != nil {
		return false
	}
	_ = conn.Close()
	m.health.succeeded()
	return true
}
