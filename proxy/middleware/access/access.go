package access

import (
	"net/http"
	"net/netip"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/cidr"
)

// Options says who may pass. Deny is looked at first, whatever the order in the
// file: a denied address stays out even if it is allowed too.
type Options struct {
	// Allow are the addresses that may pass. Nil means everybody who is not
	// denied; empty, but not nil, nobody.
	Allow []netip.Prefix

	// Deny are those that may not.
	Deny []netip.Prefix
}

var errDenied = &exchange.Refusal{
	Status: http.StatusForbidden, Label: "address_denied", Reason: "the client's address is not let in here",
	Hint: "allow and deny of the site or route decide; is client in this line who you expect? If it is a proxy, list that in trusted_proxies",
}

// New returns the gate. The client is the one that exchange knows, so behind a
// trusted proxy it is not the proxy. Refused requests get 403 with the label
// address_denied. Without rules the handler is returned as it is.
func New(o Options) func(http.Handler) http.Handler {
	if o.Allow == nil && len(o.Deny) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	allow, deny, all := cidr.Of(o.Allow...), cidr.Of(o.Deny...), o.Allow == nil
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client := exchange.Of(r).Client
			// An address that is not known is nobody's: not of those allowed,
			// and not to be trusted not to be of those denied.
			if !client.IsValid() || deny.Contains(client) || !all && !allow.Contains(client) {
				exchange.Refuse(w, r, errDenied)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
