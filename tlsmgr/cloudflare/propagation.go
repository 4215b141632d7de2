package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
)

const (
	queryTimeout   = 2 * time.Second // one question over one protocol to one address
	resolveTimeout = 5 * time.Second // finding a name server's addresses
	deadAfter      = 3               // failures in a row after which a name server does not count

	delegationCure = "delete that record: Sallyport writes challenges into the zone itself and does not follow a CNAME at _acme-challenge"
)

// propagation waits until name servers show one record.
//
// The rule: every server that answers has it, and at least one does. A server
// that gives no usable answer three times in a row, over UDP and TCP each time, is
// taken for dead and does not count, since the CA will not reach it either; as long
// as it is only slow it is waited for.
//
// Challenges delegated by a CNAME at _acme-challenge are not followed: the
// token is for the configured zones alone. A CNAME that is seen does not end the wait
// at once, because the zone's wildcard CNAME (*.example.com) also shows at this name
// until our record has arrived. The error names it.
type propagation struct {
	record    Record
	servers   []*nameServer
	resolver  *net.Resolver
	recursive bool // the servers may be resolvers, not the zone's own
	log       *zap.Logger
}

// nameServer is one server and what it said last. Its goroutine resolves it and
// wait alone reads and writes the rest.
type nameServer struct {
	address   string   // host:port
	resolved  []string // IP:port, at most one per family
	has       bool
	failures  int    // in a row
	err       error  // why there is no usable answer
	delegated string // target of a CNAME at the name
}

var errNoAnswer = errors.New("no answer yet")

// finding is a server's answer to one question. err is set when there was none that
// could be used.
type finding struct {
	server    *nameServer
	has       bool
	delegated string
	err       error
}

// wait asks all servers, at once and then every interval, until the rule above
// holds, timeout is over or ctx ends. All it started has ended when it
// returns.
func (p *propagation) wait(ctx context.Context, timeout, interval time.Duration) error {
	start := time.Now()
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	for _, s := range p.servers {
		s.err = errNoAnswer
	}
	findings := make(chan finding)
	// The pollers' context has no deadline: a question that the deadline cut
	// off would pass for a server that does not answer.
	polling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var pollers sync.WaitGroup
	defer pollers.Wait()
	defer cancel()
	for _, s := range p.servers {
		// One poller per server: a dead one must not slow the others down.
		pollers.Go(func() { p.poll(polling, s, interval, findings) })
	}
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return p.overdue(time.Since(start))
		case f := <-findings:
			f.server.note(f)
			if p.visible() {
				return nil
			}
		}
	}
}

func (p *propagation) poll(ctx context.Context, s *nameServer, interval time.Duration, findings chan<- finding) {
	for {
		f := p.ask(ctx, s)
		if ctx.Err() != nil {
			return // cut off: that says nothing about the server
		}
		select {
		case findings <- f:
		case <-ctx.Done():
			return
		}
		if f.has || sleep(ctx, interval) != nil {
			return
		}
	}
}

func (s *nameServer) note(f finding) {
	s.has, s.delegated, s.err = f.has, f.delegated, f.err
	if f.err == nil {
		s.failures = 0
		return
	}
	s.failures++
}

func (p *propagation) visible() bool {
	one := false
	for _, s := range p.servers {
		if !s.has && s.failures < deadAfter {
			return false
		}
		one = one || s.has
	}
	return one
}

// ask puts the question to the server's addresses until one answers.
func (p *propagation) ask(ctx context.Context, s *nameServer) (f finding) {
	f.server = s
	defer recovered(p.log, "asking name server "+s.address, &f.err)
	if s.resolved == nil {
		if s.resolved, f.err = p.resolve(ctx, s.address); f.err != nil {
			return f
		}
	}
	for _, address := range s.resolved {
		var answer *dns.Msg
		if answer, f.err = p.query(ctx, address); f.err != nil {
			continue
		}
		if f.has, f.delegated, f.err = p.read(answer); f.err == nil {
			return f
		}
	}
	return f
}

// resolve finds a server's first IPv4 and first IPv6 address, in that order:
// IPv6 is the one that machines have no route for.
func (p *propagation) resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	all, err := p.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var v4, v6 netip.Addr
	for _, a := range all {
		switch a = a.Unmap(); {
		case a.Is4() && !v4.IsValid():
			v4 = a
		case !a.Is4() && !v6.IsValid():
			v6 = a
		}
	}
	var resolved []string
	for _, a := range []netip.Addr{v4, v6} {
		if a.IsValid() {
			resolved = append(resolved, net.JoinHostPort(a.String(), port))
		}
	}
	if len(resolved) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return resolved, nil
}

// query asks one address over UDP, and over TCP if the answer does not fit or there
// is none: some networks let only one of the two out.
func (p *propagation) query(ctx context.Context, address string) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(p.record.Name), dns.TypeTXT)
	question.RecursionDesired = p.recursive
	question.SetEdns0(1232, false) // what passes everywhere unfragmented
	answer, err := exchange(ctx, "udp", address, question)
	if err == nil && !answer.Truncated {
		return answer, nil
	}
	overTCP, errTCP := exchange(ctx, "tcp", address, question)
	switch {
	case errTCP == nil:
		return overTCP, nil
	case err == nil:
		return nil, errTCP
	}
	return nil, fmt.Errorf("%w; %w", err, errTCP)
}

func exchange(ctx context.Context, network, address string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	client := &dns.Client{Net: network, Timeout: queryTimeout}
	conn, err := client.DialContext(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The library heeds the context's deadline, not its cancellation.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	answer, _, err := client.ExchangeWithConnContext(ctx, question, conn)
	return answer, err
}

// read looks for the record in an answer. It returns an error for an answer that says
// nothing about the record.
func (p *propagation) read(answer *dns.Msg) (has bool, delegated string, err error) {
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *dns.TXT:
			if strings.Join(rr.Txt, "") == p.record.Value {
				return true, "", nil
			}
		case *dns.CNAME:
			if delegated == "" {
				delegated = canonical(rr.Target)
			}
		}
	}
	switch {
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		return false, "", fmt.Errorf("answered %s", dns.RcodeToString[answer.Rcode])
	case !answer.Authoritative && !p.recursive:
		return false, "", errors.New("the answer is not the zone's own (something on the way intercepts DNS, or the zone has moved)")
	}
	return false, delegated, nil
}

func (p *propagation) overdue(after time.Duration) error {
	e := &PropagationError{Zone: p.record.Zone, After: after.Round(time.Second)}
	for _, s := range p.servers {
		if s.delegated != "" {
			e.Delegated = s.delegated
		}
		switch {
		case s.has:
		case s.err != nil:
			e.Silent = append(e.Silent, fmt.Sprintf("%s (%s)", s.address, printable(s.err.Error())))
		default:
			e.Lacking = append(e.Lacking, s.address)
		}
	}
	return e
}

// PropagationError is a challenge record that the name servers did not show in
// time.
type PropagationError struct {
	Zone      string
	After     time.Duration
	Lacking   []string // servers (host:port) that answer and do not have it
	Silent    []string // servers that gave no usable answer, each with the reason
	Delegated string   // target of a CNAME at the record's name; empty without one
}

// Error names every server that lacks the record.
func (e *PropagationError) Error() string {
	var parts []string
	if e.Delegated != "" {
		parts = append(parts, fmt.Sprintf("the name is a CNAME to %s", e.Delegated))
	}
	if len(e.Lacking) > 0 {
		parts = append(parts, "missing on "+strings.Join(e.Lacking, ", "))
	}
	if len(e.Silent) > 0 {
		parts = append(parts, "no usable answer from "+strings.Join(e.Silent, ", "))
	}
	return fmt.Sprintf("zone %q: not visible after %v: %s", e.Zone, e.After, strings.Join(parts, "; "))
}

// Temporary is true, except for a CNAME, which somebody has to delete.
func (e *PropagationError) Temporary() bool { return e.Delegated == "" }

// Hint says what to check.
func (e *PropagationError) Hint() string {
	switch {
	case e.Delegated != "":
		return delegationCure
	case len(e.Lacking) == 0:
		return "let this machine send DNS (port 53, UDP and TCP) to the zone's name servers, or set acme.propagation.servers"
	}
	return "check that the registrar names these servers for the zone; if they are only slow, raise acme.propagation.timeout"
}
