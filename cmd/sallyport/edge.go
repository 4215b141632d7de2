package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/logging"
	"github.com/sallyport/sallyport/cmd/sallyport/mount"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/proxy/listen"
	"github.com/sallyport/sallyport/proxy/metrics"
	"github.com/sallyport/sallyport/proxy/middleware/cidr"
	"github.com/sallyport/sallyport/proxy/pressure"
	"github.com/sallyport/sallyport/tlsmgr"
)

// edge is the running program: the rooms, wired. It is made by openEdge with
// every socket open, serves while run runs, and takes new configurations by
// reload.
type edge struct {
	certificates *tlsmgr.Manager
	proxy        *proxy.Proxy
	listeners    *listen.Server
	memory       *pressure.Gauge
	admin        *admin.Server // nil when switched off

	roots          *x509.CertPool
	credentialsDir string
	logger         *zap.Logger
	logging        *logging.Log

	started  time.Time
	events   *admin.Events
	history  *metrics.History
	requests *metrics.Metrics
	registry *prometheus.Registry

	reloading sync.Mutex // one reload at a time

	mu     sync.Mutex // guards what follows; held for no I/O
	config *config.Config
	loaded time.Time
	last   *admin.Reload // nil: none yet

	before      *predecessor
	leave       context.CancelFunc // ends what an upgrade takes away first; set by openEdge
	left        context.Context
	ordersEnded chan struct{} // closed when no certificate is ordered any more

	stopping atomic.Bool // set first of all, so that nobody is sent here any more
}

type edgeOptions struct {
	config         *config.Config
	credentialsDir string
	logging        *logging.Log
	memory         *pressure.Pacer
	passed         []listen.Passed // sockets that were open before
	before         *predecessor    // whom to take over from; nil is nobody
}

// openEdge builds everything and opens the sockets. It starts no goroutine; on
// error nothing stays open.
func openEdge(ctx context.Context, options edgeOptions) (_ *edge, err error) {
	now := time.Now().UTC()
	e := &edge{
		config: options.config, credentialsDir: options.credentialsDir, logger: options.logging.Logger, logging: options.logging,
		started: now, loaded: now, events: options.logging.Events,
		before: options.before, ordersEnded: make(chan struct{}),
		history: metrics.NewHistory(), registry: newRegistry(),
	}
	e.requests = metrics.New(e.registry)
	e.left, e.leave = context.WithCancel(context.Background())
	if e.roots, err = publicRoots(); err != nil {
		return nil, err
	}
	if e.certificates, err = tlsmgr.New(tlsmgr.Options{Logger: e.logger.Named("tls"), Observer: newCertificateMetrics(e.registry)}); err != nil {
		return nil, err
	}
	// A token file that is missing at start must not keep certificates that
	// are already there from being served, so these problems are logged and
	// the rest goes on; `sallyport check` is the strict one.
	settings, problems := tlsmgr.FromConfig(e.config, e.fromOptions())
	logProblems(e.logger, problems)
	if err := e.certificates.Apply(settings); err != nil {
		return nil, err
	}
	e.memory = pressure.New(pressure.Options{Percent: e.config.Runtime.Pressure, Limit: options.memory.Limit, Logger: e.logger.Named("memory")})
	e.proxy = proxy.New(proxy.Options{Logger: e.logger.Named("proxy"), Roots: e.roots, Overloaded: e.memory.Refusing,
		Logs: options.logging.Outputs, Observers: []proxy.Observer{e.history, e.requests}})
	generation, err := e.proxy.Prepare(e.config)
	if err != nil {
		return nil, err
	}
	e.proxy.Commit(generation)
	defer func() {
		if err != nil {
			e.proxy.Close()
		}
	}()
	open := e.listenOptions(e.config)
	open.Passed = options.passed
	if before := options.before; before != nil {
		open.Passed = before.sockets
	}
	if e.listeners, err = listen.Open(ctx, open); err != nil {
		return nil, err
	}
	e.registry.MustRegister(newRefusals(e.listeners))
	e.memory.OnShort(e.proxy.Relieve)
	e.memory.OnShort(e.listeners.Relieve)
	if path := e.config.SocketPath(); path != "" {
		o := admin.Options{Socket: path, Health: e.health, Addresses: e.config.Admin.Listen, Token: e.adminToken}
		if options.before != nil {
			o.Passed = options.before.admin
		}
		e.admin, err = admin.Open(ctx, o)
		if taken, ok := errors.AsType[*admin.Error](err); ok && !taken.InUse {
			// Not being watched is no reason not to serve. Another process on
			// the same storage is.
			e.logger.Error("nobody can watch or steer this process; it serves all the same", zap.Error(taken), zap.String("hint", taken.Hint()))
			return e, nil
		}
		if err != nil {
			e.listeners.Close()
			return nil, err
		}
		e.registry.MustRegister(newSnapshots(e))
		e.admin.Handle("GET /metrics", promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{}))
	}
	return e, nil
}

func (e *edge) fromOptions() tlsmgr.FromOptions {
	return tlsmgr.FromOptions{CredentialsDir: e.credentialsDir, Roots: e.roots}
}

func (e *edge) listenOptions(cfg *config.Config) listen.Options {
	limits := cfg.Limits
	return listen.Options{
		HTTP:                  cfg.Listen.HTTP,
		HTTPS:                 cfg.Listen.HTTPS,
		HTTP3:                 cfg.Listen.HTTP3,
		Handler:               e.proxy,
		Redirect:              e.proxy.RedirectHandler(),
		GetCertificate:        e.certificates.GetCertificate,
		ClientAuth:            e.proxy.ClientAuth,
		Balancers:             balancers(cfg),
		Overloaded:            e.memory.Refusing,
		Connections:           limits.Connections,
		ConnectionsPerAddress: limits.ConnectionsPerAddress,
		MinRate:               int(limits.MinRate),
		MinRateGrace:          limits.MinRateGrace,
		RequestHeaderBytes:    int(limits.RequestHeaderBytes),
		RequestHeaderCount:    limits.RequestHeaderCount,
		URILength:             int(limits.URILength),
		RequestHeaderTimeout:  limits.RequestHeaderTimeout,
		HandshakeTimeout:      limits.HandshakeTimeout,
		IdleTimeout:           limits.IdleTimeout,
		HTTP2Streams:          limits.HTTP2Streams,
		ShutdownTimeout:       limits.ShutdownTimeout,
		Part:                  e.proxy.Part,
		Logger:                e.logger.Named("listen"),
	}
}

// balancers is who begins connections with a PROXY preamble, nil for nobody.
func balancers(cfg *config.Config) func(netip.Addr) bool {
	networks := config.Networks(cfg.Listen.ProxyProtocol)
	if len(networks) == 0 {
		return nil
	}
	return cidr.Of(networks...).Contains
}

// health answers `sallyport healthcheck` with what is wrong. A name whose
// certificate is late does not make the process sick: restarting would not
// help, and the other names are served.
func (e *edge) health() []string {
	if e.stopping.Load() {
		return []string{"stopping"}
	}
	return nil
}

// run serves until ctx ends, lets requests in flight finish, and returns when
// every goroutine has ended. Certificates and the control socket outlive the
// listeners, because requests in flight may need them.
func (e *edge) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failures := make(chan error, 2)
	var group sync.WaitGroup
	serving, quit := context.WithCancel(ctx)
	defer quit()
	start := func(name string, run func(context.Context) error) {
		group.Go(func() {
			if err := run(background); err != nil && !errors.Is(err, context.Canceled) {
				failures <- fmt.Errorf("%s: %w", name, err)
				quit()
			}
		})
	}
	if e.before != nil {
		group.Go(e.before.wait) // until that process has ended
	}
	start("certificates", e.order)
	start("memory", e.memory.Run)
	if e.admin != nil {
		start("admin", func(ctx context.Context) error { return e.admin.Run(e.until(ctx)) })
	}
	err := e.listeners.Run(serving)
	stop()
	if e.before != nil {
		_ = e.before.done.Close()
	}
	group.Wait()
	e.proxy.Close()
	close(failures)
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	return err
}

// until returns a context that ends with ctx, or when another process takes over.
func (e *edge) until(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(e.left, cancel)
	return ctx
}

// order obtains and renews certificates: as soon as the process that this one
// takes over from does not any more.
func (e *edge) order(ctx context.Context) error {
	defer close(e.ordersEnded)
	ctx = e.until(ctx)
	if e.before != nil {
		select {
		case <-e.before.ordersFree:
		case <-ctx.Done():
			return nil
		}
	}
	return e.certificates.Run(ctx)
}

// reload replaces the configuration: all of it or, on error, nothing. What has
// to be started with is refused, see needsRestart.
func (e *edge) reload(ctx context.Context, cfg *config.Config) (config.Problems, error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if changed := needsRestart(e.config, cfg); changed != "" {
		return nil, &exitError{
			err:  fmt.Errorf("%s changed, which a reload cannot do", changed),
			hint: "restart sallyport to change it, or put the old value back",
		}
	}
	settings, problems := tlsmgr.FromConfig(cfg, e.fromOptions())
	if err := problems.Err(); err != nil {
		return problems, err
	}
	generation, err := e.proxy.Prepare(cfg)
	if err != nil {
		return problems, err
	}
	relog, err := e.logging.Prepare(cfg.Log)
	if err != nil {
		return problems, err
	}
	sockets, err := e.listeners.Prepare(ctx, e.listenOptions(cfg))
	if err != nil {
		return problems, err
	}
	if err := e.certificates.Apply(settings); err != nil {
		sockets.Discard()
		return problems, err
	}
	// From here on nothing can fail.
	before := e.labels(e.config)
	e.proxy.Commit(generation)
	e.forget(before, e.labels(cfg))
	e.listeners.Commit(sockets)
	e.memory.SetPercent(cfg.Runtime.Pressure)
	relog()
	e.mu.Lock()
	e.config, e.loaded = cfg, time.Now().UTC()
	e.mu.Unlock()
	return problems, nil
}

// addresses returns where the HTTPS sockets are bound.
func (e *edge) addresses() []net.Addr {
	_, https := e.listeners.Addrs()
	return https
}

// current returns the configuration that is loaded.
func (e *edge) current() *config.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config
}

// path is that of the configuration file.
func (e *edge) path() string { return e.current().File() }

// hash names the configuration that is loaded.
func (e *edge) hash() string { return e.current().Hash() }

// stale says why the configuration file is not the one that was edited, or
// nothing.
func (e *edge) stale() string { return mount.Stale(e.path()) }
