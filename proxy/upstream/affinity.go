package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// KeyKind is what consistent hashing goes by.
type KeyKind uint8

// The kinds.
const (
	KeyClient KeyKind = iota // the client's address: IPv4, or the /64 of IPv6
	KeyHeader                // a field of the request
	KeyCookie                // a cookie
)

// key returns the request's key for consistent hashing.
func (p *Pool) key(req *http.Request) uint64 {
	value := ""
	switch p.options.Key {
	case KeyClient:
		return clientKey(req.RemoteAddr)
	case KeyHeader:
		if strings.EqualFold(p.options.KeyName, "Host") {
			value = req.Host
		} else if values := req.Header[p.options.KeyName]; len(values) > 0 {
			value = values[0]
		}
	case KeyCookie:
		value = cookie(req.Header, p.options.KeyName)
	}
	if value == "" {
		return balance.NoKey
	}
	return balance.Key(value)
}

// clientKey is the same for all addresses of one IPv6 /64, because that is
// what one household has, and its devices change their addresses daily.
func clientKey(address string) uint64 {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return balance.NoKey
	}
	ip = ip.Unmap().WithZone("")
	bytes, most := ip.As16(), 16
	if ip.Is6() {
		most = 8
	}
	key := uint64(0)
	for _, b := range bytes[:most] {
		key = (key ^ uint64(b)) * 1099511628211
	}
	return key | 1
}

// cookie returns the value of a request's first cookie of that name (RFC 6265
// section 4.2.1), "" if there is none. It allocates nothing.
func cookie(h http.Header, name string) string {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			pair = strings.TrimLeft(pair, " \t")
			if len(pair) > len(name) && pair[len(name)] == '=' && pair[:len(name)] == name {
				return strings.Trim(pair[len(name)+1:], `" `)
			}
		}
	}
	return ""
}

// stickyValue is what a client is told instead of the server's address. It is
// the same in every process, so that neither a restart nor a second proxy tears
// sessions away. It is opaque but no secret: who guesses an address can tell
// that the guess was right.
func stickyValue(upstream, address string) string {
	sum := sha256.Sum256([]byte("sallyport sticky\x00" + upstream + "\x00" + address))
	return hex.EncodeToString(sum[:8])
}

// stuckTo returns the member that the request's cookie leads to, -1 if none.
func (p *Pool) stuckTo(req *http.Request) int {
	value := cookie(req.Header, p.options.StickyCookie)
	if value == "" {
		return -1
	}
	for i, each := range p.sticky {
		if each == value {
			return i
		}
	}
	return -1
}

// stick tells the client to come back to a member. Secure, because plain HTTP
// serves nothing here; HttpOnly, because no script needs it.
func (p *Pool) stick(res *http.Response, member int) {
	res.Header.Add("Set-Cookie", p.options.StickyCookie+"="+p.sticky[member]+"; Path=/; Secure; HttpOnly; SameSite=Lax")
}
