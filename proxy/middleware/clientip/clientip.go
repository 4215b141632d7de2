package clientip

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/middleware/cidr"
)

// Options says who may speak for a client.
type Options struct {
	// Proxies are the addresses of proxies that are believed.
	Proxies []netip.Prefix

	// Cloudflare adds Cloudflare's own addresses, as of [CloudflareDate], and
	// believes CF-Connecting-IP from those, and only those.
	Cloudflare bool
}

// Trust knows which peers are believed.
type Trust struct {
	proxies    cidr.Set // all, Cloudflare's included
	cloudflare cidr.Set
}

// New returns a Trust. With no proxies at all it believes nobody.
func New(o Options) *Trust {
	t := &Trust{}
	all := o.Proxies
	if o.Cloudflare {
		ranges := cloudflareRanges()
		t.cloudflare = cidr.Of(ranges...)
		all = append(ranges, all...)
	}
	t.proxies = cidr.Of(all...)
	return t
}

// Claim is what is known of a client.
type Claim struct {
	// Client is the client's address, without zone, never IPv4-mapped.
	Client netip.Addr

	// Secure says whether the client speaks TLS.
	Secure bool

	// Via are the trusted proxies between the client and us, the one nearest to
	// the client first and the peer last. Nil if the peer is the client.
	Via []netip.Addr
}

// ErrContradiction is returned when a trusted proxy's X-Forwarded-For and
// Forwarded name different clients. A proxy writes one of the two and passes the
// other on as it came from the client, and nothing here can tell which.
var ErrContradiction = errors.New("X-Forwarded-For and Forwarded name different clients")

// ErrMalformed is returned when an element that somebody trusted must have
// written is no address. To take the proxy for the client then would let a
// client that can spoil the field (a quote that is never closed) pass for the
// proxy, in an allow list for example.
var ErrMalformed = errors.New("X-Forwarded-For or Forwarded of a trusted proxy is malformed")

// mostHops is how many addresses of a chain are looked at. No real chain is
// longer; one that is ends there.
const mostHops = 32

// Resolve returns who asks, given the peer's address, whether the connection to
// us is TLS, and the request's header as it came. From a peer that is not
// trusted the header is not read. A nil Trust trusts nobody.
//
// The error is [ErrContradiction] or [ErrMalformed], and the request is to be
// refused; the claim then is as if nobody were trusted.
func (t *Trust) Resolve(peer netip.Addr, secure bool, h http.Header) (Claim, error) {
	peer = peer.Unmap().WithZone("")
	own := Claim{Client: peer, Secure: secure}
	if t == nil || !t.proxies.Contains(peer) {
		return own, nil
	}
	claim := own
	if proto, ok := lastItem(h["X-Forwarded-Proto"]); ok {
		claim.Secure = isSecure(proto, secure)
	}
	if t.cloudflare.Contains(peer) {
		// Cloudflare writes this field itself, whatever the client sent.
		if values := h["Cf-Connecting-Ip"]; len(values) == 1 {
			if client, err := netip.ParseAddr(values[0]); err == nil && client.Zone() == "" {
				claim.Client, claim.Via = client.Unmap(), []netip.Addr{peer}
				return claim, nil
			}
		}
	}
	common, standard := h["X-Forwarded-For"], h["Forwarded"]
	if len(common) > 0 {
		if err := t.follow(&claim, newXFF(common)); err != nil {
			return own, err
		}
	}
	if len(standard) == 0 {
		return claim, nil
	}
	other := own
	other.Secure = claim.Secure
	if err := t.follow(&other, newForwarded(standard)); err != nil {
		return own, err
	}
	if len(common) > 0 && other.Client != claim.Client {
		return own, ErrContradiction
	}
	return other, nil
}

// chain yields the hops of a forwarding field from the right.
type chain interface {
	// next returns io.EOF at the left end, and at an element that hides the
	// address ("unknown"), as RFC 7239 section 6 allows.
	next() (hop, error)
}

// hop is one element of a chain: who spoke to the proxy that wrote it, and how.
type hop struct {
	address netip.Addr
	proto   string // "" if not said
}

// follow walks a chain from the right while the one who wrote the next element
// is trusted. claim.Client is the peer's address to begin with.
func (t *Trust) follow(claim *Claim, c chain) error {
	own := claim.Secure
	for range mostHops {
		if !t.proxies.Contains(claim.Client) {
			break
		}
		h, err := c.next()
		if err == io.EOF {
			break // the client is the last one that somebody trusted named
		}
		if err != nil {
			return err
		}
		claim.Via = append(claim.Via, claim.Client)
		claim.Client = h.address
		if h.proto != "" {
			claim.Secure = isSecure(h.proto, own)
		}
	}
	slices.Reverse(claim.Via) // nearest to the client first
	return nil
}

// isSecure reads a protocol's name; one that is neither leaves what is known.
func isSecure(proto string, known bool) bool {
	switch {
	case strings.EqualFold(proto, "https"), strings.EqualFold(proto, "wss"):
		return true
	case strings.EqualFold(proto, "http"), strings.EqualFold(proto, "ws"):
		return false
	}
	return known
}

// lastItem returns the last item of a list field: what the peer itself wrote.
func lastItem(lines []string) (string, bool) {
	if len(lines) == 0 {
		return "", false
	}
	line := lines[len(lines)-1]
	return strings.Trim(line[strings.LastIndexByte(line, ',')+1:], " \t"), true
}

// Trusted reports whether a peer is believed.
func (t *Trust) Trusted(peer netip.Addr) bool { return t != nil && t.proxies.Contains(peer) }

// FromCloudflare reports whether a peer is one of Cloudflare's, and these are
// trusted.
func (t *Trust) FromCloudflare(peer netip.Addr) bool { return t != nil && t.cloudflare.Contains(peer) }

// ForwardedFor returns the value of X-Forwarded-For for the server behind: the
// client and the proxies after it, the peer included, which is what our own
// place in the chain adds. Nothing that an untrusted party wrote is in it.
func (c Claim) ForwardedFor() string {
	if len(c.Via) == 0 {
		return c.Client.String()
	}
	list := make([]byte, 0, 16*(1+len(c.Via)))
	list = c.Client.AppendTo(list)
	for _, proxy := range c.Via {
		list = append(list, ", "...)
		list = proxy.AppendTo(list)
	}
	return string(list)
}
