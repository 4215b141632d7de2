package listen

import (
	"crypto/tls"
	"sync/atomic"
)

// Counts is what the listeners have seen since they were opened.
type Counts struct {
	Open     int    // connections over TCP, now
	Accepted uint64 // connections over TCP

	// Handshakes counts those of TLS that succeeded, by version and whether a
	// session was resumed; Failed the others. QUIC's are not among them.
	TLS12, TLS12Resumed, TLS13, TLS13Resumed uint64
	Failed                                   uint64

	// Refused has every kind of refusal, those that never happened too.
	Refused []Refusal
}

// Handshakes is the sum of those that succeeded, and how many of them resumed.
func (c *Counts) Handshakes() (all, resumed uint64) {
	resumed = c.TLS12Resumed + c.TLS13Resumed
	return c.TLS12 + c.TLS13 + resumed, resumed
}

// counters are what Counts is read from.
type counters struct {
	accepted, failed atomic.Uint64
	shaken           [2][2]atomic.Uint64 // version 1.2 or 1.3, new or resumed
	refused          refusals
}

func (c *counters) shook(state tls.ConnectionState) {
	version, resumed := 0, 0
	if state.Version >= tls.VersionTLS13 {
		version = 1
	}
	if state.DidResume {
		resumed = 1
	}
	c.shaken[version][resumed].Add(1)
}

// Counts returns what the listeners have seen so far.
func (s *Server) Counts() Counts {
	c := &s.conns.counters
	return Counts{
		Open: s.conns.size(), Accepted: c.accepted.Load(), Failed: c.failed.Load(),
		TLS12: c.shaken[0][0].Load(), TLS12Resumed: c.shaken[0][1].Load(),
		TLS13: c.shaken[1][0].Load(), TLS13Resumed: c.shaken[1][1].Load(),
		Refused: c.refused.list(),
	}
}

// size is how many connections the table has.
func (t *table) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
