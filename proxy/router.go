package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// router finds the site for a host in constant time and without allocating,
// however many sites there are. It is filled by add and never changed after.
type router struct {
	exact    map[string]*site
	wildcard map[string]*site // "*.example.com" under "example.com"
}

func newRouter(sites int) *router {
	return &router{exact: make(map[string]*site, sites), wildcard: make(map[string]*site)}
}

// add makes name, exact or a wildcard for one label, lead to s.
func (t *router) add(name string, s *site) error {
	into, key := t.exact, name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		into, key = t.wildcard, rest
	}
	var buf hostBuffer
	canonical, ok := normalizeHost(&buf, key)
	if !ok {
		return fmt.Errorf("%q is not a host name", name)
	}
	if other, taken := into[string(canonical)]; taken {
		return fmt.Errorf("%q is already a name of site %q", name, other.name)
	}
	into[string(canonical)] = s
	return nil
}

// find returns the site of a normalised host, or nil. An exact name wins over
// a wildcard; a wildcard stands for exactly one label (RFC 6125 section
// 6.4.3), as in the certificate that goes with it.
func (t *router) find(host []byte) *site {
	if s, ok := t.exact[string(host)]; ok { // the compiler looks up without making a string
		return s
	}
	if i := bytes.IndexByte(host, '.'); i > 0 {
		return t.wildcard[string(host[i+1:])]
	}
	return nil
}

// Route refusals. They are values so that a flood of them costs nothing.
var (
	errBadHost     = &exchange.Refusal{Status: http.StatusBadRequest, Label: "host_invalid", Reason: "the Host field is missing or not a host name"}
	errUnknownHost = &exchange.Refusal{Status: http.StatusNotFound, Label: "host_unknown", Reason: "no site has this name"}
	errMisdirected = &exchange.Refusal{Status: http.StatusMisdirectedRequest, Label: "host_misdirected", Reason: "the request is for another site than the connection"}
)

// route returns the site that a request is for.
//
// Over TLS the Host must belong to the same site as the server name of the
// handshake, else the answer is 421 (RFC 9110 section 7.4): what was agreed on
// in the handshake (certificate, and later client certificates) holds for that
// site only. Two names of one site, aliases or one wildcard, may share a
// connection, which is the coalescing of RFC 9113 section 9.1.1; a browser that
// coalesced too far repeats the request on a new connection when told 421.
// A client that sent no server name got a certificate all the same, and is
// routed by Host alone.
func (t *router) route(r *http.Request) (*site, error) {
	var buf hostBuffer
	host, ok := normalizeHost(&buf, r.Host)
	if !ok {
		return nil, errBadHost
	}
	found := t.find(host)
	if r.TLS == nil || r.TLS.ServerName == "" {
		if found == nil {
			return nil, errUnknownHost
		}
		return found, nil
	}
	if found == nil {
		return nil, errMisdirected
	}
	if r.TLS.ServerName == r.Host { // nearly always
		return found, nil
	}
	var other hostBuffer
	if sni, ok := normalizeHost(&other, r.TLS.ServerName); !ok || t.find(sni) != found {
		return nil, errMisdirected
	}
	return found, nil
}
