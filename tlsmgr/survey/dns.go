package survey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Policy is what CAA records say of a name (RFC 8659).
type Policy struct {
	// Name is where the records were found, "" if there are none: then every CA
	// may issue.
	Name string

	issue, wild []issuer
	critical    string // a property that must be understood and is not known
}

// issuer is the value of one issue or issuewild property: a CA, or nobody.
type issuer struct {
	domain  string
	methods []string // of validationmethods (RFC 8657 section 4), nil: all
}

// Allows reports whether a CA that goes by one of the identities may issue, for
// a wildcard or not, by a validation method. A CA that has no identity is not
// known to CAA, so only a name without records allows it.
func (p Policy) Allows(identities []string, wildcard bool, method string) bool {
	if p.Name == "" {
		return true
	}
	if p.critical != "" {
		return false
	}
	list := p.issue
	if wildcard && len(p.wild) > 0 {
		list = p.wild // section 4.3: it stands instead of issue
	}
	if len(list) == 0 {
		return true // records, but none that restricts issuing
	}
	return slices.ContainsFunc(list, func(one issuer) bool {
		known := slices.ContainsFunc(identities, func(id string) bool { return strings.EqualFold(id, one.domain) })
		return known && (one.methods == nil || slices.Contains(one.methods, method))
	})
}

// Issuers returns the CAs that are allowed, for people.
func (p Policy) Issuers() []string {
	var names []string
	for _, one := range append(slices.Clone(p.issue), p.wild...) {
		name := one.domain
		if name == "" {
			name = "nobody"
		}
		if one.methods != nil {
			name += " by " + strings.Join(one.methods, ", ")
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// CAA returns the policy for a name: that of the closest name, upwards, which
// has any (section 3). Top level domains are not asked. A wildcard's is that of
// the name below the asterisk.
func (s *Survey) CAA(ctx context.Context, name string) (Policy, error) {
	name = strings.TrimPrefix(name, "*.")
	for strings.Contains(name, ".") {
		answer, err := s.ask(ctx, name, dns.TypeCAA)
		if err != nil {
			return Policy{}, err
		}
		p := Policy{Name: name}
		found := false
		for _, rr := range answer.Answer {
			if record, ok := rr.(*dns.CAA); ok {
				found = true
				p.add(record)
			}
		}
		if found {
			return p, nil
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return Policy{}, nil
}

func (p *Policy) add(record *dns.CAA) {
	switch tag := strings.ToLower(record.Tag); tag {
	case "issue":
		p.issue = append(p.issue, parseIssuer(record.Value))
	case "issuewild":
		p.wild = append(p.wild, parseIssuer(record.Value))
	case "iodef", "issuemail", "contactemail", "contactphone", "issuevmc":
	default:
		if record.Flag&0x80 != 0 {
			p.critical = tag
		}
	}
}

// parseIssuer reads "letsencrypt.org; validationmethods=dns-01".
func parseIssuer(value string) issuer {
	domain, parameters, _ := strings.Cut(value, ";")
	one := issuer{domain: strings.TrimSpace(domain)}
	for parameter := range strings.SplitSeq(parameters, ";") {
		if key, list, ok := strings.Cut(strings.TrimSpace(parameter), "="); ok && strings.EqualFold(strings.TrimSpace(key), "validationmethods") {
			one.methods = []string{}
			for method := range strings.SplitSeq(list, ",") {
				one.methods = append(one.methods, strings.TrimSpace(method))
			}
		}
	}
	return one
}

// Alias returns the name that a name is an alias (CNAME) of, "" for none.
func (s *Survey) Alias(ctx context.Context, name string) (string, error) {
	answer, err := s.ask(ctx, name, dns.TypeCNAME)
	if err != nil {
		return "", err
	}
	for _, rr := range answer.Answer {
		if record, ok := rr.(*dns.CNAME); ok {
			return strings.ToLower(strings.TrimSuffix(record.Target, ".")), nil
		}
	}
	return "", nil
}

// ask returns the first answer that some server gives: records, or that there
// are none.
func (s *Survey) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	servers := s.options.Servers
	if len(servers) == 0 {
		system, err := dns.ClientConfigFromFile(systemConfig)
		if err != nil {
			return nil, fmt.Errorf("no DNS server is known: %w", err)
		}
		for _, server := range system.Servers {
			servers = append(servers, net.JoinHostPort(server, system.Port))
		}
	}
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false)
	failures := make([]error, 0, len(servers))
	for _, server := range servers {
		answer, err := exchange(ctx, server, question)
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", server, err))
		case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
			failures = append(failures, fmt.Errorf("%s: answered %s", server, dns.RcodeToString[answer.Rcode]))
		default:
			return answer, nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", dns.TypeToString[kind], name, errors.Join(failures...))
}

// exchange asks over UDP, and over TCP for what does not fit.
func exchange(ctx context.Context, server string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network, Timeout: queryTimeout}
		answer, _, err := client.ExchangeContext(ctx, question, server)
		if err != nil {
			return nil, err
		}
		if !answer.Truncated {
			return answer, nil
		}
	}
	return nil, errors.New("the answer does not fit")
}
