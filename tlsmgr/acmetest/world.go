package acmetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// defaultValidity is that of the public authorities.
const defaultValidity = 90 * 24 * time.Hour

// Options says what a World is like. The zero value is one without zones.
type Options struct {
	// Zones exist from the start. More come with the tokens and records that are added.
	Zones []string

	// Validity of issued certificates, in whole seconds; zero is 90 days. Ten seconds are the least that is useful.
	// Certificates valid for a week or less get a renewal window in the middle of their validity.
	Validity time.Duration

	// RenewalPoll is after how long the ACME server asks to be asked again for a renewal window, in whole seconds; zero
	// is Pebble's own six hours.
	RenewalPoll time.Duration

	// Log gets the servers' logs; nil discards them. It is not written to after Close, nor by two goroutines at once.
	Log io.Writer
}

// World is a running certificate authority with the API and the DNS that its validation needs.
type World struct {
	DirectoryURL string // https://acme.sallyport.test:PORT/dir; the name resolves only through DNS
	RootPEM      []byte // root of the certificates that the ACME server and the API themselves have

	ACME *ACME
	API  *API
	DNS  *DNS

	root    *root
	servers []*http.Server
	family  family
	once    sync.Once
	err     error // of Close
}

// Start starts a World on free ports of 127.0.0.1. Close it.
func Start(opts Options) (*World, error) {
	if opts.Validity == 0 {
		opts.Validity = defaultValidity
	}
	if opts.Validity < time.Second {
		return nil, fmt.Errorf("acmetest: a validity of %v is less than a second", opts.Validity)
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	opts.Log = &serialWriter{to: opts.Log}
	w := &World{family: newFamily()}
	if err := w.family.run(func() error { return w.start(opts) }); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// start runs in a goroutine of the family.
func (w *World) start(opts Options) (err error) {
	if w.root, err = newRoot(); err != nil {
		return err
	}
	w.RootPEM = w.root.pem()
	z := new(zones)
	for _, name := range opts.Zones {
		z.add(name)
	}
	if w.DNS, err = newDNS(z); err != nil {
		return err
	}
	if err = w.DNS.start(); err != nil {
		return err
	}
	w.ACME, err = newACME(opts, w.DNS.Addr, log.New(opts.Log, "pebble ", log.Ltime|log.Lmicroseconds))
	if err != nil {
		return err
	}
	w.API = newAPI(z)
	logger := log.New(opts.Log, "acmetest ", log.Ltime|log.Lmicroseconds)
	if w.DirectoryURL, err = w.serve(acmeHost, directoryPath, w.ACME, logger); err != nil {
		return err
	}
	w.API.URL, err = w.serve(apiHost, apiPath, w.API, logger)
	return err
}

// serve starts an HTTPS server and returns the URL of a path on it.
func (w *World) serve(host, path string, handler http.Handler, logger *log.Logger) (string, error) {
	cert, err := w.root.issue(host)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("acmetest: %s: %w", host, err)
	}
	server := &http.Server{
		Handler: handler, ErrorLog: logger, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	w.servers = append(w.servers, server)
	go func() {
		if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			logger.Printf("%s: %v", host, err)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "https://" + net.JoinHostPort(host, port) + path, nil
}

// Close stops everything and returns when all goroutines of the World have ended. Requests that are being answered are
// cut off. It may be called again, and by several at once; all get the same result.
func (w *World) Close() error {
	w.once.Do(func() {
		var all []error
		for _, server := range w.servers {
			all = append(all, server.Close())
		}
		if w.ACME != nil {
			all = append(all, w.ACME.close())
		}
		if w.DNS != nil {
			all = append(all, w.DNS.close())
		}
		w.err = errors.Join(append(all, w.family.wait())...)
	})
	return w.err
}

// Roots returns the pool that the ACME server and the API are to be verified with.
func (w *World) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.root.cert)
	return pool
}

// IssuingRoots returns the pool that issued certificates are to be verified with.
func (w *World) IssuingRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.ACME.pebble.ca.GetRootCert(0).Cert)
	return pool
}

// IssuingRootPEM returns the root that issued certificates are to be verified with.
func (w *World) IssuingRootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ACME.pebble.ca.GetRootCert(0).DER})
}

// serialWriter makes a writer safe for several loggers.
type serialWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (w *serialWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// Resolver returns a resolver that asks nobody but the World's name server.
func (w *World) Resolver() *net.Resolver {
	addr := w.DNS.Addr
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
}

// Dialer returns a dialer that resolves names through the World's name server.
func (w *World) Dialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, Resolver: w.Resolver()}
}

// HTTPClient returns a new client that can reach the ACME server and the API: it resolves through the World's name
// server, trusts only the World's root and uses no proxy. Its idle connections end with the World.
func (w *World) HTTPClient() *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext:         w.Dialer().DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: w.Roots(), MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 16,
		},
	}
}
