package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/middleware/clientip"
	"github.com/sallyport/sallyport/tlsmgr"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// This file looks at the outside world. Nothing here is a gate: an instance
// serves what it has whatever is found.

const (
	clockNote  = 10 * time.Second // a skew worth a warning
	clockWrong = 5 * time.Minute  // one with which certificates are refused

	mostNames    = 300 // names whose DNS is looked at
	nameParallel = 8
)

// authority looks at the CA.
func (d *doctor) authority(context.Context) []Finding {
	if len(d.ordered()) == 0 {
		return nil
	}
	ca := d.Settings.ACME.Directory
	directory, err := d.ca()
	if err != nil {
		return []Finding{found(Error, authorityCure(err), "CA %s cannot be asked: %v", ca, err)}
	}
	list := []Finding{found(OK, "", "CA %s answers", ca)}
	if directory.ExternalAccountRequired && d.Settings.ACME.EABKeyID == "" {
		list = append(list, found(Error, "set acme.eab with what the CA gave you", "the CA wants an external account binding, and acme.eab is not set"))
	}
	if profile := d.Settings.ACME.Profile; profile != "" && !slices.Contains(directory.Profiles, profile) {
		has := "the CA has none"
		if len(directory.Profiles) > 0 {
			has = "it has " + strings.Join(directory.Profiles, ", ")
		}
		list = append(list, found(Error, "change acme.profile, or remove it", "the CA does not know the profile %q; %s", profile, has))
	}
	return list
}

func authorityCure(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name " + lookup.Name + " does not resolve: check the network and acme.resolvers"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "its certificate is not valid by this machine's clock, " + time.Now().UTC().Format(time.RFC3339) + ": set the clock"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "set acme.ca_root for a private CA; if it is none, something intercepts the connection"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "check acme.ca and acme.ca_root"
	}
	return "check that this machine may open TCP connections to it (firewall, routing), and acme.ca; no proxy is used"
}

// clock compares ours with the CA's.
func (d *doctor) clock(context.Context) []Finding {
	if len(d.ordered()) == 0 {
		return nil
	}
	directory, err := d.ca()
	if err != nil {
		return nil // the step before has said so
	}
	if directory.Date.IsZero() {
		return []Finding{found(Unknown, "", "the CA does not say what time it is")}
	}
	skew := directory.Skew()
	how := "ahead of"
	if skew < 0 {
		how, skew = "behind", -skew
	}
	const cure = "let the machine keep its time by NTP (timedatectl set-ntp true)"
	switch {
	case skew > clockWrong:
		return []Finding{found(Error, cure, "this machine's clock is %v %s the CA's", skew.Truncate(time.Second), how)}
	case skew > clockNote:
		return []Finding{found(Warning, cure, "this machine's clock is %v %s the CA's", skew.Truncate(time.Second), how)}
	}
	return []Finding{found(OK, "", "the clock agrees with the CA's")}
}

// tokens tries each credential, and looks whether its zones are Cloudflare's.
func (d *doctor) tokens(ctx context.Context) []Finding {
	if d.mux == nil {
		return nil
	}
	var list []Finding
	failure := func(what string, err error) {
		level := Error
		if cloudflare.Temporary(err) {
			level = Unknown
		}
		list = append(list, found(level, cloudflare.Hint(err), "%s%v", what, err))
	}
	for _, report := range d.mux.Preflight(ctx) {
		if _, said := errors.AsType[*cloudflare.TokenError](report.TokenErr); report.TokenErr != nil && !said { // what is wrong with the file is among the configuration's problems
			failure("", report.TokenErr)
		}
		for _, zone := range report.Zones {
			if zone.Err != nil {
				failure("", zone.Err)
				continue
			}
			list = append(list, found(OK, "", "credential %q (%s token, fingerprint %s): reads zone %s", report.Credential, report.Kind, report.Fingerprint, zone.Zone))
			if elsewhere := d.delegation(ctx, zone); elsewhere != nil {
				list = append(list, *elsewhere)
			}
			if d.WriteProbe {
				if err := d.mux.ProbeWrite(ctx, zone.Zone); err != nil {
					failure("write probe: ", err)
				} else {
					list = append(list, found(OK, "", "credential %q: wrote and deleted a record in zone %s", report.Credential, zone.Zone))
				}
			}
		}
		for _, warning := range report.Warnings {
			list = append(list, found(Warning, "", "credential %q: %s", report.Credential, warning))
		}
	}
	return list
}

// delegation looks whether the public DNS asks Cloudflare about a zone.
func (d *doctor) delegation(ctx context.Context, zone cloudflare.ZoneReport) *Finding {
	public, err := d.Settings.Cloudflare.Resolver.LookupNS(ctx, zone.Zone)
	if err != nil || len(public) == 0 || len(zone.NameServers) == 0 {
		return nil // a resolver that answers no NS is no reason for alarm
	}
	var names []string
	for _, server := range public {
		names = append(names, canonicalHost(server.Host))
	}
	for _, server := range zone.NameServers {
		if slices.Contains(names, canonicalHost(server)) {
			return nil
		}
	}
	slices.Sort(names)
	f := found(Error, "set these name servers at the registrar: "+strings.Join(zone.NameServers, ", "),
		"zone %s is served by %s and not by Cloudflare: nobody sees the challenge records", zone.Zone, strings.Join(names, ", "))
	return &f
}

func canonicalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// each calls look for the names that certificates are ordered for, some at a
// time, and returns what it found in order.
func (d *doctor) each(look func(tlsmgr.Entry) []Finding) []Finding {
	names := d.ordered()
	more := len(names) - mostNames
	names = names[:min(len(names), mostNames)]
	results := make([][]Finding, len(names))
	room := make(chan struct{}, nameParallel)
	var group sync.WaitGroup
	for i, entry := range names {
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			results[i] = look(entry)
		})
	}
	group.Wait()
	list := slices.Concat(results...)
	if more > 0 {
		list = append(list, found(Note, "", "%d more names were not looked at", more))
	}
	return list
}

// caa looks whether CAA records let the CA issue, and whether the name of the
// challenge leads elsewhere.
func (d *doctor) caa(ctx context.Context) []Finding {
	directory, _ := d.ca() // the step about it has said what is wrong
	good := 0
	var mu sync.Mutex
	list := d.each(func(entry tlsmgr.Entry) []Finding {
		policy, err := d.survey.CAA(ctx, entry.Name)
		if err != nil {
			return []Finding{found(Unknown, "check acme.resolvers; the CA, too, issues nothing while CAA cannot be looked up", "%v", err)}
		}
		var own []Finding
		wildcard := strings.HasPrefix(entry.Name, "*.")
		identities := directory.CAAIdentities
		switch {
		case policy.Allows(identities, wildcard, entry.Challenge):
		case len(identities) == 0:
			own = append(own, found(Unknown, "make sure that your CA is among them", "CAA of %s lets only %s issue, and the CA does not say which name is its own", policy.Name, strings.Join(policy.Issuers(), "; ")))
		default:
			own = append(own, found(Error, fmt.Sprintf("add the record %s CAA 0 %s %q, or remove those that are there", policy.Name, issueTag(wildcard), identities[0]),
				"CAA of %s lets only %s issue: orders for %s fail", policy.Name, strings.Join(policy.Issuers(), "; "), entry.Name))
		}
		challenge := "_acme-challenge." + strings.TrimPrefix(entry.Name, "*.")
		if alias, err := d.survey.Alias(ctx, challenge); err == nil && alias != "" {
			own = append(own, found(Error, "remove that CNAME: sallyport writes the challenge record at the name itself", "%s is an alias of %s: the CA looks for the challenge record there", challenge, alias))
		}
		if len(own) == 0 {
			mu.Lock()
			good++
			mu.Unlock()
		}
		return own
	})
	if good > 0 {
		list = append(list, found(OK, "", "names for which CAA lets the CA issue: %d", good))
	}
	return list
}

func issueTag(wildcard bool) string {
	if wildcard {
		return "issuewild"
	}
	return "issue"
}

// names looks where the DNS sends visitors: here, to Cloudflare's proxy or
// elsewhere, which is advice: a router or a load balancer may be in front.
func (d *doctor) names(ctx context.Context) []Finding {
	here := ownAddresses()
	cdn := clientip.New(clientip.Options{Cloudflare: true})
	var mu sync.Mutex
	direct, proxied := 0, 0
	list := d.each(func(entry tlsmgr.Entry) []Finding {
		host := entry.Name
		if base, wild := strings.CutPrefix(host, "*."); wild {
			host = "sallyport-doctor." + base // stands for any
		}
		addresses, err := d.Settings.Cloudflare.Resolver.LookupNetIP(ctx, "ip", host)
		if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound || err == nil && len(addresses) == 0 {
			return []Finding{found(Warning, "add an A or AAAA record that leads here; certificates do not need it, visitors do", "%s has no address in the DNS", entry.Name)}
		}
		if err != nil {
			return []Finding{found(Unknown, "check acme.resolvers", "%s: %v", entry.Name, err)}
		}
		var elsewhere []string
		viaCDN := false
		for _, address := range addresses {
			address = address.Unmap()
			switch {
			case slices.Contains(here, address):
			case cdn.FromCloudflare(address):
				viaCDN = true
			default:
				elsewhere = append(elsewhere, address.String())
			}
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case len(elsewhere) > 0:
			slices.Sort(elsewhere)
			return []Finding{found(Note, "right if that is a router, a load balancer or a floating address in front of this machine; else change the A or AAAA record", "%s leads to %s, which is no address of this machine", entry.Name, strings.Join(elsewhere, ", "))}
		case viaCDN:
			proxied++
		default:
			direct++
		}
		return nil
	})
	if direct > 0 {
		list = append(list, found(OK, "", "%s to this machine", leading(direct)))
	}
	if proxied > 0 {
		list = append(list, d.behindCloudflare(proxied))
	}
	return list
}

// behindCloudflare is what is worth saying about names that Cloudflare proxies.
func (d *doctor) behindCloudflare(names int) Finding {
	if slices.Contains(d.Config.TrustedProxies, "cloudflare") {
		return found(OK, "", "%s to Cloudflare's proxy", leading(names))
	}
	return found(Warning, "add `trusted_proxies: [cloudflare]`", "%s to Cloudflare's proxy, which is not in trusted_proxies: allow, deny, rate limits and logs see its addresses and not the clients'", leading(names))
}

// ownAddresses are those of the machine's interfaces.
func ownAddresses() []netip.Addr {
	var list []netip.Addr
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, one := range interfaces {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}

// leading is "1 name leads", "2 names lead".
func leading(n int) string {
	if n == 1 {
		return "1 name leads"
	}
	return fmt.Sprintf("%d names lead", n)
}
