package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/tunnel"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/h1"
)

// forward is the action that sends requests to a server and copies its
// responses back.
type forward struct {
	proxy   *Proxy
	to      http.RoundTripper // sets scheme and host of the request's URL
	tunnels *tunnel.Set       // where upgraded connections are kept
	silence time.Duration     // that an upgraded connection may keep; 0 is no limit
	at      failure.Origin

	host     string         // to send: "" or client for the client's, upstream for the server's own
	upgrades []string       // protocols to switch to, beside websocket
	patience *time.Duration // until the response begins; nil: as of the server
}

// ServeHTTP forwards one request.
func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange.Of(r)
	x.Upstream, x.Server = f.at.Upstream, f.at.Server
	trip := f.proxy.passages.Get().(*passage)
	trip.Context, trip.w, trip.r = r.Context(), w, r
	out, body := trip.outgoing(x, &f.proxy.headers)
	if body != nil {
		// The server may answer before it has read everything, and both may
		// talk at the same time. HTTP/2 does so anyway.
		_ = http.NewResponseController(w).EnableFullDuplex()
		defer body.release(w)
	}
	f.adapt(out)
	protocol := upgradeAsked(r, f.upgrades)
	if protocol != "" {
		out.Header["Connection"] = []string{"Upgrade"}
		out.Header["Upgrade"] = []string{protocol}
	}
	res, err := f.send(x, out)
	trip.end()
	if err == nil {
		err = checkStatus(res, protocol)
	}
	if err == nil && protocol != "" && r.ProtoMajor > 1 {
		err = tunnel.CheckAccept(res, out.Header.Get("Sec-Websocket-Key"))
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
	if own, ok := res.Body.(h1.Recycler); ok && x.Attempts == 1 && body == nil && own.Recycle() {
		trip.recycle(f.proxy)
	}
}

// adapt makes of a request what the route asks for beyond its fields.
func (f *forward) adapt(out *http.Request) {
	switch f.host {
	case "", "client":
	case "upstream":
		out.Host = "" // engines send the URL's, which is the server's
	default:
		out.Host = f.host
	}
	if f.patience != nil {
		*out = *out.WithContext(upstream.WithResponseTimeout(out.Context(), *f.patience))
	}
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

// checkStatus refuses responses that cannot be passed on.
func checkStatus(res *http.Response, protocol string) error {
	var err error
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		err = checkUpgrade(res, protocol)
	case res.StatusCode < 200 || res.StatusCode > 999:
		err = failure.ErrBadStatus
	}
	if err != nil {
		_ = res.Body.Close()
		err = failure.AnsweredBy(res, err)
	}
	return err
}

// respond copies a response to the client.
func (f *forward) respond(w http.ResponseWriter, r *http.Request, res *http.Response, body *requestBody) {
	defer res.Body.Close()
	piecewise := streams(res) // before anybody changes the header, which may be that of the answer
	h := answerHeader(w, res.Header)
	announceTrailers(h, res.Trailer)
	if r.ProtoMajor == 1 && body.unread() {
		// Whether the rest of the body will be well-formed is not known, so
		// nothing after it may be taken for a request.
		h["Connection"] = []string{"close"}
	}
	defer patient(w, r, res)()
	w.WriteHeader(res.StatusCode)
	if err := f.copyBody(w, r, res, piecewise); err != nil {
		if broken := body.failure(); broken != nil {
			err = fmt.Errorf("%w (%w)", broken, err)
		}
		f.proxy.cut(r, failure.AnsweredBy(res, err))
	}
	setTrailers(h, res.Trailer)
}

// copyBody copies a response's body. What has no announced length may be a
// stream that somebody watches, so each piece of it is pushed out as it comes;
// with a length, pushing is left to the buffers' being full, which is cheaper.
func (f *forward) copyBody(w http.ResponseWriter, r *http.Request, res *http.Response, piecewise bool) error {
	if r.Method == http.MethodHead || res.Body == http.NoBody {
		return nil
	}
	c := f.proxy.copiers.Get().(*copier)
	defer c.release(&f.proxy.copiers)
	if err := c.begin(w, res.Body, piecewise); err != nil {
		return &failure.Delivery{Err: err}
	}
	err := c.copy(res.Body, &f.proxy.buffers)
	switch {
	case c.failed != nil:
		return &failure.Delivery{Err: c.failed}
	case err != nil:
		return fmt.Errorf("%w: %w", failure.ErrTruncated, err)
	}
	return nil
}

// streams reports whether a response is to be pushed out piece by piece.
func streams(res *http.Response) bool {
	if res.ContentLength >= 0 && len(res.Trailer) == 0 {
		return eventStream(res.Header)
	}
	return true
}
