package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// over3 returns a client that speaks nothing but HTTP/3 to the address.
func over3(t *testing.T, address string, roots *x509.CertPool) *http.Client {
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Dial: func(ctx context.Context, _ string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, address, secure, config)
		},
	}
	t.Cleanup(func() { _ = transport.Close() })
	return &http.Client{Transport: transport, Timeout: patience}
}

// begin3 adds clients over HTTP/3: one whose connection is kept, and one that
// comes anew for each request.
func (f *traffic) begin3(pause time.Duration) {
	kept := over3(f.t, f.address, f.roots)
	f.clients.Go(func() { f.requests(kept, pause) })
	f.clients.Go(func() {
		ticker := time.NewTicker(2 * pause)
		defer ticker.Stop()
		var group sync.WaitGroup
		defer group.Wait()
		for {
			select {
			case <-f.stop:
				return
			case <-ticker.C:
			}
			group.Go(func() {
				client := over3(f.t, f.address, f.roots)
				f.post(client)
				_ = client.Transport.(*http3.Transport).Close()
			})
		}
	})
}

// patient is a server that answers at once, except below /slow: there it says
// "first" and, when it is let go, "last". A body it repeats.
func patient(t *testing.T) (server *httptest.Server, goOn func()) {
	t.Helper()
	release := make(chan struct{})
	sockets, _ := socketServer(t)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			sockets.Config.Handler.ServeHTTP(w, r)
		case r.URL.Path == "/slow":
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.WriteString(w, "first ")
			_ = http.NewResponseController(w).Flush()
			body, err := io.ReadAll(r.Body)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			if err == nil {
				_, _ = io.WriteString(w, string(body)+" last")
			}
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "hello")
		}
	}))
	t.Cleanup(server.Close)
	goOn = sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	return server, goOn
}

// While the old process has a request over HTTP/3 under way, in both directions,
// new connections over HTTP/3 reach the new one, and none of all fails.
func TestUpgradeUnderLoadFailsNoRequestOverHTTP3(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, goOn := patient(t)
	dir := shortDir(t)
	path := writeConfig(t, dir, "limits: {shutdown_timeout: 8s}\n"+internalSite(server.URL))
	switchHTTP3(t, path, `listen: {`, `listen: {http3: true, `)
	i := start(t, nil, "run", "--config", path)
	root := filepath.Join(dir, "storage", "localca", "root.pem")
	load := begin(t, i.https(), root, 100, 0)
	load.begin3(25 * time.Millisecond)

	client := over3(t, i.https(), load.roots)
	upload, feed := io.Pipe()
	type answer struct {
		body string
		err  error
	}
	slow := make(chan answer, 1)
	begun := make(chan struct{})
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://app.localhost/slow", upload)
		res, err := client.Do(req)
		close(begun)
		if err != nil {
			slow <- answer{"", err}
			return
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		slow <- answer{string(body), err}
	}()
	_, _ = io.WriteString(feed, "one ")
	<-begun
	socket := dialSocket(t, ctx, visitor(t, i.https(), root))
	load.settled(100)

	// First to something that does not come up: nothing changes.
	var out, errs strings.Builder
	if code := execute(sealing{}, []string{"upgrade", "--config", path, "--binary", "/bin/false"}, &out, &errs); code != exitFailure {
		t.Errorf("to what ends at once: %d %s", code, errs.String())
	}
	load.settled(50)
	if code := execute(sealing{}, []string{"upgrade", "--config", path}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	pid := upgraded(t, i, 0)
	began := time.Now()
	load.settled(200)
	for range 3 {
		fresh := over3(t, i.https(), load.roots)
		if status, body := page(t, fresh, "https://app.localhost/"); status != 200 || body != "hello" {
			t.Errorf("a new connection over HTTP/3 got %d %q", status, body)
		}
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("that took %v: they had to wait for the old process", took)
	}
	say(t, ctx, socket, "still there") // at the old one
	_, _ = io.WriteString(feed, "two")
	_ = feed.Close()
	goOn()
	if got := <-slow; got.err != nil || got.body != "first one two last" {
		t.Errorf("the request under way got %q, %v", got.body, got.err)
	}
	_, _, err := socket.Read(ctx) // until shutdown_timeout
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket at the old process ended with %v", err)
	}
	awaitExit(t, i)
	load.settled(100)
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("%d requests were served and %d failed, such as\n%s", load.served.Load(), len(failures), strings.Join(failures[:min(len(failures), 5)], "\n"))
	}
	t.Logf("%d requests, none failed", load.served.Load())
	_ = syscall.Kill(pid, syscall.SIGQUIT)
}
