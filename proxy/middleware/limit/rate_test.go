package limit_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/limit"
)

// from makes a request of a client.
func from(client string) *http.Request {
	r := httptest.NewRequest("GET", "https://a.test/login?x=1", nil)
	x := exchange.New(r)
	x.Client = netip.MustParseAddr(client)
	return exchange.With(r, x)
}

func served(w http.ResponseWriter, r *http.Request) {
	exchange.Of(r).Head(r, 200, w.Header())
	w.WriteHeader(200)
}

func rate(t testing.TB, o limit.RateOptions) http.Handler {
	t.Helper()
	l, err := limit.NewRate(o)
	if err != nil {
		t.Fatal(err)
	}
	return l.Wrap(http.HandlerFunc(served), nil)
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestBucketGivesItsBurstThenItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := rate(t, limit.RateOptions{Name: "login", Requests: 5, Per: time.Minute, Burst: 10})
		for i := range 10 {
			if got := ask(h, from("192.0.2.1")).Code; got != 200 {
				t.Fatalf("request %d: %d", i, got)
			}
		}
		w := ask(h, from("192.0.2.1"))
		if w.Code != 429 || w.Header().Get("Retry-After") != "12" {
			t.Errorf("the eleventh: %d, Retry-After %q, want 429 and 12", w.Code, w.Header().Get("Retry-After"))
		}
		if got := w.Header().Get("RateLimit-Policy"); got != `"login";q=10;w=120` {
			t.Errorf("RateLimit-Policy: %s", got)
		}
		if got := w.Header().Get("RateLimit"); got != `"login";r=0;t=120` {
			t.Errorf("RateLimit: %s", got)
		}
		if got := ask(h, from("192.0.2.2")).Code; got != 200 {
			t.Errorf("another client: %d", got)
		}
		time.Sleep(12*time.Second - 1)
		if got := ask(h, from("192.0.2.1")).Code; got != 429 {
			t.Errorf("a moment too early: %d", got)
		}
		time.Sleep(time.Nanosecond)
		if got := ask(h, from("192.0.2.1")).Code; got != 200 {
			t.Errorf("when told to come again: %d", got)
		}
		if got := ask(h, from("192.0.2.1")).Code; got != 429 {
			t.Errorf("once more: %d", got)
		}
		time.Sleep(time.Hour)
		for i := range 11 {
			if got := ask(h, from("192.0.2.1")).Code; (got == 200) != (i < 10) {
				t.Errorf("after a pause, request %d: %d", i, got)
			}
		}
	})
}

func TestAddressesOfOneIPv6NetworkCountTogether(t *testing.T) {
	h := rate(t, limit.RateOptions{Requests: 1, Per: time.Hour})
	for _, c := range []struct {
		client string
		want   int
	}{
		{"2001:db8:0:1::1", 200},
		{"2001:db8:0:1:ffff:ffff:ffff:ffff", 429},
		{"2001:db8:0:2::1", 200},
		{"192.0.2.1", 200},
		{"192.0.2.2", 200},
		{"192.0.2.1", 429},
	} {
		if got := ask(h, from(c.client)).Code; got != c.want {
			t.Errorf("%s: %d, want %d", c.client, got, c.want)
		}
	}
}

func TestNothingThatAClientSendsGetsItPastItsAddress(t *testing.T) {
	h := rate(t, limit.RateOptions{Requests: 1, Per: time.Hour})
	ask(h, from("192.0.2.1"))
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "Cf-Connecting-Ip", "Host", "Cookie"} {
		r := from("192.0.2.1")
		r.Header.Set(name, "198.51.100.7")
		r.RemoteAddr = "198.51.100.7:1"
		if got := ask(h, r).Code; got != 429 {
			t.Errorf("with %s: %d", name, got)
		}
	}
}

func TestKeysTellRequestsApartByWhatTheySayAndNoMore(t *testing.T) {
	with := func(change func(*http.Request)) *http.Request {
		r := from("192.0.2.1")
		change(r)
		return r
	}
	other := from("192.0.2.9")
	for _, c := range []struct {
		key       limit.Key
		same, not *http.Request
	}{
		{"host", with(func(r *http.Request) { r.Host = "A.test:443" }), with(func(r *http.Request) { r.Host = "b.test" })},
		{"path", with(func(r *http.Request) { r.URL.RawQuery = "other" }), with(func(r *http.Request) { r.URL.Path = "/x" })},
		{"header:x-key", other, with(func(r *http.Request) { r.Header.Set("X-Key", "1") })},
		{"cookie:id", other, with(func(r *http.Request) { r.Header.Set("Cookie", "id=1") })},
		{"method", other, with(func(r *http.Request) { r.Method = "POST" })},
		{"user", from("192.0.2.1"), with(func(r *http.Request) { exchange.Of(r).User = "ada" })},
		{"client_ip path", from("192.0.2.1"), with(func(r *http.Request) { r.URL.Path = "/x" })},
		{"client_ip path", from("192.0.2.1"), other},
		{"site", other, with(func(r *http.Request) { exchange.Of(r).Site = "b.test" })},
		{"peer_ip", other, with(func(r *http.Request) { exchange.Of(r).Peer = netip.MustParseAddrPort("203.0.113.1:1") })},
	} {
		h := rate(t, limit.RateOptions{Key: c.key, Requests: 1, Per: time.Hour})
		ask(h, from("192.0.2.1"))
		if got := ask(h, c.same).Code; got != 429 {
			t.Errorf("%s: the same counts apart: %d", c.key, got)
		}
		if got := ask(h, c.not).Code; got != 200 {
			t.Errorf("%s: another counts together: %d", c.key, got)
		}
	}
}

func TestPartsOfAKeyDoNotRunIntoOneAnother(t *testing.T) {
	h := rate(t, limit.RateOptions{Key: "header:A header:B", Requests: 1, Per: time.Hour})
	for _, pair := range [][2]string{{"ab", "c"}, {"a", "bc"}} {
		r := from("192.0.2.1")
		r.Header.Set("A", pair[0])
		r.Header.Set("B", pair[1])
		if got := ask(h, r).Code; got != 200 {
			t.Errorf("%v: %d", pair, got)
		}
	}
}

func TestDryRunTellsAndLetsThrough(t *testing.T) {
	l, err := limit.NewRate(limit.RateOptions{Requests: 1, Per: time.Hour, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	h := l.Wrap(http.HandlerFunc(served), func(*http.Request) { told++ })
	for range 3 {
		if got := ask(h, from("192.0.2.1")).Code; got != 200 {
			t.Fatalf("refused: %d", got)
		}
	}
	if told != 2 {
		t.Errorf("told %d times, want 2", told)
	}
}

func TestAnnouncingSaysWhatIsLeftOnEveryResponse(t *testing.T) {
	h := rate(t, limit.RateOptions{Name: "api", Requests: 60, Per: time.Minute, Announce: true})
	w := ask(h, from("192.0.2.1"))
	if got := w.Header().Get("RateLimit"); w.Code != 200 || got != `"api";r=59;t=1` {
		t.Errorf("%d, RateLimit: %s", w.Code, got)
	}
}

func TestOptionsThatMakeNoSenseAreErrors(t *testing.T) {
	for _, o := range []limit.RateOptions{
		{}, {Requests: 1}, {Per: time.Second}, {Requests: -1, Per: time.Second},
		{Requests: 1, Per: time.Second, Burst: -1}, {Requests: 1, Per: time.Second, Keys: -1},
		{Requests: math.MaxInt, Per: time.Second}, {Requests: 1, Per: time.Hour, Burst: math.MaxInt},
		{Requests: 1, Per: time.Second, Key: "client"}, {Requests: 1, Per: time.Second, Key: "header:"},
		{Requests: 1, Per: time.Second, Key: "host:a"},
	} {
		if _, err := limit.NewRate(o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

// v4 makes address number i.
func v4(i uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+i)
	return netip.AddrFrom4(b)
}

func TestAMillionAddressesStayUnderTheBound(t *testing.T) {
	const clients = 1_000_000
	l, err := limit.NewRate(limit.RateOptions{Requests: 1, Per: time.Hour, Burst: 3, Keys: 1 << 19})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { refused-- }), nil)
	r := from("192.0.2.1")
	abuser := exchange.Of(r)
	w := httptest.NewRecorder()
	for range 3 {
		h.ServeHTTP(w, r)
	}
	before := heap()
	for i := range uint32(clients) {
		abuser.Client = v4(i)
		h.ServeHTTP(w, r)
	}
	grown := heap() - before
	t.Logf("%d clients: %.1f MiB in use, bound %.1f MiB", clients, float64(grown)/(1<<20), float64(l.Bytes())/(1<<20))
	if grown > int64(l.Bytes()) {
		t.Errorf("%d bytes, above the bound of %d", grown, l.Bytes())
	}
	if refused != -clients-3 {
		t.Errorf("%d requests went through, want %d", -refused, clients+3)
	}
	abuser.Client = netip.MustParseAddr("192.0.2.1")
	if got := ask(h, r).Code; got != 429 {
		t.Errorf("the flood made the limit forget who was over it: %d", got)
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestManyAtOnceGetExactlyTheBurst(t *testing.T) {
	const burst = 100
	l, err := limit.NewRate(limit.RateOptions{Requests: 1, Per: time.Hour, Burst: burst})
	if err != nil {
		t.Fatal(err)
	}
	var through atomic.Int64
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { through.Add(1) }), nil)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range 50 {
				ask(h, from("192.0.2.1"))
				ask(h, from(fmt.Sprintf("192.0.%d.%d", 10+i, j))) // grows the table meanwhile
			}
		})
	}
	clients.Wait()
	if got := through.Load(); got != burst+8*50 {
		t.Errorf("%d went through, want %d", got, burst+8*50)
	}
}

func BenchmarkRate(b *testing.B) {
	b.Run("one client", func(b *testing.B) {
		l, _ := limit.NewRate(limit.RateOptions{Requests: 1_000_000_000, Per: time.Second, DryRun: true})
		h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
		r, w := from("192.0.2.1"), httptest.NewRecorder()
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
	b.Run("a million clients", func(b *testing.B) {
		l, _ := limit.NewRate(limit.RateOptions{Requests: 1, Per: time.Minute, DryRun: true})
		h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
		r, w := from("192.0.2.1"), httptest.NewRecorder()
		x := exchange.Of(r)
		for i := range uint32(1 << 20) {
			x.Client = v4(i)
			h.ServeHTTP(w, r)
		}
		b.ReportAllocs()
		i := uint32(0)
		for b.Loop() {
			x.Client = v4(i & (1<<20 - 1))
			i += 7919
			w.Code = 200
			h.ServeHTTP(w, r)
		}
	})
}
