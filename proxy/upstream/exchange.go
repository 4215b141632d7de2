package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// exchange is one request on its way through a pool.
type exchange struct {
	pool     *Pool
	req      *http.Request // of this attempt
	original *http.Request // with the client's body; nil where there is none
	body     *onceBody     // likewise

	tried    balance.Set // since the beginning or the last hold
	attempts int
	refused  balance.Set // of tried, those that were not there
	deadline time.Time   // of holding
	last     error
	outcome  Outcome
}

// Outcome is how a request fared in a pool.
type Outcome struct {
	// Server is the address of the last server tried, "" if there was none.
	Server string

	// Attempts is how often the request was sent, or tried to be.
	Attempts int
}

func (x *exchange) run() (*http.Response, error) {
	for {
		i, err := x.choose()
		if i < 0 {
			if !x.wait() {
				return nil, x.failure(err)
			}
			continue
		}
		res, err := x.attempt(i)
		if err == nil && !x.repeatStatus(i, res) {
			return res, nil
		}
		if err != nil && !x.repeat(i, err) {
			return nil, err
		}
		x.renew()
	}
}

// choose picks a member. None is left if it is below 0; err then says why, if
// no server was tried at all.
func (x *exchange) choose() (int, error) {
	p := x.pool
	allowed := p.candidates(&x.tried)
	if allowed.Empty() {
		if !x.tried.Empty() {
			return -1, x.last
		}
		return -1, p.unavailable()
	}
	if i, _ := p.decide(x.req, allowed); i >= 0 {
		return i, nil
	}
	return p.picker.Pick(p.withRoom(allowed), balance.NoKey), nil
}

// attempt sends the request to a member.
func (x *exchange) attempt(i int) (*http.Response, error) {
	p, m := x.pool, x.pool.members[i]
	x.outcome.Server = m.options.Address
	x.outcome.Attempts++
	var place *lease
	if p.counted {
		var err error
		if place, err = m.acquire(x.req.Context()); err != nil {
			if ended := x.req.Context().Err(); ended != nil {
				err = ended
			}
			return nil, err
		}
	}
	res, err := m.server.RoundTrip(x.req)
	if err != nil {
		place.release()
		return nil, err
	}
	m.health.succeeded()
	res.Request = x.req
	if place != nil {
		res.Body = leased(res.Body, place)
	}
	if p.options.StickyCookie != "" && p.stuckTo(x.req) != i {
		p.stick(res, i)
	}
	return res, nil
}

// repeat reports whether the request is to be tried once more after an error,
// and takes note of what the error says about the server.
func (x *exchange) repeat(i int, err error) bool {
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return false // the client's context, or a queue: that was the best that there was
	}
	if x.body.broken() {
		return false // the client's fault
	}
	x.pool.members[i].health.failed(err)
	x.tried.Add(i)
	x.last = err
	if failed.Refused() {
		x.refused.Add(i)
		return x.body.free()
	}
	if x.attempts++; x.attempts >= x.pool.options.Attempts || !x.body.free() {
		return false
	}
	if failed.Stage != Exchange {
		return x.others() // nothing was sent
	}
	if !failed.Unsent && !x.worthRepeating(failed) {
		return false
	}
	if !x.others() {
		x.tried, x.refused = balance.Set{}, balance.Set{} // the same servers then: it may have been a restart
	}
	return true
}

// worthRepeating reports whether a request that the server may have seen is to
// be sent again. Nothing of its body was.
func (x *exchange) worthRepeating(failed *Error) bool {
	reason := RetryClosed
	if failed.Timeout() {
		reason = RetryTimeout
	} else if errors.Is(failed, ErrMalformed) {
		return false
	}
	return x.pool.options.RetryOn&reason != 0 && idempotent(x.req.Method)
}

// others reports whether a member is left that was not tried.
func (x *exchange) others() bool {
	allowed := x.pool.candidates(&x.tried)
	return !allowed.Empty()
}

// repeatStatus reports whether another server shall be asked because of the
// status of a response, which it closes then.
func (x *exchange) repeatStatus(i int, res *http.Response) bool {
	reason := RetryOn(0)
	switch res.StatusCode {
	case http.StatusBadGateway:
		reason = Retry502
	case http.StatusServiceUnavailable:
		reason = Retry503
	case http.StatusGatewayTimeout:
		reason = Retry504
	}
	if x.pool.options.RetryOn&reason == 0 || !idempotent(x.req.Method) || x.attempts+1 >= x.pool.options.Attempts {
		return false
	}
	x.tried.Add(i)
	if !x.others() || !x.body.free() {
		return false
	}
	x.attempts++
	_ = res.Body.Close()
	return true
}

// wait holds the request while every server refuses the connection, and
// reports whether it is worth another round. Nothing of the body was read.
func (x *exchange) wait() bool {
	hold := x.pool.options.Hold
	if hold <= 0 {
		return false
	}
	for i, m := range x.pool.members {
		if !x.refused.Has(i) && !m.health.gone() {
			return false
		}
	}
	if x.deadline.IsZero() {
		x.deadline = time.Now().Add(hold)
	}
	for _, m := range x.pool.members {
		if !m.health.unhealthy.Load() {
			m.health.absent()
		}
	}
	ctx, cancel := context.WithDeadline(x.req.Context(), x.deadline)
	defer cancel()
	if !x.pool.waitForServer(ctx) {
		return false
	}
	x.tried, x.refused, x.last = balance.Set{}, balance.Set{}, nil
	return true
}

// failure is what the client's request ended in.
func (x *exchange) failure(err error) error {
	if ended := x.req.Context().Err(); ended != nil {
		return ended
	}
	return err
}

// renew makes the request for the next attempt: the engine may still look at
// the one before.
func (x *exchange) renew() {
	if x.body == nil {
		x.req = clone(x.req, nil)
		return
	}
	x.req = clone(x.original, x.body.attempt())
}

// clone copies a request with a URL of its own, which [Server.RoundTrip]
// writes to, and a body. Everything else is only read. There is no GetBody: an
// engine that read a body before it had a connection would use up what a
// request that is held, or goes elsewhere, still needs.
func clone(req *http.Request, body io.ReadCloser) *http.Request {
	next := *req
	next.URL = new(url.URL)
	*next.URL = *req.URL
	next.Body, next.GetBody = body, nil
	return &next
}

// idempotent reports whether a request may be sent twice (RFC 9110 section
// 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}

// onceBody is a request's body that attempts share until the first of them
// reads of it. What was read cannot be sent again, unless somebody kept it.
type onceBody struct {
	in     io.ReadCloser
	again  func() (io.ReadCloser, error) // gives it once more; nil if nobody can
	reader atomic.Pointer[attemptBody]   // whose turn it is
	taken  atomic.Bool
	failed atomic.Bool
}

// attempt returns the body for the next attempt. The one before cannot read
// any more.
func (b *onceBody) attempt() io.ReadCloser {
	a := &attemptBody{once: b, in: b.in}
	if b.again != nil && b.reader.Load() != nil { // not the first
		in, err := b.again()
		if err != nil {
			in = unreadable{err}
		}
		a.in = in
	}
	b.reader.Store(a)
	return a
}

// free reports whether nothing was read, and sees to it that nothing is until
// the next attempt.
func (b *onceBody) free() bool {
	if b == nil || b.again != nil {
		return true // what an engine still reads is not what the next one will
	}
	if b.taken.Load() {
		return false
	}
	if a := b.reader.Swap(nil); a != nil && !a.begun.CompareAndSwap(false, true) {
		b.reader.Store(a) // it was quicker
		return false
	}
	return true
}

// broken reports whether the client's body could not be read.
func (b *onceBody) broken() bool { return b != nil && b.failed.Load() }

// attemptBody is a body as one attempt sees it.
type attemptBody struct {
	once  *onceBody
	in    io.ReadCloser
	begun atomic.Bool // by whoever comes first: the engine that reads, or free
	mine  bool        // it was the engine; only Read looks at it
}

// Read implements [io.Reader].
func (a *attemptBody) Read(p []byte) (int, error) {
	if !a.mine {
		if !a.begun.CompareAndSwap(false, true) {
			return 0, http.ErrBodyReadAfterClose
		}
		a.mine = true
		a.once.taken.Store(true)
	}
	n, err := a.in.Read(p)
	if err != nil && err != io.EOF {
		a.once.failed.Store(true)
	}
	return n, err
}

// Close does nothing: the next attempt may need the body, and its owner closes
// it in the end.
func (a *attemptBody) Close() error { return nil }

// unreadable is a body that cannot be had once more.
type unreadable struct{ err error }

func (u unreadable) Read([]byte) (int, error) { return 0, u.err }
func (u unreadable) Close() error             { return nil }
