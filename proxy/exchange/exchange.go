package exchange

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// Exchange is what is known of one request. Fields that are not known yet are
// zero.
type Exchange struct {
	// ID is the request's id: 32 hexadecimal digits, always ours.
	ID string

	// Started is when the request's head had been read.
	Started time.Time

	// Peer is the other end of the connection.
	Peer netip.AddrPort

	// Client is who asks: the peer's address or, if the peer is trusted to say
	// so, the one that it names. Never an IPv4-mapped IPv6 address, never with
	// a zone.
	Client netip.Addr

	// ForwardedFor is the chain of addresses for the server behind, from the
	// client to the peer, if trusted proxies are in it, or "".
	ForwardedFor string

	// Reserved are the fields, in canonical form, that tell the server behind
	// who a client is, on any site. A client's own are removed.
	Reserved []string

	// Secure says that the client speaks TLS, to us or to a trusted peer.
	Secure bool

	// Target is the request target as it came, before any rewriting.
	Target string

	// Site is the name of the site, and Route that of the route in it, as the
	// configuration has them.
	Site, Route string

	// Captures are the groups of the route's path_regexp; 0 is the whole match.
	// Nil if it has none.
	Captures []string

	// User is who the client has proven to be, or "".
	User string

	// Upstream is the name of the upstream and Server the address of the server
	// that answered; Attempts is how often the request was sent, and
	// UpstreamTime how long it took from the first attempt to the response's
	// head.
	Upstream, Server string
	Attempts         int
	UpstreamTime     time.Duration

	// Status is the final status that was sent, 0 before; Sent is how many
	// bytes of body went after it, before any transfer coding.
	Status int
	Sent   int64

	// Failure is the label of what went wrong, from a closed set, or "".
	Failure string

	// Pages answers failures in the site's own way. Set by the route; nil, or
	// false, leaves it to the proxy's plain page.
	Pages Pages

	// Refuser answers what Refuse is called with. Set by the proxy; nil answers
	// with the bare status.
	Refuser Refuser

	// Original is the request as the server made it, of which others are
	// copies: what comes after a body (Trailer) is put there. Nil in tests
	// without a server.
	Original *http.Request

	hooks []HeadHook
	room  [4]HeadHook // for the first hooks
}

// Refuser answers a request that cannot be served, logs why if that is due, and
// counts it. Nothing of a response has been sent yet, but fields of its header
// that belong to the refusal (WWW-Authenticate, Retry-After) may be set.
type Refuser interface {
	Refuse(w http.ResponseWriter, r *http.Request, err error)
}

// Pages answers failures with pages of a site's own.
type Pages interface {
	// Page answers with a status, or returns false having sent nothing. Fields
	// that belong to the refusal are in w.Header() and stay.
	Page(w http.ResponseWriter, r *http.Request, status int) bool
}

// HeadHook changes the head of the final response before it is sent, whoever
// made it: an application, a cache, or we ourselves with an error page.
type HeadHook interface {
	// Head may change h, but not the values in it in place: a cache may hold
	// them. The status is final; 1xx are not shown, except 101.
	Head(r *http.Request, status int, h http.Header)
}

// OnHead adds a hook. Hooks run in the reverse of the order in which they were
// added, so that who stands further out has the last word.
func (x *Exchange) OnHead(hook HeadHook) {
	if x.hooks == nil {
		x.hooks = x.room[:0]
	}
	x.hooks = append(x.hooks, hook)
}

// Head runs the hooks. The writer that the proxy hands down calls it once.
func (x *Exchange) Head(r *http.Request, status int, h http.Header) {
	for i := len(x.hooks) - 1; i >= 0; i-- {
		x.hooks[i].Head(r, status, h)
	}
}

// Detached returns a copy for a request of our own that goes on when the
// client's has been answered: the same, but without hooks, and not shared.
func (x *Exchange) Detached() *Exchange {
	own := *x
	own.hooks = nil
	own.Status, own.Sent = 0, 0
	return &own
}

// Scheme is "https" or "http", as the client sees it.
func (x *Exchange) Scheme() string {
	if x.Secure {
		return "https"
	}
	return "http"
}

type contextKey struct{}

// Value is the exchange itself to whoever looks for it, else nil: a context that
// carries x asks here.
func (x *Exchange) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return x
	}
	return nil
}

// Carrier is a context that carries an exchange, for whoever makes one for every
// request and wants to allocate once.
type Carrier struct {
	context.Context
	Exchange *Exchange
}

// Value is what [context.Context] says.
func (c *Carrier) Value(key any) any {
	if x := c.Exchange.Value(key); x != nil {
		return x
	}
	return c.Context.Value(key)
}

// AfterFunc is what derived contexts and [context.AfterFunc] look for: without
// it each would need a goroutine to wait for a context that is not the standard
// library's own. f must not wait for anything.
func (c *Carrier) AfterFunc(f func()) func() bool { return AfterFunc(c.Context, f) }

// AfterFunc does what [context.AfterFunc] does, without a detour if the context
// can do it by itself; then f is called on whatever goroutine ends the context.
func AfterFunc(ctx context.Context, f func()) func() bool {
	if own, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// With returns a copy of r whose context holds x.
func With(r *http.Request, x *Exchange) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), contextKey{}, x))
}

// Of returns the exchange of a request. It is never nil: a request that did not
// come through the proxy (in a test) gets a new one, with what r itself tells.
func Of(r *http.Request) *Exchange {
	if x, ok := r.Context().Value(contextKey{}).(*Exchange); ok {
		return x
	}
	return New(r)
}

// New returns the exchange of a request that has just come: peer, client,
// scheme and target are set, as if nobody were trusted.
func New(r *http.Request) *Exchange {
	x := new(Exchange)
	x.Fill(r)
	return x
}

// peered is the context of a server that has read r.RemoteAddr once for all
// requests of a connection.
type peered interface{ Peer() netip.AddrPort }

// timed is the context of a server that has looked at the clock already.
type timed interface{ Began() time.Time }

// Fill is New for an exchange that is there already. Started is set only if the
// server knows it.
func (x *Exchange) Fill(r *http.Request) {
	x.Secure, x.Target = r.TLS != nil, r.RequestURI
	if server, ok := r.Context().(timed); ok {
		x.Started = server.Began()
	}
	if server, ok := r.Context().(peered); ok {
		x.Peer = server.Peer()
	} else {
		x.Peer, _ = netip.ParseAddrPort(r.RemoteAddr)
	}
	x.Client = x.Peer.Addr().Unmap().WithZone("")
}
