package proxy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// forward is the action that sends requests to a server and copies its
// responses back.
type forward struct {
	proxy   *Proxy
	to      http.RoundTripper // sets scheme and host of the request's URL
	tunnels *tunnels          // where upgraded connections are kept
	silence time.Duration     // that an upgraded connection may keep; 0 is no limit
	at      origin
}

// ServeHTTP forwards one request.
func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	early := &informer{w: w, r: r}
	x := exchange.Of(r)
	x.Upstream, x.Server = f.at.upstream, f.at.server
	out, body := outgoing(x, r, early)
	if body != nil {
		// The server may answer before it has read everything, and both may
		// talk at the same time. HTTP/2 does so anyway.
		_ = http.NewResponseController(w).EnableFullDuplex()
		defer body.release(w)
	}
	protocol := upgradeAsked(r)
	if protocol != "" {
		out.Header["Connection"] = []string{"Upgrade"}
		out.Header["Upgrade"] = []string{protocol}
	}
	res, err := f.send(x, out)
	early.end()
	if err == nil {
		err = checkStatus(res, protocol)
	}
	if err == nil && protocol != "" && r.ProtoMajor > 1 {
		err = checkSocket(res, out.Header.Get("Sec-Websocket-Key"))
	}
	if err != nil {
		f.fail(w, r, body, err)
		return
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		f.upgrade(w, r, res)
		return
	}
	f.respond(w, r, res, body)
}

// send sends a request and writes down which server answered, after how many
// attempts and how much time.
func (f *forward) send(x *exchange.Exchange, out *http.Request) (*http.Response, error) {
	begun := time.Now()
	if to, ok := f.to.(interface {
		Send(*http.Request) (*http.Response, upstream.Outcome, error)
	}); ok {
		res, outcome, err := to.Send(out)
		x.Server, x.Attempts, x.UpstreamTime = cmp.Or(outcome.Server, x.Server), outcome.Attempts, time.Since(begun)
		return res, err
	}
	res, err := f.to.RoundTrip(out)
	x.Attempts, x.UpstreamTime = 1, time.Since(begun)
	return res, err
}

// fail answers a failure before the response began. A client's broken body is
// the cause of whatever the engine made of it.
func (f *forward) fail(w http.ResponseWriter, r *http.Request, body *requestBody, err error) {
	if broken := body.failure(); broken != nil {
		err = broken
	}
	if r.GetBody != nil || body != nil && !body.unread() {
		r = r.WithContext(r.Context()) // a copy: the request is the server's
		r.Body = http.NoBody           // so that the connection may be kept
	}
	f.proxy.fail(w, r, err)
}

// outgoing makes the request for the server behind. The body is nil if there
// is none.
func outgoing(x *exchange.Exchange, r *http.Request, early *informer) (*http.Request, *requestBody) {
	out := (&http.Request{
		Method:        r.Method,
		URL:           outgoingURL(r),
		Host:          r.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        requestHeader(x, r),
		ContentLength: r.ContentLength,
		RemoteAddr:    balancingAddress(x, r),
	}).WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: early.pass}))
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

// outgoingURL holds the target in the form in which it is sent on verbatim;
// see settle for those that are not of the common form. The server fills
// in scheme and host.
func outgoingURL(r *http.Request) *url.URL {
	if strings.HasPrefix(r.RequestURI, "/") && !strings.HasPrefix(r.RequestURI, "//") {
		path, query, has := strings.Cut(r.RequestURI, "?")
		return &url.URL{Opaque: path, RawQuery: query, ForceQuery: has}
	}
	return &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
}

// checkStatus refuses responses that cannot be passed on.
func checkStatus(res *http.Response, protocol string) error {
	var err error
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		err = checkUpgrade(res, protocol)
	case res.StatusCode < 200 || res.StatusCode > 999:
		err = errBadStatus
	}
	if err != nil {
		_ = res.Body.Close()
		err = answeredBy(res, err)
	}
	return err
}

// respond copies a response to the client.
func (f *forward) respond(w http.ResponseWriter, r *http.Request, res *http.Response, body *requestBody) {
	defer res.Body.Close()
	h := w.Header()
	copyResponseHeader(h, res.Header)
	announceTrailers(h, res.Trailer)
	if r.ProtoMajor == 1 && body.unread() {
		// Whether the rest of the body will be well-formed is not known, so
		// nothing after it may be taken for a request.
		h["Connection"] = []string{"close"}
	}
	defer patient(w, r, res)()
	w.WriteHeader(res.StatusCode)
	if err := f.copyBody(w, r, res); err != nil {
		if broken := body.failure(); broken != nil {
			err = fmt.Errorf("%w (%w)", broken, err)
		}
		f.proxy.cut(r, answeredBy(res, err))
	}
	setTrailers(h, res.Trailer)
}

// copyBody copies a response's body. What has no announced length may be a
// stream that somebody watches, so each piece of it is pushed out as it comes;
// with a length, pushing is left to the buffers' being full, which is cheaper.
func (f *forward) copyBody(w http.ResponseWriter, r *http.Request, res *http.Response) error {
	if r.Method == http.MethodHead || res.Body == http.NoBody {
		return nil
	}
	c := f.proxy.copiers.Get().(*copier)
	defer c.release(&f.proxy.copiers)
	if err := c.begin(w, res.Body, streams(res)); err != nil {
		return &deliveryError{err}
	}
	err := c.copy(res.Body, &f.proxy.buffers)
	switch {
	case c.failed != nil:
		return &deliveryError{c.failed}
	case err != nil:
		return fmt.Errorf("%w: %w", errTruncated, err)
	}
	return nil
}

// streams reports whether a response is to be pushed out piece by piece.
func streams(res *http.Response) bool {
	if res.ContentLength >= 0 && len(res.Trailer) == 0 {
		return strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
	}
	return true
}

// mostInformational bounds the 1xx responses to one request.
const mostInformational = 32

// informer passes informational responses (103 Early Hints, 102) on while the
// final one is awaited. The engine calls pass on its own goroutine.
type informer struct {
	w http.ResponseWriter
	r *http.Request

	mu    sync.Mutex
	count int
	ended bool
}

// pass sends one informational response to the client.
func (i *informer) pass(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended || status == http.StatusContinue || !i.r.ProtoAtLeast(1, 1) {
		return nil // 100 is sent by our own server, when the engine begins to read the body
	}
	if i.count++; i.count > mostInformational {
		return errTooMany1xx
	}
	h := i.w.Header()
	kept := maps.Clone(h)
	clear(h)
	for name, values := range header {
		if !hopByHop(name) {
			h[name] = values
		}
	}
	i.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, kept)
	return nil
}

// end makes sure that nothing is passed on any more.
func (i *informer) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}
