package proxy

import (
	"bufio"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
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

	// HTTPSPort is the port that redirects from plain HTTP lead to: the one
	// that clients see. 0 means 443.
	HTTPSPort int
}

// Proxy serves requests with the generation that was committed last.
type Proxy struct {
	options  Options
	logger   *zap.Logger
	current  atomic.Pointer[Generation]
	failures *failureLog
	buffers  sync.Pool // of *[copySize]byte
	copiers  sync.Pool // of *copier

	commits sync.Mutex
	retired map[*pool]struct{} // those that drain
}

// copySize is how much of a body is held at a time, in each direction.
const copySize = 32 << 10

// New returns a proxy that answers 503 until the first Commit.
func New(o Options) *Proxy {
	return &Proxy{
		options:  o,
		logger:   o.Logger,
		failures: newFailureLog(),
		retired:  make(map[*pool]struct{}),
		buffers:  sync.Pool{New: func() any { return new([copySize]byte) }},
		copiers:  sync.Pool{New: func() any { return new(copier) }},
	}
}

// ServeHTTP answers a request that came over HTTPS.
func (p *Proxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &recorder{ResponseWriter: rw}
	defer p.rescue(w, r)
	s, err := p.enter(r)
	if err != nil {
		p.fail(w, r, origin{}, err)
		return
	}
	s.action.ServeHTTP(w, r)
}

// enter admits a request and finds its site. It loads the generation, once per
// request: what follows works on that one even if another is committed.
func (p *Proxy) enter(r *http.Request) (*site, error) {
	if err := admit(r, p.logger); err != nil {
		return nil, err
	}
	g := p.current.Load()
	if g == nil {
		return nil, errStarting
	}
	if err := g.bounds.check(r); err != nil {
		return nil, err
	}
	if overloaded := p.options.Overloaded; overloaded != nil && overloaded() {
		return nil, errOverloaded
	}
	return g.router.route(r)
}

// Relieve drops what the current generation keeps only to be quicker. It is
// called while memory is short, and must not take long.
func (p *Proxy) Relieve() {
	if g := p.current.Load(); g != nil {
		for _, drop := range g.caches {
			drop()
		}
	}
}

// Close ends upgraded connections and closes all pools. Requests under way
// finish; it is meant to be called when there are none any more.
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
	}
	for pool := range p.retired {
		pool.close()
	}
}

// recorder remembers whether a response has begun, so that a failure knows
// whether it can still be answered.
type recorder struct {
	http.ResponseWriter
	begun bool
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begun = true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

func (w *recorder) FlushError() error {
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begun = true
	}
	return conn, rw, err
}

// clientAddress returns the peer's address without port.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
