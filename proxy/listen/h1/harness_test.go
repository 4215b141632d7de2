package h1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// world is a Server on a real socket.
type world struct {
	t      testing.TB
	server *Server
	addr   string
	logs   *observer.ObservedLogs
	served *sync.WaitGroup // connections
}

// serve serves h, over TLS or not, until the test ends.
func serve(t testing.TB, secure bool, o Options, h http.HandlerFunc) *world {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o.Handler, o.Logger = h, zap.New(core)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: New(o), addr: l.Addr().String(), logs: logs, served: new(sync.WaitGroup)}
	var config *tls.Config
	if secure {
		config = &tls.Config{Certificates: []tls.Certificate{*certificate(t)}}
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.served.Go(func() {
				if config != nil {
					secured := tls.Server(c, config)
					if secured.Handshake() != nil {
						c.Close()
						return
					}
					c = secured
				}
				w.server.Serve(c)
			})
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-accepting
		w.server.Close()
		w.served.Wait()
		if err := w.server.Shutdown(context.Background()); err != nil { // those that rest
			t.Error(err)
		}
	})
	return w
}

func certificate(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is one connection.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.client(c)
}

func (w *world) dialTLS() *client {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.client(c)
}

func (w *world) client(c net.Conn) *client {
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{Conn: c, t: w.t, r: bufio.NewReader(c)}
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a response and its body.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(body)
}

// closed checks that nothing more comes.
func (c *client) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil && !isReset(err) || len(b) > 0 {
		c.t.Errorf("the connection is not closed: %q, %v", b, err)
	}
}

func isReset(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && !op.Timeout()
}

const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
