package listen

import (
	"crypto/tls"
	"sync/atomic"
)

// Counts is what the listeners have seen since they were opened.
type Counts struct {
	TCP, QUIC Transport

	// Refused has every kind of refusal, those that never happened too.
	Refused []Refusal
}

// Transport is what came over TCP, or over QUIC.
type Transport struct {
	Open     int    // connections, now
	Accepted uint64 // connections; QUIC's only once they have shaken hands

	// Handshakes that succeeded, by version of TLS and whether a session was
	// resumed, and those that failed. QUIC knows no 1.2 (RFC 9001 section 4.2),
	// and none of its requests comes before the handshake is done (0-RTT is off).
	TLS12, TLS12Resumed, TLS13, TLS13Resumed uint64
	Failed                                   uint64
}

// Open is how many connections there are, over both.
func (c *Counts) Open() int { return c.TCP.Open + c.QUIC.Open }

// Handshakes is the sum of those that succeeded, and how many of them resumed.
func (t *Transport) Handshakes() (all, resumed uint64) {
	resumed = t.TLS12Resumed + t.TLS13Resumed
	return t.TLS12 + t.TLS13 + resumed, resumed
}

// counters are what Counts is read from.
type counters struct {
	tcp, quic transportCounters
	refused   refusals
}

type transportCounters struct {
	accepted, failed atomic.Uint64
	shaken           [2][2]atomic.Uint64 // version 1.2 or 1.3, new or resumed
}

func (c *transportCounters) shook(state tls.ConnectionState) {
	version, resumed := 0, 0
	if state.Version >= tls.VersionTLS13 {
		version = 1
	}
	if state.DidResume {
		resumed = 1
	}
	c.shaken[version][resumed].Add(1)
}

func (c *transportCounters) counts(open int) Transport {
	return Transport{
		Open: open, Accepted: c.accepted.Load(), Failed: c.failed.Load(),
		TLS12: c.shaken[0][0].Load(), TLS12Resumed: c.shaken[0][1].Load(),
		TLS13: c.shaken[1][0].Load(), TLS13Resumed: c.shaken[1][1].Load(),
	}
}

// Counts returns what the listeners have seen so far.
func (s *Server) Counts() Counts {
	c := &s.conns.counters
	streams, datagrams := s.conns.sizes()
	return Counts{TCP: c.tcp.counts(streams), QUIC: c.quic.counts(datagrams), Refused: c.refused.list()}
}

// sizes are how many connections the table has over TCP and over QUIC.
func (t *table) sizes() (streams, datagrams int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) - t.quic, t.quic
}
