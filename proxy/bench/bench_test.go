package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/origin"
)

// TestMain makes the test binary the server behind, as main does.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == originCommand {
		exit(serveOrigin(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// standIn is a contender that is httputil.ReverseProxy in this process.
func (b *bench) standIn(name string, spoil func(http.Header)) contender {
	return contender{name: name, version: "1", launch: func(context.Context, setup) (*instance, error) {
		certificate, err := tls.LoadX509KeyPair(b.identity.certificate, b.identity.key)
		if err != nil {
			return nil, err
		}
		server := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: b.origin})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.Header.Set("X-Real-Ip", "127.0.0.1")
			r.Out.Header.Set("X-Request-Id", "1")
			spoil(r.Out.Header)
		}})
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.StartTLS()
		return &instance{address: server.Listener.Addr().String(), pid: os.Getpid(), stop: func() error { server.Close(); return nil }}, nil
	}}
}

// newBench is a bench without external programs, whose trials are short.
func newBench(t *testing.T) *bench {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the accounts are Linux's")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- origin.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	b := &bench{dir: t.TempDir(), origin: listener.Addr().String(), rounds: 2, duration: time.Second / 10, settle: time.Millisecond, workers: 2, tell: t.Logf}
	if b.identity, err = makeIdentity(b.dir); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSmokeOfEveryKindOfCase(t *testing.T) {
	b := newBench(t)
	as := func(http.Header) {}
	b.contenders = []contender{b.standIn(reference, as), b.standIn("other", as)}
	for _, w := range []workload{
		{name: "h1", path: "/13b", connections: 2},
		{name: "h2-post", kind: http2Requests, path: origin.UploadPath, upload: 1000, connections: 1, streams: 2},
		{name: "tls-full", kind: newConnections, path: "/13b", connections: 2},
		{name: "tls-resumed", kind: newConnections, path: "/13b", connections: 2, resume: true},
		{name: "websocket", kind: webSockets, path: origin.WebSocketPath, connections: 4, streams: 2},
		{name: "sites", path: "/1k", connections: 4, sites: 20},
		{name: "idle", kind: idleConnections, path: "/13b", connections: 20},
		{name: "idle-h2", kind: idleConnections, path: "/13b", connections: 20, streams: 1},
	} {
		t.Run(w.name, func(t *testing.T) {
			c, err := b.runCase(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range c.Figures {
				if f.Failure != "" || len(f.Failed) > 0 || f.Requests == 0 || f.PeakRSS == 0 || f.Others == nil {
					t.Errorf("%+v", f)
				}
				if w.kind != idleConnections && (f.CPU == nil || f.Ratio == nil || f.Rate == nil || f.P99 == nil || f.P99.Median < f.P50.Median) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestAProxyThatFailsHasNoFigureAndAReason(t *testing.T) {
	b := newBench(t)
	b.rounds = 1
	b.contenders = []contender{
		b.standIn(reference, func(http.Header) {}),
		b.standIn("forgets", func(h http.Header) { h.Del("X-Forwarded-For"); h["X-Forwarded-For"] = nil }),
		{name: "broken", launch: func(context.Context, setup) (*instance, error) { return nil, errors.New("no such luck") }},
	}
	var out bytes.Buffer
	r := b.newResult(t.Context(), options{rounds: 1, seconds: 1, workers: 2})
	file := t.TempDir() + "/result.json"
	if err := b.runAll(t.Context(), r, []workload{{name: "h1", title: "h1, 13 B", path: "/13b", connections: 2}}, file, &out); err != nil {
		t.Fatal(err)
	}
	kept, err := loadResult(file)
	if err != nil || !kept.Complete || len(kept.Cases) != 1 {
		t.Fatalf("%+v, %v", kept, err)
	}
	f := kept.Cases[0].Figures
	if f[0].CPU == nil || f[1].CPU != nil || f[2].CPU != nil || !strings.Contains(f[1].Failure, "X-Forwarded-For") || f[2].Failure != "no such luck" {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{"broken  -  no such luck", "X-Forwarded-For arrives as"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not printed:\n%s", want, out.String())
		}
	}
}

func TestInterruptionStopsEverything(t *testing.T) {
	b := newBench(t)
	b.duration = time.Hour
	b.contenders = []contender{b.standIn(reference, func(http.Header) {})}
	ctx, cancel := context.WithCancel(t.Context())
	b.tell = func(format string, _ ...any) {
		if strings.Contains(format, "round") {
			cancel()
		}
	}
	if _, err := b.runCase(ctx, workload{name: "h1", path: "/13b", connections: 2}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOriginInItsOwnProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are started the Linux way")
	}
	address, stop, err := startOrigin(1)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Get("http://" + address + "/13b")
	if err != nil || res.ContentLength != 13 {
		t.Errorf("%+v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestProcessThatEndsSaysWhy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are started the Linux way")
	}
	p, err := startProcess("sulker", "/bin/sh", []string{"-c", "echo no reason given; exit 3"}, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ready(t.Context(), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no reason given") {
		t.Error(err)
	}
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	if p, err = startProcess("sleeper", "/bin/sh", []string{"-c", "sleep 100"}, t.TempDir(), 1); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}
