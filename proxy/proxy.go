package proxy

import (
	"crypto/x509"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/accesslog/sink"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/middleware/clientip"
	"github.com/sallyport/sallyport/proxy/target"
	"github.com/sallyport/sallyport/proxy/tracing"
)

// Options is what a Proxy needs besides its configuration.
type Options struct {
	// Logger receives failures; required.
	Logger *zap.Logger

	// Roots are the certificates that may sign those of https:// servers.
	// Required if there is one.
	Roots *x509.CertPool

	// Overloaded reports that there is no memory for another request: it gets
	// 503. It is asked for each and must be quick; nil is never.
	Overloaded func() bool

	// Observers are told of each request, in this order; none costs nothing.
	Observers []Observer

	// Logs has the outputs of access logs. Nil: there are none.
	Logs *sink.Set

	// HTTPSPort is the port that redirects from plain HTTP lead to: the one
	// that clients see. 0 means that of the first address in listen.https.
	HTTPSPort int
}

// Observer is told of requests: the access log, the metrics. It is called on
// the request's own goroutine, and must be quick and not block.
type Observer interface {
	// Began is called before anything is known but what the connection tells.
	Began(r *http.Request, x *exchange.Exchange)

	// Done is called when everything is over, also after a panic: the answer
	// has been sent, or the client has gone, or an upgraded connection ended.
	// The exchange may not be kept.
	Done(r *http.Request, x *exchange.Exchange, took time.Duration)
}

// Proxy serves requests with the generation that was committed last.
type Proxy struct {
	options  Options
	logger   *zap.Logger
	current  atomic.Pointer[Generation]
	failures *failure.Log
	gateway  *clientip.Watch
	buffers  sync.Pool // of *[copySize]byte
	copiers  sync.Pool // of *copier
	headers  sync.Pool // of http.Header, empty
	passages sync.Pool // of *passage, empty

	commits sync.Mutex
	retired map[*pool]struct{} // those that drain

	spans   tracing.Counts
	exports sync.WaitGroup // of what sends spans; Close waits
}

// copySize is how much of a body is held at a time, in each direction.
const copySize = 32 << 10

// New returns a proxy that answers 503 until the first Commit.
func New(o Options) *Proxy {
	return &Proxy{
		options:  o,
		logger:   o.Logger,
		failures: failure.NewLog(),
		gateway:  clientip.NewWatch(clientip.Gateway()),
		retired:  make(map[*pool]struct{}),
		buffers:  sync.Pool{New: func() any { return new([copySize]byte) }},
		headers:  sync.Pool{New: func() any { return make(http.Header, 8) }},
		passages: sync.Pool{New: func() any { return new(passage) }},
		copiers:  sync.Pool{New: func() any { return new(copier) }},
	}
}

// ServeHTTP answers a request that came over HTTPS.
func (p *Proxy) ServeHTTP(rw http.ResponseWriter, original *http.Request) {
	w, r := p.open(rw, original)
	if p.observed() {
		p.began(w, r)
		defer p.done(w, r)
	}
	defer p.rescue(w, r)
	s, err := p.enter(w, r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	found, err := s.find(&w.Exchange, r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.serve(w, r, found)
}

// observed reports whether anybody is told of requests.
func (p *Proxy) observed() bool {
	if len(p.options.Observers) > 0 || p.options.Logs != nil {
		return true
	}
	g := p.current.Load()
	return g != nil && g.tracer != nil
}

// began tells the observers of a request.
func (p *Proxy) began(w *recorder, r *http.Request) {
	for _, o := range p.options.Observers {
		o.Began(r, &w.Exchange)
	}
}

// done tells them of its end. The header of r is that of the client as far as
// admit lets it through.
func (p *Proxy) done(w *recorder, r *http.Request) {
	took := time.Since(w.Exchange.Started)
	for _, o := range p.options.Observers {
		o.Done(r, &w.Exchange, took)
	}
	if w.log != nil {
		w.log.Done(r, &w.Exchange, took)
	}
	if w.span != nil {
		p.spanDone(w, r, took)
	}
}

// serve hands a request to its route.
func (p *Proxy) serve(w *recorder, r *http.Request, to *route) {
	w.Exchange.Route, w.log = to.name, to.log
	to.handler.ServeHTTP(w, r)
	w.finish()
}

// enter admits a request, finds its site and settles its target. It loads the
// generation, once per request: what follows works on that one even if another
// is committed.
func (p *Proxy) enter(w *recorder, r *http.Request) (*site, error) {
	g := p.current.Load()
	var doubt error
	if g != nil {
		w.log = g.log
		doubt = p.clientOf(g, &w.Exchange, r)
	}
	refused := w.admit(r, p.logger)
	if g != nil && g.tracer != nil {
		w.span = g.tracer.Begin(r)
	}
	if refused != nil {
		return nil, refused
	}
	if g == nil {
		return nil, failure.ErrStarting
	}
	if doubt != nil {
		return nil, doubt
	}
	dropClaims(g, &w.Exchange, r)
	if err := g.bounds.check(r); err != nil {
		return nil, err
	}
	if overloaded := p.options.Overloaded; overloaded != nil && overloaded() {
		return nil, failure.ErrOverloaded
	}
	s, err := g.hosts.Of(r)
	if err != nil {
		return nil, err
	}
	w.Exchange.Site = s.name
	w.Exchange.Pages, w.log = s.pages, s.log
	return s, target.Settle(r, s.merge)
}

// Relieve drops what the current generation keeps only to be quicker. It is
// called while memory is short, and must not take long.
func (p *Proxy) Relieve() {
	if g := p.current.Load(); g != nil {
		for _, value := range g.kept {
			if gives, ok := value.(interface{ Relieve() }); ok {
				gives.Relieve()
			}
		}
	}
}

// Part ends upgraded connections, and has new ones end at once: WebSockets by a
// close frame to both ends, within a second, others at once. It does not wait,
// and is meant for the end of a stop; a Commit takes it back.
func (p *Proxy) Part() {
	p.commits.Lock()
	defer p.commits.Unlock()
	if g := p.current.Load(); g != nil {
		for _, pool := range g.pools {
			pool.tunnels.SetClosed(true)
		}
	}
	for pool := range p.retired {
		pool.tunnels.SetClosed(true)
	}
}

// Close ends upgraded connections and closes all pools. Requests under way
// finish; it is meant to be called when there are none any more. It waits until
// spans that are left have been sent, for at most two seconds.
func (p *Proxy) Close() {
	p.commits.Lock()
	defer p.commits.Unlock()
	if g := p.current.Load(); g != nil {
		for _, pool := range g.pools {
			pool.close()
		}
		for _, member := range g.members {
			member.Close()
		}
		g.kept.retire(nil)
	}
	for pool := range p.retired {
		pool.close()
	}
	p.exports.Wait()
}
