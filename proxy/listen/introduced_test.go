package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// who answers with the address that a handler sees.
func who(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Proto, r.RemoteAddr) }

func everybody(netip.Addr) bool { return true }

func dialled(t *testing.T, address, preamble string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, preamble); err != nil {
		t.Fatal(err)
	}
	return c
}

func from(address string) string {
	return "PROXY TCP4 " + address + " 127.0.0.1 4660 443\r\n"
}

// asked sends one HTTP/1.1 request and returns the answer.
func asked(t *testing.T, c net.Conn) string {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		return err.Error()
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return string(body)
}

func TestABalancersClientIsTheRemoteAddressInEveryProtocol(t *testing.T) {
	r := run(t, Options{Balancers: everybody, HandshakeTimeout: 10 * time.Second}, who)
	if got := asked(t, dialled(t, r.http, from("192.0.2.7"))); got != "HTTP/1.1 192.0.2.7:4660" {
		t.Errorf("plain: %q", got)
	}
	secure := tls.Client(dialled(t, r.https, from("192.0.2.8")), &tls.Config{InsecureSkipVerify: true})
	if got := asked(t, secure); got != "HTTP/1.1 192.0.2.8:4660" {
		t.Errorf("TLS: %q", got)
	}
	secure = tls.Client(dialled(t, r.https, from("192.0.2.9")), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	h2 := &http.Transport{Protocols: &protocols, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		return secure, secure.HandshakeContext(t.Context())
	}}
	defer h2.CloseIdleConnections()
	request, _ := http.NewRequest("GET", "https://a.test/", nil)
	res, err := h2.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "HTTP/2.0 192.0.2.9:4660" {
		t.Errorf("HTTP/2: %q", body)
	}
	for what, address := range map[string]string{"plain": r.http, "TLS": r.https} {
		if got := asked(t, dialled(t, address, "")); strings.HasPrefix(got, "HTTP/1.1") {
			t.Errorf("%s without a preamble: %q", what, got)
		}
	}
}

func TestAPreambleOfAStrangerIsRefused(t *testing.T) {
	for name, balancers := range map[string]func(netip.Addr) bool{"nobody listed": nil, "others listed": func(netip.Addr) bool { return false }} {
		r := run(t, Options{Balancers: balancers, HandshakeTimeout: 10 * time.Second}, who)
		if got := asked(t, dialled(t, r.http, from("192.0.2.7"))); strings.Contains(got, "192.0.2.7") || strings.HasPrefix(got, "HTTP/1.1 127") {
			t.Errorf("%s, plain: %q", name, got)
		}
		secure := tls.Client(dialled(t, r.https, from("192.0.2.7")), &tls.Config{InsecureSkipVerify: true})
		if err := secure.Handshake(); err == nil {
			t.Errorf("%s: a handshake behind a stranger's preamble", name)
		}
		if got := asked(t, dialled(t, r.http, "")); !strings.HasPrefix(got, "HTTP/1.1 127.0.0.1:") {
			t.Errorf("%s, without: %q", name, got)
		}
	}
}

// TestTheCapPerAddressCountsClientsAndNotTheirBalancer has two connections of
// one client and one of another, all by one balancer, with one allowed.
func TestTheCapPerAddressCountsClientsAndNotTheirBalancer(t *testing.T) {
	r := run(t, Options{Balancers: everybody, ConnectionsPerAddress: 1}, who)
	first := dialled(t, r.http, from("192.0.2.7"))
	if got := asked(t, first); got != "HTTP/1.1 192.0.2.7:4660" {
		t.Fatalf("the first: %q", got)
	}
	if got := asked(t, dialled(t, r.http, from("192.0.2.7"))); strings.HasPrefix(got, "HTTP/1.1") {
		t.Errorf("the second of the same client: %q", got)
	}
	if got := asked(t, dialled(t, r.http, from("192.0.2.8"))); got != "HTTP/1.1 192.0.2.8:4660" {
		t.Errorf("another client: %q", got)
	}
}

func TestAStopDoesNotWaitForPreambles(t *testing.T) {
	r := run(t, Options{Balancers: everybody, HandshakeTimeout: time.Hour}, who)
	silent := dialled(t, r.http, "PROXY ")
	if got := asked(t, dialled(t, r.http, from("192.0.2.7"))); !strings.HasPrefix(got, "HTTP/1.1") {
		t.Fatal(got)
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent connection is open")
	}
}
