package resolve

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// attemptDelay is how long an address has to itself (RFC 8305 section 5).
	attemptDelay = 250 * time.Millisecond

	// slow is how long all addresses together may be silent until more are
	// asked for: those of a container that was made anew are gone without a
	// word.
	slow = time.Second
)

// race connects to the address that answers first.
type race struct {
	port    uint16
	waiting []netip.Addr
	running int
	results chan result
	first   error
	group   sync.WaitGroup
}

// result is the end of an attempt, or more addresses.
type result struct {
	conn net.Conn
	err  error
	more []netip.Addr
}

// run tries the addresses, and once all have failed or are slow, those that
// more returns, which is called at most once. All attempts have ended when it
// returns.
func (r *race) run(ctx context.Context, addresses []netip.Addr, more func(context.Context) []netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	r.results = make(chan result)
	ended := make(chan struct{})
	defer func() {
		cancel()
		go func() { r.group.Wait(); close(ended) }()
		for { // connections that come too late
			select {
			case got := <-r.results:
				if got.conn != nil {
					_ = got.conn.Close()
				}
			case <-ended:
				return
			}
		}
	}()
	r.waiting = takeTurns(addresses)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		late := false
		select {
		case <-timer.C:
			late = true
		case got := <-r.results:
			r.running--
			if got.conn != nil {
				return got.conn, nil
			}
			if r.first == nil {
				r.first = got.err
			}
			r.waiting = append(r.waiting, takeTurns(got.more)...)
		}
		switch {
		case len(r.waiting) > 0:
			r.begin(ctx)
			timer.Reset(attemptDelay)
			if len(r.waiting) == 0 {
				timer.Reset(slow)
			}
		case more != nil && (late || r.running == 0):
			ask := more
			more = nil
			r.start(func() result { return result{more: ask(ctx)} })
		case r.running == 0:
			return nil, r.first
		}
	}
}

// begin tries the next address.
func (r *race) begin(ctx context.Context) {
	to := netip.AddrPortFrom(r.waiting[0], r.port)
	r.waiting = r.waiting[1:]
	r.start(func() result {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", to.String())
		return result{conn: conn, err: err}
	})
}

func (r *race) start(attempt func() result) {
	r.running++
	r.group.Go(func() { r.results <- attempt() })
}

// takeTurns orders addresses so that the families alternate, beginning with
// that of the first (RFC 8305 section 4).
func takeTurns(addresses []netip.Addr) []netip.Addr {
	if len(addresses) == 0 {
		return nil
	}
	var same, other []netip.Addr
	for _, each := range addresses {
		if each.Is4() == addresses[0].Is4() {
			same = append(same, each)
		} else {
			other = append(other, each)
		}
	}
	var mixed []netip.Addr
	for len(same) > 0 || len(other) > 0 {
		if len(same) > 0 {
			mixed, same = append(mixed, same[0]), same[1:]
		}
		if len(other) > 0 {
			mixed, other = append(mixed, other[0]), other[1:]
		}
	}
	return mixed
}
