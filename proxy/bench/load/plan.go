package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// Plan says what to send to whom.
type Plan struct {
	// Address of the proxy, an IP address and a port.
	Address string

	// Names of sites. Connection i asks for Names[i modulo their number], in
	// the handshake and in Host. Generators outside of this program use the
	// first, which must lead to 127.0.0.1.
	Names []string

	// Roots that the proxy's certificate must lead to. Generators outside of
	// this program check no certificate.
	Roots *x509.CertPool

	// Method and Path of each request.
	Method, Path string

	// Body of each request; empty for none.
	Body []byte

	// Size of each response's body in bytes; another is a failure.
	Size int64

	// Connections held open; of Handshakes, the number made at a time.
	Connections int

	// Streams is how many requests are under way on each HTTP/2 connection,
	// and how many WebSockets of all wait for an echo. Not used otherwise.
	Streams int

	// Resume makes Handshakes resume TLS sessions instead of making new ones.
	Resume bool

	// Duration of one Run. A request under way at its end is finished, and
	// counts.
	Duration time.Duration

	// Most requests in one Run; 0 is no limit.
	Most int
}

// Session is a load that is ready to run. Run may be called repeatedly, not
// concurrently. When ctx ends Run stops and returns its error.
type Session interface {
	Run(ctx context.Context) (Result, error)
	Close()
}

// Result is what one Run came to.
type Result struct {
	// Requests answered as planned. Where bodies are large and a generator
	// stops in the middle of them, the bytes received are converted, so this
	// may be a fraction.
	Requests float64

	// Failed counts the others by their reason.
	Failed map[string]int

	// Resumed counts the connections that resumed a TLS session.
	Resumed int

	// Duration is how long it really took.
	Duration time.Duration

	// P50 and P99 are percentiles of the time from sending a request to having
	// its whole response; for Handshakes from dialling on.
	P50, P99 time.Duration
}

// Failures describes what failed, such as "3 x status 502", or "" if nothing.
func (r Result) Failures() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(r.Failed)) {
		parts = append(parts, fmt.Sprintf("%d x %s", r.Failed[reason], reason))
	}
	return strings.Join(parts, ", ")
}

// fail counts failures by reason.
func (r *Result) fail(reason string, count int) {
	if count <= 0 {
		return
	}
	if r.Failed == nil {
		r.Failed = make(map[string]int)
	}
	r.Failed[reason] += count
}

// name returns the site that connection i asks for.
func (p *Plan) name(i int) string { return p.Names[i%len(p.Names)] }

// tlsConfig is what every client of this package offers: TLS 1.3 and X25519
// alone, so that a proxy with post-quantum key exchange does the same work as
// one without.
func (p *Plan) tlsConfig(i int, protocol string) *tls.Config {
	return &tls.Config{
		ServerName:       p.name(i),
		RootCAs:          p.Roots,
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{protocol},
	}
}

// dial opens connection i. Each comes from an address of its own in 127.0.0.0/8,
// for there are only some 28,000 ports for each pair of addresses, and closed
// connections keep theirs for a minute.
func (p *Plan) dial(ctx context.Context, i int, config *tls.Config) (*tls.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	if strings.HasPrefix(p.Address, "127.") {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/200%200), byte(1+i%200))}
	}
	raw, err := dialer.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	got := conn.ConnectionState().NegotiatedProtocol
	if got != config.NextProtos[0] && (got != "" || config.NextProtos[0] != "http/1.1") { // no choice means HTTP/1.1
		_ = conn.Close()
		return nil, fmt.Errorf("the proxy chose protocol %q instead of %q", got, config.NextProtos[0])
	}
	return conn, nil
}

// patience is how long one answer may take before it counts as failed.
const patience = 10 * time.Second
