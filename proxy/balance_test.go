package proxy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

// mortal is a server that can be killed and brought back at its address.
type mortal struct {
	t       testing.TB
	address string
	handler http.Handler
	server  *http.Server
	ended   chan struct{}
}

// newMortal makes one at an address of its own, where the system has so many:
// at 127.0.0.1 others might get its port while it is dead.
func newMortal(t testing.TB, h http.HandlerFunc) *mortal {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.N(250), rand.N(250), 1+rand.N(250)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{t: t, address: l.Addr().String(), handler: h}
	m.serve(l)
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) url() string { return "http://" + m.address }

func (m *mortal) serve(l net.Listener) {
	m.server, m.ended = &http.Server{Handler: m.handler}, make(chan struct{})
	server, ended := m.server, m.ended
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.t.Errorf("server: %v", err)
		}
	}()
}

// kill ends the server and cuts its connections.
func (m *mortal) kill() {
	m.server.Close()
	<-m.ended
}

// rise listens again at the same address.
func (m *mortal) rise() {
	m.t.Helper()
	var l net.Listener
	eventually(m.t, "listening at "+m.address, func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", m.address)
		return err == nil
	})
	m.serve(l)
}

// outages is for a longer show:
//
//	go test ./proxy -run TestKillingServers -v -outages 20s
var outages = flag.Duration("outages", 4800*time.Millisecond, "how long servers are killed and restarted")

// bombard sends 200 requests a second until stopped and returns how many there
// were and what went wrong.
// Answered counts those that were answered well.
func bombard(client *http.Client, answered *atomic.Int32, stop <-chan struct{}) (sent int, wrong []string) {
	var mu sync.Mutex
	var group sync.WaitGroup
	defer group.Wait()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			group.Wait()
			return sent, wrong
		case <-tick.C:
		}
		sent++
		group.Go(func() {
			res, err := client.Get("https://a.test/")
			text := ""
			if err == nil {
				var b []byte
				b, err = io.ReadAll(res.Body)
				res.Body.Close()
				text = string(b)
			}
			if err != nil || res.StatusCode != 200 || text != "well" {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, fmt.Sprint(err, " ", text))
				return
			}
			answered.Add(1)
		})
	}
}

func well(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") }

// TestKillingServersUnderLoadCostsNoRequest is the show case: a server is
// killed, its connections cut, and comes back 300 ms later, over and over, under
// 200 requests a second. With one server requests wait for it, with two (and no
// holding) the other has them.
func TestKillingServersUnderLoadCostsNoRequest(t *testing.T) {
	for _, servers := range []int{1, 2} {
		t.Run(fmt.Sprintf("servers=%d", servers), func(t *testing.T) {
			var all []*mortal
			var addresses []string
			for range servers {
				m := newMortal(t, well)
				all, addresses = append(all, m), append(addresses, m.url())
			}
			cfg := sites("a.test", addresses[0])
			if servers > 1 {
				cfg = change(sites("a.test", strings.Join(addresses, " ")), func(u *config.Upstream) { u.Hold = 0 })
			}
			w := start(t, cfg)
			stop, result := make(chan struct{}), make(chan []string, 1)
			sent := 0
			var answered atomic.Int32
			go func() {
				n, wrong := bombard(w.client(true), &answered, stop)
				sent = n
				result <- wrong
			}()
			pause := time.NewTicker(300 * time.Millisecond)
			defer pause.Stop()
			rounds := int(*outages / (600 * time.Millisecond))
			for i := range rounds {
				<-pause.C
				// On a machine that is too busy to answer in between, the outages
				// would be one long one.
				enough := answered.Load() + 30
				eventually(t, "answers between outages", func() bool { return answered.Load() >= enough })
				all[i%servers].kill()
				<-pause.C
				all[i%servers].rise()
			}
			close(stop)
			wrong := wait(t, result, "the requests")
			t.Logf("%d requests, %d outages, %d failures", sent, rounds, len(wrong))
			if len(wrong) > 0 {
				t.Errorf("%d of %d requests failed: %.300s", len(wrong), sent, wrong)
			}
			down, back := w.logs.FilterMessage("server is down").Len(), w.logs.FilterMessage("server is back").Len()
			if down < 1 || down > 2*rounds || back > down { // a latecomer of an outage may speak up after its end
				t.Errorf("%d lines of servers going down, %d of coming back", down, back)
			}
		})
	}
}

func TestHeldRequestFailsAfterItsTime(t *testing.T) {
	m := newMortal(t, well)
	m.kill()
	w := start(t, change(sites("a.test", m.url()), func(u *config.Upstream) { u.Hold = 200 * time.Millisecond }))
	begun := time.Now()
	res := get(t, w.client(false), "https://a.test/")
	if body(t, res); res.StatusCode != 502 || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("%d after %v", res.StatusCode, time.Since(begun))
	}
	w.logged("upstream_refused")
	line := w.logs.FilterMessage("server is down").All()
	if len(line) != 1 || line[0].ContextMap()["hint"] == "" || line[0].ContextMap()["cause"] != "upstream_refused" {
		t.Errorf("lines: %v", line)
	}
	m.rise()
}

func TestHeldPostKeepsItsBody(t *testing.T) {
	m := newMortal(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	m.kill()
	w := start(t, sites("a.test", m.url()))
	answers := make(chan string, 1)
	go func() {
		res, err := w.client(false).Post("https://a.test/", "text/plain", strings.NewReader("once and whole"))
		if err != nil {
			answers <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		answers <- string(b)
	}()
	eventually(t, "the request to be held", func() bool { return w.logs.FilterMessage("server is down").Len() == 1 })
	m.rise()
	if got := wait(t, answers, "the answer"); got != "once and whole" {
		t.Errorf("got %q", got)
	}
}

// A POST whose body went out is never sent twice, and one that was not is.
func TestHalfSentPostIsNotRepeated(t *testing.T) {
	var posts atomic.Int32
	breaks := func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		posts.Add(1)
		panic(http.ErrAbortHandler)
	}
	a, b := backend(t, breaks), backend(t, breaks)
	w := start(t, change(sites("a.test", a+" "+b), func(*config.Upstream) {}))
	res, err := w.client(true).Post("https://a.test/", "text/plain", strings.NewReader("money"))
	if err != nil {
		t.Fatal(err)
	}
	if body(t, res); res.StatusCode != 502 || posts.Load() != 1 {
		t.Errorf("%d, sent %d times", res.StatusCode, posts.Load())
	}
	posts.Store(0)
	if res := get(t, w.client(true), "https://a.test/"); res.StatusCode != 502 || posts.Load() != 3 {
		t.Errorf("a GET: %d, sent %d times, want 3 attempts", res.StatusCode, posts.Load())
	}
}

func TestStickyClientStays(t *testing.T) {
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	w := start(t, change(sites("a.test", strings.Join(addresses, " ")), func(u *config.Upstream) {
		u.Balance, u.Sticky = "round_robin", &config.Sticky{Cookie: "route"}
	}))
	client := w.client(true)
	first := get(t, client, "https://a.test/")
	where, cookie := body(t, first), first.Cookies()[0]
	if cookie.Name != "route" || !cookie.Secure || !cookie.HttpOnly || strings.Contains(cookie.Value, "127") {
		t.Errorf("cookie %v", cookie)
	}
	for range 6 {
		req, _ := http.NewRequest("GET", "https://a.test/", nil)
		req.AddCookie(&http.Cookie{Name: "other", Value: "x"})
		req.AddCookie(cookie)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, res); got != where || len(res.Cookies()) != 0 {
			t.Errorf("went to %s rather than %s, cookies %v", got, where, res.Cookies())
		}
	}
}

func TestReloadKeepsWhatIsKnownOfServers(t *testing.T) {
	var asked atomic.Int32
	healthy := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			asked.Add(1)
		}
		well(w, r)
	})
	sick := backend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	cfg := func(servers string) *config.Config {
		return change(sites("a.test", servers), func(u *config.Upstream) {
			u.Name = "api"
			u.Health = &config.Health{Path: "/healthz", Status: "200", Interval: 20 * time.Millisecond, Timeout: time.Second, Fall: 2, Rise: 1}
		})
	}
	named := func(servers string) *config.Config {
		c := cfg(servers)
		c.Sites[0].Proxy = "api"
		return c
	}
	before := runtime.NumGoroutine()
	w := start(t, named(healthy+" "+sick))
	eventually(t, "the sick server to be found out", func() bool { return w.logs.FilterMessage("server is down").Len() == 1 })
	w.commit(named(healthy + " " + sick))
	w.commit(named(sick + " " + healthy + " http://127.0.0.1:1"))
	client := w.client(true)
	for range 20 {
		if res := get(t, client, "https://a.test/"); res.StatusCode != 200 {
			t.Errorf("went to the sick server: %d", res.StatusCode)
		}
	}
	w.commit(named(sick))
	eventually(t, "503", func() bool { return get(t, client, "https://a.test/").StatusCode == 503 })
	w.logged("no_server")
	last := asked.Load()
	if n := w.logs.FilterMessage("server is down").FilterFieldKey("hint").Len(); n != 2 { // sick, and 127.0.0.1:1
		t.Errorf("%d lines of servers that are down", n)
	}
	client.CloseIdleConnections()
	w.stop()
	if now := asked.Load(); now != last {
		t.Errorf("a server that is gone from the configuration was asked %d times", now-last)
	}
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+6 })
}

// A place that a request had is free when all is over, upgraded or not.
func TestLimitOfOneConnectionServesOneAfterAnother(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	full := func(u *config.Upstream) { u.MaxConnections, u.Queue.Size = 1, 0 }
	w := start(t, change(sites("a.test", echoSockets(t)), full))
	for range 3 {
		c := w.webSocket(ctx)
		exchange(t, ctx, c, []byte("message"))
		res := get(t, w.client(true), "https://a.test/")
		if body(t, res); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("beside the one connection: %d %v", res.StatusCode, res.Header)
		}
		c.CloseNow()
		eventually(t, "the place to be free", func() bool { return get(t, w.client(true), "https://a.test/").StatusCode != 503 })
	}
	if fields := w.logged("queue_full"); !strings.HasPrefix(fmt.Sprint(fields["server"]), "http://127") {
		t.Errorf("the line does not name the server: %v", fields)
	}
}

// max_connections bounds requests under way, and over HTTP/1.1 with that the
// connections, those that are kept unused included.
func TestServerNeverSeesMoreConnectionsThanItsLimit(t *testing.T) {
	var open, most atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(well))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	const limit = 4
	w := start(t, change(sites("a.test", server.URL), func(u *config.Upstream) { u.MaxConnections, u.Queue.Size = limit, 1000 }))
	client := w.client(true)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			for range 10 {
				res, err := client.Get("https://a.test/")
				if err != nil {
					t.Error(err)
					return
				}
				if body(t, res); res.StatusCode != 200 {
					t.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	group.Wait()
	if n := most.Load(); n != limit {
		t.Errorf("%d connections at once", n)
	}
}

// The same client goes to the same server, whichever connection it uses.
func TestClientAddressLeadsToOneServer(t *testing.T) {
	var addresses []string
	for i := range 5 {
		addresses = append(addresses, backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	w := start(t, change(sites("a.test", strings.Join(addresses, " "), "b.test", addresses[0]), func(u *config.Upstream) { u.Balance = "ip_hash" }))
	first := body(t, get(t, w.client(true), "https://a.test/"))
	for range 10 {
		if got := body(t, get(t, w.client(false), "https://a.test/")); got != first {
			t.Errorf("went to %s, then to %s", first, got)
		}
	}
}
