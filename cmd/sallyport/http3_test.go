package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// switchHTTP3 puts one text in a configuration file in the place of another.
func switchHTTP3(t *testing.T, path, old, now string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, strings.Replace(string(text), old, now, 1))
}

// The process is sealed: no variable can make libraries speak these protocols,
// and none is needed.
func TestProcessServesHTTP3AndAnnouncesExtendedConnect(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite(greeter(t, "hello").URL))
	switchHTTP3(t, path, `listen: {`, `listen: {http3: true, `)
	i := start(t, []string{"GODEBUG=http2xconnect=0", "QUIC_GO_LOG_LEVEL=debug"}, "run", "--config", path)
	address := i.https()
	client := visitor(t, address, filepath.Join(dir, "storage", "localca", "root.pem"))
	res, err := client.Get("https://app.localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Alt-Svc"); got != `h3=":443"; ma=86400` {
		t.Errorf("Alt-Svc: %q", got)
	}
	roots := client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	over3 := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Dial: func(ctx context.Context, _ string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, address, secure, config)
		},
	}
	defer over3.Close()
	if status, body := page(t, &http.Client{Transport: over3, Timeout: patience}, "https://app.localhost/"); status != 200 || body != "hello" {
		t.Errorf("got %d %q", status, body)
	}
	metricsNow := scraper(t, dir)
	until(t, "HTTP/3 is in the metrics", func() bool {
		text := metricsNow()
		for _, want := range []string{
			`sallyport_tls_handshakes_total{resumed="false",transport="quic",version="1.3"} 1`,
			`sallyport_connections{transport="quic"} 1`, `sallyport_connections{transport="tcp"} 1`,
			`sallyport_streams_total{protocol="h3"} 1`, `sallyport_streams_total{protocol="h2"} 1`,
		} {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Logf("not there yet: %s", want)
				return false
			}
		}
		return true
	})
	if !announcesExtendedConnect(t, address, &tls.Config{RootCAs: roots, ServerName: "app.localhost", NextProtos: []string{"h2"}}) {
		t.Error("extended CONNECT is not announced")
	}
	if strings.Contains(i.log(), "Listening for udp connections") { // what quic-go says at level debug
		t.Error("quic-go has read the environment")
	}

	switchHTTP3(t, path, "http3: true", "http3: false")
	i.signal(syscall.SIGHUP)
	i.awaitMessage("configuration reloaded")
	client = visitor(t, address, filepath.Join(dir, "storage", "localca", "root.pem"))
	response, err := client.Get("https://app.localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.Header.Get("Alt-Svc") != "" {
		t.Error("HTTP/3 is announced though it was switched off")
	}
	i.stop(syscall.SIGQUIT)
	if i.endErr != nil {
		t.Errorf("it ended with %v", i.endErr)
	}
}

// announcesExtendedConnect reads the SETTINGS of an HTTP/2 server.
func announcesExtendedConnect(t *testing.T, address string, config *tls.Config) bool {
	t.Helper()
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	frame, err := http2.NewFramer(c, c).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, is := frame.(*http2.SettingsFrame)
	if !is {
		t.Fatalf("the first frame is %v", frame)
	}
	value, _ := settings.Value(http2.SettingEnableConnectProtocol)
	return value == 1
}
