package acmetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// domain is where the World's own servers live: a name that no other resolver knows (RFC 6761 §6.2).
	domain = "sallyport.test"

	automaticTTL = 300              // seconds; what the real service serves for a TTL of 1
	slowClient   = 10 * time.Second // for a question or an answer over TCP; a busy machine needs more than the default two

	maxCNAMEs = 8   // links of a chain that are followed within our zones
	maxTXT    = 255 // bytes of one character string in a TXT record (RFC 1035 §3.3)
)

// nameServers are the name servers of every zone. Their names resolve to 127.0.0.1, where DNS.Addr has the port.
var nameServers = [...]string{"ns1." + domain, "ns2." + domain}

// Query is one question that the name server was asked.
type Query struct {
	Network string // "udp" or "tcp"
	Name    string // as asked, with its final dot
	Type    string // "TXT", "A", ...
	Rcode   int    // of the answer; -1 when there was none
}

// DNS is the authoritative name server of all zones and of the World's own domain. It answers over UDP and TCP.
type DNS struct {
	Addr string // 127.0.0.1:PORT, the same port for UDP and TCP

	zones   *zones
	queries journal[Query]

	mu     sync.Mutex
	rcode  int
	silent bool

	udp, tcp *dns.Server
}

// Queries returns the questions asked so far.
func (d *DNS) Queries() []Query { return d.queries.all() }

// ResetQueries forgets the questions asked so far.
func (d *DNS) ResetQueries() { d.queries.reset() }

// WaitQuery waits until some question, past or future, satisfies match.
func (d *DNS) WaitQuery(ctx context.Context, match func(Query) bool) error {
	return d.queries.wait(ctx, match)
}

// Fail makes the server answer every question about a zone with a response code (RFC 6895 §2.3), such as 2 for SERVFAIL
// or 5 for REFUSED, until it is called with 0. The World's own names go on resolving.
func (d *DNS) Fail(rcode int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rcode = rcode
}

// Silence makes the server give no answer at all to questions about a zone, until it is called with false.
func (d *DNS) Silence(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = silent
}

// Delay makes records that are made or changed from now on visible only after a while, as propagation does. Zero is at
// once. A record that is deleted is gone at once.
func (d *DNS) Delay(after time.Duration) {
	d.zones.mu.Lock()
	defer d.zones.mu.Unlock()
	d.zones.delay = after
}

// Hold keeps records that are made or changed from now on invisible until Release.
func (d *DNS) Hold() {
	d.zones.mu.Lock()
	defer d.zones.mu.Unlock()
	d.zones.held = true
}

// Release ends Hold and makes visible what it held back.
func (d *DNS) Release() {
	d.zones.mu.Lock()
	defer d.zones.mu.Unlock()
	d.zones.held = false
	for _, zn := range d.zones.byID {
		for _, r := range zn.records {
			r.held = false
		}
	}
}

// newDNS listens on one free port for both protocols.
func newDNS(z *zones) (*DNS, error) {
	for attempt := 0; ; attempt++ {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("acmetest: name server: %w", err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil {
			_ = tcp.Close()
			if attempt < 20 {
				continue // somebody else has that port for UDP
			}
			return nil, fmt.Errorf("acmetest: name server: %w", err)
		}
		d := &DNS{Addr: tcp.Addr().String(), zones: z}
		d.tcp = &dns.Server{Listener: tcp, Handler: d.handler("tcp"), ReadTimeout: slowClient, WriteTimeout: slowClient}
		d.udp = &dns.Server{PacketConn: udp, Handler: d.handler("udp")}
		return d, nil
	}
}

// start serves both protocols and returns when both do.
func (d *DNS) start() error {
	failed := make(chan error, 2)
	for _, s := range []*dns.Server{d.tcp, d.udp} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { failed <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			return fmt.Errorf("acmetest: name server: %w", err)
		}
	}
	return nil
}

func (d *DNS) close() error {
	var all []error
	for _, s := range []*dns.Server{d.tcp, d.udp} {
		all = append(all, s.Shutdown())
	}
	// A server that was never started does not close its socket.
	_ = d.tcp.Listener.Close()
	_ = d.udp.PacketConn.Close()
	return errors.Join(all...)
}

func (d *DNS) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, question *dns.Msg) {
		if len(question.Question) != 1 || question.Opcode != dns.OpcodeQuery {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(question, dns.RcodeNotImplemented))
			return
		}
		q := question.Question[0]
		entry := Query{Network: network, Name: q.Name, Type: dns.Type(q.Qtype).String(), Rcode: -1}
		reply := d.answer(question)
		if reply == nil {
			d.queries.add(entry)
			return
		}
		if network == "udp" {
			size := dns.MinMsgSize
			if edns := question.IsEdns0(); edns != nil {
				size = max(size, int(edns.UDPSize()))
			}
			reply.Truncate(size)
		}
		entry.Rcode = reply.Rcode
		d.queries.add(entry)
		_ = w.WriteMsg(reply) // the client may have gone
	}
}

// answer returns the reply to a question; nil is silence.
func (d *DNS) answer(question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(question)
	q := question.Question[0]
	if reply.Question[0].Qclass != dns.ClassINET {
		return reply.SetRcode(question, dns.RcodeRefused)
	}
	if name := canonical(q.Name); name == domain || strings.HasSuffix(name, "."+domain) {
		answerOwn(reply, q, name)
		return reply
	}
	d.mu.Lock()
	rcode, silent := d.rcode, d.silent
	d.mu.Unlock()
	if silent {
		return nil
	}
	d.zones.mu.Lock()
	defer d.zones.mu.Unlock()
	zn := d.zones.covering(q.Name)
	if zn == nil {
		return reply.SetRcode(question, dns.RcodeRefused)
	}
	if rcode != dns.RcodeSuccess {
		return reply.SetRcode(question, rcode)
	}
	reply.Authoritative = true
	d.answerZone(reply, q, zn)
	return reply
}

// answerOwn answers for the World's own domain.
func answerOwn(reply *dns.Msg, q dns.Question, name string) {
	reply.Authoritative = true
	host := name == acmeHost || name == apiHost || slices.Contains(nameServers[:], name)
	switch {
	case name == domain:
		reply.Answer = apex(q, domain, 1)
	case !host:
		reply.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA:
		reply.Answer = []dns.RR{&dns.A{Hdr: header(q.Name, dns.TypeA, automaticTTL), A: net.IPv4(127, 0, 0, 1)}}
	}
	if len(reply.Answer) == 0 {
		reply.Ns = []dns.RR{soa(domain, 1)}
	}
}

// apex returns the NS or SOA records of a zone, if the question is about them.
func apex(q dns.Question, zone string, serial uint32) []dns.RR {
	switch q.Qtype {
	case dns.TypeSOA:
		record := soa(zone, serial)
		record.Hdr.Name = q.Name
		return []dns.RR{record}
	case dns.TypeNS:
		var records []dns.RR
		for _, ns := range nameServers {
			records = append(records, &dns.NS{Hdr: header(q.Name, dns.TypeNS, automaticTTL), Ns: dns.Fqdn(ns)})
		}
		return records
	}
	return nil
}

func header(name string, rrtype uint16, ttl int) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: uint32(ttl)}
}

// soa makes a zone's SOA record. Its minimum, how long a resolver may remember that a name does not exist (RFC 2308
// §4), is short, as nobody's test should depend on it.
func soa(zone string, serial uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: header(dns.Fqdn(zone), dns.TypeSOA, automaticTTL),
		Ns:  dns.Fqdn(nameServers[0]), Mbox: "dns." + domain + ".",
		Serial: serial, Refresh: 10000, Retry: 2400, Expire: 604800, Minttl: 1,
	}
}

// answerZone answers a question about a zone, following aliases as long as they stay in our zones (RFC 1034 §4.3.2). The
// caller holds the lock of the zones.
func (d *DNS) answerZone(reply *dns.Msg, q dns.Question, zn *zone) {
	for range maxCNAMEs {
		found, alias, err := zn.lookup(q)
		if err != nil {
			reply.Rcode = dns.RcodeServerFailure
			return
		}
		if alias == nil {
			reply.Answer = append(reply.Answer, found...)
			if !zn.exists(canonical(q.Name)) {
				reply.Rcode = dns.RcodeNameError
			}
			if len(found) == 0 {
				reply.Ns = append(reply.Ns, soa(zn.name, zn.serial))
			}
			return
		}
		reply.Answer = append(reply.Answer, alias)
		q.Name = alias.Target
		if zn = d.zones.covering(q.Name); zn == nil {
			return // the client goes on by itself
		}
	}
}

// lookup returns the records that answer a question, or the alias that leads on if there is none.
func (zn *zone) lookup(q dns.Question) (found []dns.RR, alias *dns.CNAME, err error) {
	name := canonical(q.Name)
	if name == zn.name {
		found = apex(q, zn.name, zn.serial)
	}
	for _, r := range zn.records {
		wanted := q.Qtype == dns.TypeANY || dns.StringToType[r.Type] == q.Qtype || r.Type == "CNAME"
		if r.Name != name || !wanted || !r.propagated() {
			continue
		}
		rr, err := resourceRecord(q.Name, r)
		if err != nil {
			return nil, nil, err
		}
		if rr.Header().Rrtype == q.Qtype || q.Qtype == dns.TypeANY {
			found = append(found, rr)
		} else if cname, ok := rr.(*dns.CNAME); ok {
			alias = cname
		}
	}
	if len(found) > 0 {
		alias = nil
	}
	return found, alias, nil
}

// exists says whether there is such a name. One above an existing name is one too (RFC 8020 §2).
func (zn *zone) exists(name string) bool {
	return name == zn.name || slices.ContainsFunc(zn.records, func(r *Record) bool {
		return (r.Name == name || strings.HasSuffix(r.Name, "."+name)) && r.propagated()
	})
}

// propagated says whether the name server may show the record yet.
func (r *Record) propagated() bool { return !r.held && !r.visible.After(time.Now()) }

// resourceRecord turns a record of the API into one of the DNS, under the name as it was asked.
func resourceRecord(name string, r *Record) (dns.RR, error) {
	ttl := r.TTL
	if ttl == 1 {
		ttl = automaticTTL
	}
	switch r.Type {
	case "TXT":
		rr := &dns.TXT{Hdr: header(name, dns.TypeTXT, ttl)}
		text := r.text()
		for len(text) > maxTXT {
			rr.Txt, text = append(rr.Txt, text[:maxTXT]), text[maxTXT:]
		}
		rr.Txt = append(rr.Txt, text)
		return rr, nil
	case "CNAME":
		return &dns.CNAME{Hdr: header(name, dns.TypeCNAME, ttl), Target: dns.Fqdn(r.Content)}, nil
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, r.Type, r.Content))
	if err != nil {
		return nil, fmt.Errorf("acmetest: record %s of %s: %w", r.ID, r.Name, err)
	}
	return rr, nil
}
