package h2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// running is a server on a real socket, with TLS.
type running struct {
	address string
	roots   *x509.CertPool
	server  *h2.Server
	logs    *observer.ObservedLogs
}

func run(t testing.TB, o h2.Options, handler http.HandlerFunc) *running {
	t.Helper()
	certificate, roots := selfSigned(t)
	core, logs := observer.New(zapcore.DebugLevel)
	o.Logger, o.Handler = zap.New(core), handler
	r := &running{roots: roots, server: h2.New(o), logs: logs}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	config := &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"h2"}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			plain, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				c := tls.Server(plain, config)
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if c.Handshake() != nil {
					_ = c.Close()
					return
				}
				_ = c.SetDeadline(time.Time{})
				r.server.Serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if r.server.Shutdown(ctx) != nil {
			r.server.Close()
		}
		serving.Wait()
	})
	return r
}

func selfSigned(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"a.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

func dialer(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}
