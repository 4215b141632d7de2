package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is clients that come all the time: over HTTP/1.1 and HTTP/2, with
// connections that are kept and with new ones, and WebSockets that talk.
type traffic struct {
	t       *testing.T
	address string
	roots   *x509.CertPool

	stop    chan struct{}
	clients sync.WaitGroup
	served  atomic.Int64
	echoed  atomic.Int64

	mu       sync.Mutex
	failures []string
}

// echo is a server that answers requests, and repeats what comes over WebSockets.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "hello")
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}))
	t.Cleanup(server.Close)
	return server
}

// begin lets clients come: rate requests a second in all, and sockets WebSockets.
func begin(t *testing.T, address, rootPath string, rate, sockets int) *traffic {
	t.Helper()
	pem, err := os.ReadFile(rootPath)
	if err != nil {
		t.Fatal(err)
	}
	f := &traffic{t: t, address: address, roots: x509.NewCertPool(), stop: make(chan struct{})}
	f.roots.AppendCertsFromPEM(pem)
	kinds := []*http.Client{f.client(false, false), f.client(false, true), f.client(true, false), f.client(true, true)}
	for _, client := range kinds {
		f.clients.Go(func() { f.requests(client, time.Second*time.Duration(len(kinds))/time.Duration(rate)) })
	}
	for range sockets {
		c := f.socket()
		f.clients.Go(func() { f.talk(c) })
	}
	t.Cleanup(func() { f.end() })
	return f
}

// end lets them go, and returns what failed.
func (f *traffic) end() []string {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.clients.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

func (f *traffic) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) < 100 {
		f.failures = append(f.failures, fmt.Sprintf(format, args...))
	}
}

func (f *traffic) client(multiplexed, fresh bool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots}, DisableKeepAlives: fresh, MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, f.address)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(!multiplexed)
	transport.Protocols.SetHTTP2(multiplexed)
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// requests sends one each time the pause is over, whether the last was answered
// or not. They are POST: what failed is not tried again behind our back.
func (f *traffic) requests(client *http.Client, pause time.Duration) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		group.Go(func() { f.post(client) })
	}
}

// post sends one request.
func (f *traffic) post(client *http.Client) {
	res, err := client.Post("https://app.localhost/", "text/plain", strings.NewReader("x"))
	if err != nil {
		f.fail("%v: %v", time.Now().Format("05.000"), err)
		return
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 || string(body) != "hello" {
		f.fail("%s: %d %q %v", time.Now().Format("05.000"), res.StatusCode, body, err)
		return
	}
	f.served.Add(1)
}

// socket opens a WebSocket.
func (f *traffic) socket() net.Conn {
	f.t.Helper()
	c, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "app.localhost"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		f.t.Fatalf("no WebSocket: %v %v", res, err)
	}
	_ = c.SetDeadline(time.Time{})
	return c
}

// talk says something ten times a second and wants to hear it.
func (f *traffic) talk(c net.Conn) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		frame := binary.BigEndian.AppendUint32([]byte{0x82, 0x84, 0, 0, 0, 0}, n)
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(frame); err != nil {
			f.fail("WebSocket: %v", err)
			return
		}
		back := make([]byte, len(frame))
		if _, err := io.ReadFull(c, back); err != nil || string(back) != string(frame) {
			f.fail("WebSocket: %x %v", back, err)
			return
		}
		f.echoed.Add(1)
	}
}

// settled waits until so many requests more have been served.
func (f *traffic) settled(more int64) {
	f.t.Helper()
	until := f.served.Load() + more
	for deadline := time.Now().Add(patience); f.served.Load() < until; {
		if time.Now().After(deadline) {
			f.t.Fatal("nothing is served any more")
		}
		<-time.After(5 * time.Millisecond)
	}
}
