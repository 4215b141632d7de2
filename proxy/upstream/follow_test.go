package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/resolve/standin"
)

// places is one server at two loopback addresses with one port, and what it
// was asked over which connection.
type places struct {
	port string

	mu    sync.Mutex
	conns map[string]int // by the server's side of it
}

func newPlaces(t *testing.T, start func(*httptest.Server)) *places {
	t.Helper()
	p := &places{conns: make(map[string]int)}
	port := "0"
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		if err != nil {
			t.Skip(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, ip) }))
		s.Listener.Close()
		s.Listener = l
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			p.mu.Lock()
			defer p.mu.Unlock()
			switch state {
			case http.StateNew:
				p.conns[ip]++
			case http.StateClosed:
				p.conns[ip]--
			}
		}
		start(s)
		t.Cleanup(s.Close)
	}
	p.port = port
	return p
}

func (p *places) open(ip string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[ip]
}

func fetch(ctx context.Context, s *Server) (string, error) {
	req, _ := http.NewRequestWithContext(ctx, "GET", "/", nil)
	req.URL, req.Host = &url.URL{Opaque: "/"}, "public.test"
	res, err := s.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Proto + " " + string(b), err
}

// A name that leads elsewhere takes the requests along, though the connections
// to where it led are open and well.
func TestRequestsFollowTheNameToItsNewAddress(t *testing.T) {
	for _, c := range []struct {
		scheme, proto string
		start         func(*httptest.Server)
	}{
		{"http", "HTTP/1.1", (*httptest.Server).Start},
		{"https", "HTTP/1.1", (*httptest.Server).StartTLS},
		{"https", "HTTP/2.0", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
		{"h2c", "HTTP/2.0", func(s *httptest.Server) {
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
		}},
	} {
		t.Run(c.scheme+" "+c.proto, func(t *testing.T) {
			t.Parallel()
			roots := x509.NewCertPool()
			p := newPlaces(t, func(s *httptest.Server) {
				c.start(s)
				if s.TLS != nil {
					roots.AddCert(s.Certificate())
				}
			})
			dns, err := standin.Start("0 IN A 127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			defer dns.Close()
			s, err := New(Options{
				Address: c.scheme + "://api.stand-in.test.:" + p.port, Roots: roots, ServerName: "example.com",
				NameServer: dns.Address(), ConnectTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got, err := fetch(t.Context(), s); got != c.proto+" 127.0.0.1" {
				t.Fatalf("%q, %v", got, err)
			}
			dns.Set("0 IN A 127.0.0.2")
			begun := time.Now()
			for tick := time.Tick(5 * time.Millisecond); ; <-tick {
				got, err := fetch(t.Context(), s)
				if got == c.proto+" 127.0.0.2" {
					break
				}
				if err != nil || time.Since(begun) > 20*time.Second {
					t.Fatalf("%q, %v", got, err)
				}
			}
			for tick := time.Tick(5 * time.Millisecond); p.open("127.0.0.1") > 0; <-tick {
				if time.Since(begun) > 20*time.Second {
					t.Fatal("the connection to the old address stays")
				}
			}
			if p.open("127.0.0.2") != 1 {
				t.Errorf("%d connections to the new address", p.open("127.0.0.2"))
			}
		})
	}
}

func TestFirstRequestsToATLSServerShareOneConnection(t *testing.T) {
	p := newPlaces(t, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	s, err := New(Options{Address: "https://127.0.0.1:" + p.port, Roots: x509.NewCertPool(), ConnectTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	trustAnything(s)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got, err := fetch(t.Context(), s); got != "HTTP/2.0 127.0.0.1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	group.Wait()
	if n := p.open("127.0.0.1"); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// trustAnything is for servers whose certificate does not matter to a test.
func trustAnything(s *Server) {
	configs := s.tlsConfigs()
	configs.both.InsecureSkipVerify, configs.onlyHTTP1.InsecureSkipVerify = true, true
}

// A server that is replaced by one that speaks another protocol keeps its
// requests, in both directions.
func TestServerThatChoosesAnotherProtocolThanBefore(t *testing.T) {
	protocols := []string{"h2", "http/1.1"}
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		io.Copy(w, r.Body)
	}))
	origin.EnableHTTP2 = true
	var mu sync.Mutex
	origin.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		c := origin.TLS.Clone()
		c.NextProtos, c.GetConfigForClient = protocols, nil
		return c, nil
	}}
	origin.StartTLS()
	defer origin.Close()
	pool, _ := newPool(t, PoolOptions{Attempts: 1}, MemberOptions{Options: Options{Address: origin.URL, Roots: x509.NewCertPool(), ConnectTimeout: 5 * time.Second}})
	server := pool.members[0].server
	trustAnything(server)
	for i, want := range []string{"h2", "http/1.1", "h2", "http/1.1"} {
		mu.Lock()
		protocols = []string{want}
		mu.Unlock()
		server.Close() // unused connections
		server.Reopen()
		if got, err := send(t.Context(), pool, "POST", strings.NewReader("body")); got != "body" {
			t.Errorf("round %d: %q, %v", i, got, err)
		}
		if got := *server.main.(*secure).choice.Load(); got != want {
			t.Errorf("round %d: over %s", i, got)
		}
	}
}
