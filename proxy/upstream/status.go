package upstream

import "time"

// MemberStatus is what is known of a server, for people to look at.
type MemberStatus struct {
	Address string

	// Up says that requests go there. Draining: that somebody has taken it out
	// of the choice.
	Up, Draining bool

	// Since is when it last went down or came back; zero if it never did.
	Since time.Time

	// Cause is why it is down, nil if it is up.
	Cause error

	// UnderWay and Waiting count requests there and in the queue for it.
	UnderWay, Waiting int

	Weight int
	Backup bool

	// Failures counts the requests that failed in the window of MaxFails.
	Failures int
}

// Status returns what is known of the server now.
func (m *Member) Status() MemberStatus {
	s := MemberStatus{
		Address: m.options.Address, Draining: m.draining.Load(),
		UnderWay: int(m.node.InFlight()), Weight: max(m.options.Weight, 1), Backup: m.options.Backup,
	}
	if m.slots != nil {
		s.Waiting = m.slots.length()
	}
	m.health.describe(&s)
	return s
}

// Drain takes the server out of the choice, or back in. What is under way there
// goes on. It outlives a reload that leaves the server's settings alone.
func (m *Member) Drain(on bool) { m.draining.Store(on) }

func (h *health) describe(s *MemberStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Up = h.up() && !h.told
	s.Since, s.Failures = h.changed, h.fails
	if !s.Up {
		s.Cause = h.cause
	}
}

// length is how many requests wait.
func (s *slots) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Status returns what is known of the servers, in the order of the
// configuration.
func (p *Pool) Status() []MemberStatus {
	list := make([]MemberStatus, 0, len(p.members))
	for _, m := range p.members {
		list = append(list, m.Status())
	}
	return list
}

// Drain takes the server with that address out of the choice, or back in, and
// reports whether there is one.
func (p *Pool) Drain(address string, on bool) bool {
	found := false
	for _, m := range p.members {
		if m.options.Address == address {
			m.Drain(on)
			found = true
		}
	}
	return found
}

// Held returns how many requests wait for some server to come back, and how many
// ever did.
func (p *Pool) Held() (now int, total uint64) {
	p.hold.mu.Lock()
	defer p.hold.mu.Unlock()
	return p.hold.waiting, p.hold.total
}
