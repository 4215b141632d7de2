package routing

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Named is a site, as far as [Hosts] needs to know it: something to compare,
// whose zero value is no site, with the name by which errors call it.
type Named interface {
	comparable
	Name() string
}

// Hosts finds the site for a host in constant time and without allocating,
// however many sites there are. It is filled by Add and never changed after.
type Hosts[S Named] struct {
	exact    map[string]S
	wildcard map[string]S // "*.example.com" under "example.com"
}

// NewHosts returns an empty table with room for so many sites.
func NewHosts[S Named](sites int) *Hosts[S] {
	return &Hosts[S]{exact: make(map[string]S, sites), wildcard: make(map[string]S)}
}

// Add makes name, exact or a wildcard for one label, lead to s. What is no host
// name, or leads to a site already, is an error, and nothing is added.
func (t *Hosts[S]) Add(name string, s S) error {
	into, key := t.exact, name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		into, key = t.wildcard, rest
	}
	var buf HostBuffer
	canonical, ok := Host(&buf, key)
	if !ok {
		return fmt.Errorf("%q is not a host name", name)
	}
	if other, taken := into[string(canonical)]; taken {
		return fmt.Errorf("%q is already a name of site %q", name, other.Name())
	}
	into[string(canonical)] = s
	return nil
}

// Find returns the site of a host that [Host] made canonical, or the zero
// value. An exact name wins over a wildcard; a wildcard stands for exactly one
// label (RFC 6125 section 6.4.3), as in the certificate that goes with it.
func (t *Hosts[S]) Find(host []byte) S {
	if s, ok := t.exact[string(host)]; ok { // the compiler looks up without making a string
		return s
	}
	if i := bytes.IndexByte(host, '.'); i > 0 {
		return t.wildcard[string(host[i+1:])]
	}
	var none S
	return none
}

// The refusals of [Hosts.Of]. They are values so that a flood of them costs
// nothing.
var (
	ErrHost        = &exchange.Refusal{Status: http.StatusBadRequest, Label: "host_invalid", Reason: "the Host field is missing or not a host name"}
	ErrUnknown     = &exchange.Refusal{Status: http.StatusNotFound, Label: "host_unknown", Reason: "no site has this name"}
	ErrMisdirected = &exchange.Refusal{Status: http.StatusMisdirectedRequest, Label: "host_misdirected", Reason: "the request is for another site than the connection"}
)

// Of returns the site that a request is for.
//
// Over TLS the Host must belong to the same site as the server name of the
// handshake, else the answer is 421 (RFC 9110 section 7.4): what was agreed on
// in the handshake (certificate, and later client certificates) holds for that
// site only. Two names of one site, aliases or one wildcard, may share a
// connection, which is the coalescing of RFC 9113 section 9.1.1; a browser that
// coalesced too far repeats the request on a new connection when told 421.
// A client that sent no server name got a certificate all the same, and is
// routed by Host alone.
func (t *Hosts[S]) Of(r *http.Request) (S, error) {
	var none S
	var buf HostBuffer
	host, ok := Host(&buf, r.Host)
	if !ok {
		return none, ErrHost
	}
	found := t.Find(host)
	if r.TLS == nil || r.TLS.ServerName == "" {
		if found == none {
			return none, ErrUnknown
		}
		return found, nil
	}
	if found == none {
		return none, ErrMisdirected
	}
	if r.TLS.ServerName == r.Host { // nearly always
		return found, nil
	}
	var other HostBuffer
	if sni, ok := Host(&other, r.TLS.ServerName); !ok || t.Find(sni) != found {
		return none, ErrMisdirected
	}
	return found, nil
}
