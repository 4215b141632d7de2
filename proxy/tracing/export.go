package tracing

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	mostSpans = 512                    // of one request to the collector
	mostBytes = 2 << 20                // of one, before compression
	interval  = 500 * time.Millisecond // for which a span waits for others
	pause     = time.Second            // before the one retry
	mostPause = 5 * time.Second        // that a collector may ask for
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

	// Trouble is told when sending begins to fail, and nil when it works again,
	// on Run's goroutine. May be nil.
	Trouble func(error)
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

	mu      sync.Mutex
	failing bool
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
	e := &Exporter{options: o, links: links, queue: make(chan *finished, o.Queue)}
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
		e.deliver(sending, batch)
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

// deliver sends a batch, in pieces if it is too large, and counts what became of
// it.
func (e *Exporter) deliver(ctx context.Context, batch []*finished) {
	body, err := proto.Marshal(message(e.options.Service, batch))
	if err == nil && len(body) > mostBytes && len(batch) > 1 {
		half := len(batch) / 2
		e.deliver(ctx, batch[:half])
		e.deliver(ctx, batch[half:])
		return
	}
	if err == nil {
		err = e.send(ctx, squeeze(body))
	}
	count := &e.links.Counts.Sent
	if err != nil {
		count = &e.links.Counts.Dropped
	}
	count.Add(uint64(len(batch)))
	e.tell(err)
}

// tell tells of a change between failing and not.
func (e *Exporter) tell(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if failing := err != nil; failing != e.failing {
		e.failing = failing
		if e.links.Trouble != nil {
			e.links.Trouble(err)
		}
	}
}

func squeeze(body []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// send posts a body and, if the collector says that it is worth it (OTLP 1.0,
// "Failures"), once more.
func (e *Exporter) send(ctx context.Context, body []byte) error {
	wait, err := e.post(ctx, body)
	if err == nil || wait < 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return err
	}
	_, err = e.post(ctx, body)
	return err
}

// post sends a body. After a failure it returns how long to wait before it is
// worth to try again, negative for not at all.
func (e *Exporter) post(ctx context.Context, body []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.options.Endpoint, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	own, err := fields(e.options.HeadersFile)
	if err != nil {
		return -1, err
	}
	req.Header = own
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "sallyport")
	res, err := e.client.Do(req)
	if err != nil {
		return -1, failure(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is kept
	if res.StatusCode/100 == 2 {
		return -1, nil
	}
	wait := time.Duration(-1)
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		wait = pause
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds >= 0 {
			wait = min(time.Duration(min(seconds, 60))*time.Second, mostPause)
		}
	}
	return wait, refused(res.StatusCode)
}
