package tracing

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	mostSpans = 512                    // of one request to the collector
	mostBytes = 2 << 20                // of one, before compression
	interval  = 500 * time.Millisecond // for which a span waits for others
	grace     = 2 * time.Second        // for what waits when Run is to end
)

// Options say where spans go. They are comparable: two that are equal mean the
// same exporter.
type Options struct {
	// Endpoint is the URL, with its path, that spans are posted to.
	Endpoint string

	// HeadersFile has fields for each request, such as an API key: lines of the
	// form "Name: value". It is read anew each time. "": none.
	HeadersFile string

	// CA is a PEM file with certificates that are trusted besides the roots. It
	// is read once. "": none.
	CA string

	// Service is the service.name of all spans. "" means sallyport.
	Service string

	// Queue is how many spans may wait. 0 or less means 2048.
	Queue int

	// Timeout is for one request to the collector, from dialing to the end of
	// its answer. 0 or less means 10 seconds.
	Timeout time.Duration
}

// Links are what an exporter needs of its owner.
type Links struct {
	// Roots sign the certificates of an https:// collector.
	Roots *x509.CertPool

	// Counts outlive the exporter; required.
	Counts *Counts

	// Trouble is told when sending fails, and nil when it works again, on Run's
	// goroutine. What fails again and again is told at once and then now and
	// then; suppressed is how many failures were not told before this one. A
	// *[Partial] is what a collector says that took spans, or some. May be nil.
	Trouble func(err error, suppressed int)
}

// Counts are how many spans a collector took, and how many were lost: they did
// not fit into the queue, or could not be sent.
type Counts struct{ Sent, Dropped atomic.Uint64 }

// Exporter sends spans to one collector.
type Exporter struct {
	options Options
	links   Links
	client  http.Client
	queue   chan *finished
	teller  teller
}

// New returns an exporter, which sends nothing before Run. A file that cannot be
// used is an error.
func New(o Options, links Links) (*Exporter, error) {
	if o.Queue <= 0 {
		o.Queue = 2048
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	o.Service = cmp.Or(o.Service, "sallyport")
	roots, err := rootsOf(links.Roots, o.CA)
	if err != nil {
		return nil, err
	}
	if _, err := fields(o.HeadersFile); err != nil {
		return nil, err
	}
	e := &Exporter{options: o, links: links, queue: make(chan *finished, o.Queue), teller: teller{trouble: links.Trouble}}
	e.client.Transport = &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	// The key is for the endpoint alone, so redirects are not followed.
	e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return e, nil
}

// rootsOf adds the certificates of a file to the roots. It is never nil, which
// would mean the system's.
func rootsOf(known *x509.CertPool, file string) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if known != nil {
		roots = known.Clone()
	}
	if file == "" {
		return roots, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return roots, nil
}

// add takes a span over, or drops it. It never blocks.
func (e *Exporter) add(f *finished) {
	select {
	case e.queue <- f:
	default:
		e.links.Counts.Dropped.Add(1)
	}
}

// Run sends spans until ctx ends, and then those that wait, for at most two
// seconds.
func (e *Exporter) Run(ctx context.Context) {
	defer e.client.CloseIdleConnections()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	for {
		batch := e.collect(ctx)
		if len(batch) == 0 {
			return // ctx has ended
		}
		e.deliver(ctx, sending, batch)
	}
}

// collect waits for spans. None means that ctx has ended and none wait.
func (e *Exporter) collect(ctx context.Context) []*finished {
	var batch []*finished
	var due <-chan time.Time
	for len(batch) < mostSpans {
		select {
		case f := <-e.queue:
			batch = append(batch, f)
			if due == nil {
				due = time.After(interval)
			}
			continue
		default:
		}
		select {
		case f := <-e.queue:
			batch = append(batch, f)
			if due == nil {
				due = time.After(interval)
			}
		case <-due:
			return batch
		case <-ctx.Done():
			return batch // the queue was empty
		}
	}
	return batch
}
