package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

func asked(name string) func(acmetest.Query) bool {
	return func(q acmetest.Query) bool { return q.Name == name && q.Type == "TXT" }
}

func TestWaitUntilTheNameServersHaveTheRecord(t *testing.T) {
	s := newSetup(t)
	c := challenge("app.example.com", "key")
	s.world.DNS.Hold()
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Wait(t.Context(), c) }()
	n := 0
	if err := s.world.DNS.WaitQuery(t.Context(), func(q acmetest.Query) bool {
		if asked("_acme-challenge.app.example.com.")(q) {
			n++
		}
		return n >= 6 // several rounds of both servers
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	s.world.DNS.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWaitTimeoutNamesTheServersThatLackTheRecord(t *testing.T) {
	s := newSetup(t, func(o *cloudflare.Options) { o.PropagationTimeout = 500 * time.Millisecond })
	_, port, _ := net.SplitHostPort(s.world.DNS.Addr)
	c := challenge("app.example.com", "key")
	prefix := "waiting for challenge record _acme-challenge.app.example.com: " + `zone "example.com": not visible after 1s: `

	err := s.Wait(t.Context(), c)
	expect(t, err, fmt.Sprintf("%smissing on ns1.sallyport.test:%s, ns2.sallyport.test:%s", prefix, port, port),
		"check that the registrar names these servers for the zone; if they are only slow, raise acme.propagation.timeout")
	if !cloudflare.Temporary(err) {
		t.Error("not temporary")
	}

	s.world.DNS.Fail(dns.RcodeServerFailure)
	expect(t, s.Wait(t.Context(), c), fmt.Sprintf("%sno usable answer from ns1.sallyport.test:%s (answered SERVFAIL), ns2.sallyport.test:%s (answered SERVFAIL)", prefix, port, port),
		"let this machine send DNS (port 53, UDP and TCP) to the zone's name servers, or set acme.propagation.servers")

	s.world.DNS.Fail(dns.RcodeSuccess)
	s.world.API.SetRecord("example.com", acmetest.Record{Type: "CNAME", Name: "_acme-challenge.app.example.com", Content: "app.acme-dns.example"})
	err = s.Wait(t.Context(), c)
	expect(t, err, fmt.Sprintf("%sthe name is a CNAME to app.acme-dns.example; missing on ns1.sallyport.test:%s, ns2.sallyport.test:%s", prefix, port, port),
		"delete that record: Sallyport writes challenges into the zone itself and does not follow a CNAME at _acme-challenge")
	if cloudflare.Temporary(err) {
		t.Error("temporary, although somebody has to delete the CNAME")
	}
}

func TestWaitToleratesADeadNameServerBesideALivingOne(t *testing.T) {
	dead := closedPort(t)
	s := newSetup(t)
	// The zone's name servers are in the API's answer; these stand for them.
	s2 := newSetup(t, func(o *cloudflare.Options) { o.NameServers = []string{dead, s.world.DNS.Addr} })
	c := challenge("app.example.com", "key")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := s2.Wait(t.Context(), c); err != nil {
		t.Error(err)
	}
	if got := s2.calls(); len(got) > 0 {
		t.Errorf("calls %q although the servers are given", got)
	}
}

func TestWaitDoesNotTrustDeadServersAlone(t *testing.T) {
	dead := closedPort(t)
	s := newSetup(t, func(o *cloudflare.Options) {
		o.NameServers, o.PropagationTimeout = []string{dead, "nowhere.sallyport.test:53"}, time.Second
	})
	err := s.Wait(t.Context(), challenge("app.example.com", "key"))
	e, ok := errors.AsType[*cloudflare.PropagationError](err)
	if !ok || len(e.Silent) != 2 || len(e.Lacking) != 0 {
		t.Fatalf("got %v", err)
	}
	if !strings.HasPrefix(e.Silent[0], dead+" (") || !strings.Contains(e.Silent[0], "refused") || !strings.Contains(e.Silent[1], "no such host") {
		t.Errorf("servers %q", e.Silent)
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.LocalAddr().String()
}

func TestWaitAsksOverTCPWhenTheAnswerIsTooLong(t *testing.T) {
	s := newSetup(t)
	for i := range 40 {
		s.world.API.SetRecord("example.com", acmetest.Record{Type: "TXT", Name: "_acme-challenge.app.example.com", Content: fmt.Sprintf("other %040d", i)})
	}
	c := challenge("app.example.com", "key")
	if err := errors.Join(s.Present(t.Context(), c), s.Wait(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	if err := s.world.DNS.WaitQuery(t.Context(), func(q acmetest.Query) bool {
		return q.Network == "tcp" && asked("_acme-challenge.app.example.com.")(q)
	}); err != nil {
		t.Error(err)
	}
}

func TestWaitEndsAtOnceAndLeavesNoGoroutine(t *testing.T) {
	s := newSetup(t)
	s.world.DNS.Silence(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Wait(ctx, challenge("app.example.com", "key")) }()
	if err := s.world.DNS.WaitQuery(t.Context(), asked("_acme-challenge.app.example.com.")); err != nil {
		t.Fatal(err)
	}
	cancel()
	start := time.Now()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v to end", took)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "cloudflare.(*propagation)") {
		t.Errorf("a poller is left:\n%s", stacks)
	}
}
