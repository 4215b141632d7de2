package proxy

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// mostInformational bounds the 1xx responses to one request.
const mostInformational = 32

// usualFields is how many fields a request has at most for its map to be worth
// keeping.
const usualFields = 64

// passage is one request on its way to a server: all that is made for it, in
// one piece, which nearly always is one that has been used before. It is the context of the request that is sent, and passes
// informational responses (103 Early Hints, 102) on while the final one is
// awaited. The engine calls Inform on a goroutine of its own.
type passage struct {
	context.Context
	w http.ResponseWriter
	r *http.Request

	out    http.Request
	url    url.URL
	client [4]string // what the server is told of the client

	mu    sync.Mutex
	count int
	ended bool
}

// Value implements [context.Context].
func (p *passage) Value(key any) any {
	if key == (h1.InformerKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// AfterFunc is what derived contexts and the engine look for: see
// [exchange.Carrier.AfterFunc].
func (p *passage) AfterFunc(f func()) func() bool { return exchange.AfterFunc(p.Context, f) }

// outgoing makes the request for the server behind, with a map for its fields
// from headers. The body is nil if there is none.
func (p *passage) outgoing(x *exchange.Exchange, headers *sync.Pool) (*http.Request, *requestBody) {
	r, out := p.r, &p.out
	p.setURL()
	*out = *(&http.Request{
		Method:        r.Method,
		URL:           &p.url,
		Host:          r.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        headers.Get().(http.Header),
		ContentLength: r.ContentLength,
		RemoteAddr:    balancingAddress(x, r),
	}).WithContext(p)
	p.setHeader(x)
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return out, nil // nil rather than empty: the engine may then retry on a stale connection
	}
	if r.GetBody != nil && len(r.Trailer) == 0 {
		out.Body, out.GetBody = r.Body, r.GetBody // buffered: the client has said all
		return out, nil
	}
	if r.ContentLength < 0 || len(r.Trailer) > 0 {
		out.ContentLength = -1
		delete(out.Header, "Content-Length")
		out.Trailer = allowedTrailers(r.Trailer, x.Reserved) // those announced; the values follow the body
	}
	body := &requestBody{in: r, reserved: x.Reserved, end: cmp.Or(x.Original, r), out: out}
	out.Body = body
	return out, body
}

// recycle gives all of it back. Nobody may look at it any more: see
// [h1.Recycler].
func (p *passage) recycle(to *Proxy) {
	if h := p.out.Header; len(h) <= usualFields {
		clear(h)
		to.headers.Put(h)
	}
	*p = passage{}
	to.passages.Put(p)
}

// setURL takes the target in the form in which it is sent on verbatim; see
// target.Settle for those that are not of the common form. The server fills in
// scheme and host.
func (p *passage) setURL() {
	r := p.r
	if strings.HasPrefix(r.RequestURI, "/") && !strings.HasPrefix(r.RequestURI, "//") {
		p.url.Opaque, p.url.RawQuery, p.url.ForceQuery = strings.Cut(r.RequestURI, "?")
		return
	}
	p.url = url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
}

// setHeader fills in the fields for the server behind: the client's end to end
// ones, whose values are shared, and our own about the client.
func (p *passage) setHeader(x *exchange.Exchange) {
	r, out := p.r, p.out.Header
	for name, values := range r.Header {
		if !hopByHop(name) {
			out[name] = values
		}
	}
	if asksForTrailers(r.Header["Te"]) {
		out["Te"] = []string{"trailers"} // gRPC insists on it
	}
	if r.ContentLength == 0 {
		delete(out, "Expect") // nothing to continue with
	}
	client := clientText(x, r)
	p.client = [...]string{client, x.Scheme(), r.Host, forwardedFor(x, client)}
	out["X-Forwarded-For"] = p.client[3:4:4]
	out["X-Real-Ip"] = p.client[0:1:1]
	out["X-Forwarded-Proto"] = p.client[1:2:2]
	out["X-Forwarded-Host"] = p.client[2:3:3]
}

// Inform sends one informational response to the client; see [h1.Informer].
func (p *passage) Inform(status int, header http.Header) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || status == http.StatusContinue || !p.r.ProtoAtLeast(1, 1) {
		return nil // 100 is sent by our own server, when the engine begins to read the body
	}
	if p.count++; p.count > mostInformational {
		return failure.ErrTooManyInformational
	}
	h := p.w.Header()
	kept := maps.Clone(h)
	clear(h)
	for name, values := range header {
		if !hopByHop(name) {
			h[name] = values
		}
	}
	p.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, kept)
	return nil
}

// end makes sure that nothing is passed on any more.
func (p *passage) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}
