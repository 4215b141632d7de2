package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// leastAge and mostAge bound how long an answer is used, whatever its time
	// to live. That of a name from the hosts file, which has none, is mostAge.
	leastAge = time.Second
	mostAge  = 30 * time.Second

	// failedAge is how long after a failed lookup requests with a connection
	// ask again.
	failedAge = 2 * time.Second

	// youngest is the age at which an answer is worth asking for again when
	// nothing can be connected to. It bounds the questions that an absent
	// server causes.
	youngest = 250 * time.Millisecond

	// lookupTimeout bounds one lookup, patience the wait for it while there is
	// an older answer.
	lookupTimeout = 10 * time.Second
	patience      = time.Second
)

// Options shapes a [Name].
type Options struct {
	// Host is the name. Required; an IP address is its own answer.
	Host string

	// NameServer, host:port, is asked instead of those of the system. Empty:
	// the system's.
	NameServer string
}

// Name is a host name and what is known about its addresses. It is safe for
// concurrent use.
type Name struct {
	options Options
	answer  atomic.Pointer[Answer]

	mu     sync.Mutex
	flight *flight // the lookup under way; nil: none
	cancel context.CancelFunc
	closed bool
	asking sync.WaitGroup
}

// Answer is what was found out about a name last.
type Answer struct {
	addresses []netip.Addr // in order of preference (RFC 6724)
	asked     time.Time
	until     time.Time
	err       error // of the last lookup; the addresses are older then
}

// flight is one lookup that many may wait for.
type flight struct {
	done   chan struct{}
	answer *Answer
}

// New returns a Name. It asks for nothing yet.
func New(o Options) *Name { return &Name{options: o} }

// Has reports whether an address (a TCP address, as of a connection) belongs
// to the name. Of a name that was never looked up every address does.
func (a *Answer) Has(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	if a == nil || !ok || len(a.addresses) == 0 {
		return true
	}
	ip := plain(tcp.AddrPort().Addr())
	for _, each := range a.addresses {
		if each == ip {
			return true
		}
	}
	return false
}

// plain drops what the same address may be written with or without.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// Answer returns the last answer, nil before the first. When that is too old a
// new one is fetched meanwhile. It never waits.
func (n *Name) Answer() *Answer {
	a := n.answer.Load()
	if a != nil && time.Now().After(a.until) {
		n.look()
	}
	return a
}

// look begins a lookup, unless one is under way, which it returns then. It
// returns nil after Close.
func (n *Name) look() *flight {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.flight != nil {
		return n.flight
	}
	f := &flight{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	n.flight, n.cancel = f, cancel
	n.asking.Go(func() {
		defer cancel()
		f.answer = n.ask(ctx)
		n.mu.Lock()
		n.flight = nil
		n.mu.Unlock()
		close(f.done)
	})
	return f
}

// ask looks the name up and keeps the answer.
func (n *Name) ask(ctx context.Context) *Answer {
	addresses, age, err := lookup(ctx, n.options)
	now := time.Now()
	next := &Answer{addresses: addresses, asked: now, until: now.Add(min(max(age, leastAge), mostAge)), err: err}
	if err != nil {
		next.until = now.Add(failedAge)
		if before := n.answer.Load(); before != nil {
			next.addresses = before.addresses
		}
	}
	if ctx.Err() == nil || err == nil {
		n.answer.Store(next) // a lookup that was given up says nothing
	}
	return next
}

// fresh returns an answer that is young enough to connect by, or what there is
// if the DNS is slow.
func (n *Name) fresh(ctx context.Context) (*Answer, error) {
	a := n.answer.Load()
	if a != nil && a.err == nil && time.Now().Before(a.until) || a != nil && time.Since(a.asked) < youngest {
		return a, a.usable()
	}
	return n.renewed(ctx, a)
}

// renewed asks anew, and falls back on an answer that may be nil.
func (n *Name) renewed(ctx context.Context, old *Answer) (*Answer, error) {
	f := n.look()
	if f == nil { // closed: nobody but the caller is left to own the question
		a := n.ask(ctx)
		return a, a.usable()
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	slow := limit.C
	if old == nil || len(old.addresses) == 0 {
		slow = nil
	}
	select {
	case <-f.done:
		return f.answer, f.answer.usable()
	case <-slow:
		return old, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// usable returns why an answer cannot be connected by: it has no address, or
// the name is gone. A DNS that fails in any other way takes nothing away.
func (a *Answer) usable() error {
	if missing, ok := errors.AsType[*net.DNSError](a.err); len(a.addresses) == 0 || ok && missing.IsNotFound {
		return a.err
	}
	return nil
}

// Dial connects to the port at one of the name's addresses. An error is that
// of the lookup, a [*net.DNSError], or of the first address.
func (n *Name) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	a, err := n.fresh(ctx)
	if err != nil {
		return nil, err
	}
	r := race{port: port}
	return r.run(ctx, a.addresses, func(ctx context.Context) []netip.Addr {
		if time.Since(a.asked) < youngest {
			return nil
		}
		again, err := n.renewed(ctx, nil)
		if err != nil {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(again.addresses), func(each netip.Addr) bool { return slices.Contains(a.addresses, each) })
	})
}

// Close ends a lookup under way and waits for its end. Dial still works, and
// asks by itself.
func (n *Name) Close() {
	n.mu.Lock()
	n.closed = true
	if n.flight != nil {
		n.cancel()
	}
	n.mu.Unlock()
	n.asking.Wait()
}

// Reopen takes a Close back.
func (n *Name) Reopen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = false
}
