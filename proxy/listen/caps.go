package listen

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// caps counts open connections, in all and for each address, and says when
// there are enough. IPv6 counts by /64, the least that one customer gets.
type caps struct {
	mu         sync.Mutex
	most       int // in all; 0 is no limit
	perAddress int // 0 is no limit
	total      int
	by         map[netip.Addr]int
	vacancy    chan struct{} // closed and renewed when a connection leaves; nil while nobody waits
}

func newCaps(most, perAddress int) *caps {
	return &caps{most: most, perAddress: perAddress, by: make(map[netip.Addr]int)}
}

// set changes the limits. Whoever is open stays.
func (c *caps) set(most, perAddress int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.perAddress = most, perAddress
}

// ownFiles are descriptors that are neither of a client's connection nor of one
// to a server: listeners, epoll, files that are read.
const ownFiles = 24

// budget returns how many connections fit: what was asked for, but no more than
// leaves a descriptor for a connection to a server to each. A request that was
// accepted and then finds none would be an error; one that waits is not.
func budget(asked int, logger *zap.Logger) int {
	files := openFiles()
	if files == 0 {
		return asked
	}
	fit := max((files-ownFiles)/2, 4)
	if asked == 0 || asked <= fit {
		return min(cmp.Or(asked, fit), fit)
	}
	logger.Info("fewer connections than limits.connections will be accepted", zap.Int("connections", fit), zap.Int("open_files", files),
		zap.String("hint", "raise the limit on open files to more than twice limits.connections: LimitNOFILE= in systemd, ulimits in compose"))
	return fit
}

// household returns the address that stands for all that one customer has. The
// zero address stands for everybody whose address is unknown.
func household(address net.Addr) netip.Addr {
	var ip netip.Addr
	switch a := address.(type) {
	case *net.TCPAddr:
		ip = a.AddrPort().Addr()
	case *net.UDPAddr:
		ip = a.AddrPort().Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if net64, err := ip.Prefix(64); err == nil {
			return net64.Addr()
		}
	}
	return ip
}

// admit counts a connection, or reports false when its address has enough. The
// limit in all is for who accepts to keep, see [table.room].
func (c *caps) admit(peer netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perAddress > 0 && c.by[peer] >= c.perAddress {
		return false
	}
	c.by[peer]++
	c.total++
	return true
}

// release takes back an admit.
func (c *caps) release(peer netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[peer]--; c.by[peer] == 0 {
		delete(c.by, peer)
	}
	if c.vacancy != nil {
		close(c.vacancy)
		c.vacancy = nil
	}
}

// full reports whether no more connections fit, when this many of those that
// are counted are leaving.
func (c *caps) full(leaving int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most > 0 && c.total-leaving >= c.most
}

// crowded reports whether an address has more than half of what it may have.
func (c *caps) crowded(peer netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.perAddress > 0 && c.by[peer] > c.perAddress/2
}

// vacated returns a channel that is closed when a connection leaves.
func (c *caps) vacated() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vacancy == nil {
		c.vacancy = make(chan struct{})
	}
	return c.vacancy
}

// victim is a connection that may be shed, as long as it has been without a
// request since then.
type victim struct {
	*conn
	rested int64
	crowd  int // connections of its address
}

// room makes room for one more connection, if need be by shedding one that has
// no request. It reports false when each has one.
func (t *table) room() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.caps.full(t.leaving) || t.shedOne()
}

// shed ends up to n connections without a request and returns how many.
func (t *table) shed(n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := 0
	for done < n && t.shedOne() {
		done++
	}
	return done
}

// Relieve closes a part of the connections that have no request, to give memory
// back. It returns at once and may be called at any time.
func (s *Server) Relieve() {
	n := s.conns.count(fresh) + s.conns.count(idle)
	s.conns.shed((n + 7) / 8)
}

// settle is how long a connection is left alone that has just come, or has just
// had an answer. Else newcomers would displace one another in the midst of their
// handshakes, none would ever be served, and all would be tried again.
const settle = time.Second

// shedOne ends the connection that can best be missed: of those without a
// request (a handshake or half a request is none yet), one of the address that
// has most, so that a flood from one address displaces itself, and of these the
// one that has been without the longest. Connections with a request are never
// shed: they have their own limits.
//
// The order is made for a batch at a time, or each connection over the limit
// would cost a look at all.
func (t *table) shedOne() bool {
	for range 2 {
		for len(t.victims) > 0 {
			v := t.victims[0]
			t.victims = t.victims[1:]
			_, open := t.open[v.conn]
			if !open || v.conn.shed || phase(v.phase.Load()) == busy || v.conn.rested.Load() != v.rested {
				continue
			}
			v.conn.shed = true
			t.leaving++
			v.cut()
			return true
		}
		t.victims = t.candidates()
	}
	return false
}

// candidates returns a batch of victims, best first.
func (t *table) candidates() []victim {
	var all []victim
	settled := t.now() - settle.Nanoseconds()
	t.caps.mu.Lock()
	for c := range t.open {
		if !c.shed && phase(c.phase.Load()) != busy && c.rested.Load() <= settled {
			all = append(all, victim{c, c.rested.Load(), t.caps.by[c.peer]})
		}
	}
	t.caps.mu.Unlock()
	slices.SortFunc(all, func(a, b victim) int {
		return cmp.Or(cmp.Compare(b.crowd, a.crowd), cmp.Compare(a.rested, b.rested))
	})
	return slices.Clip(all[:(len(all)+15)/16])
}
