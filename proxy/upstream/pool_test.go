package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
	"github.com/sallyport/sallyport/proxy/upstream/probe"
)

// newPool makes a pool of members with these options, and the events that they
// send.
func newPool(t testing.TB, o PoolOptions, members ...MemberOptions) (*Pool, *events) {
	t.Helper()
	if o.Method == "" {
		o.Method = balance.RoundRobin
	}
	seen := &events{}
	var all []*Member
	for _, each := range members {
		if each.MaxFails == 0 {
			each.MaxFails, each.FailTimeout = 3, 10*time.Second
		}
		m, err := NewMember(each, seen.add)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		all = append(all, m)
	}
	p, err := NewPool(o, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, seen
}

type events struct {
	mu   sync.Mutex
	text []string
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	word := "down "
	if event.Up {
		word = "up "
	}
	e.text = append(e.text, word+event.Server)
}

func (e *events) all() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.text, ", ")
}

func at(address string) MemberOptions { return MemberOptions{Options: Options{Address: address}} }

// send makes a request and returns the answer's body.
func send(ctx context.Context, p *Pool, method string, body io.Reader) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "/", body)
	if err != nil {
		return "", err
	}
	req.URL, req.Host = &url.URL{Opaque: "/"}, "public.test"
	res, err := p.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func answering(t testing.TB, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
	t.Cleanup(s.Close)
	return s.URL
}

// absent returns the address of a server that is not there.
func absent(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestDeadServersAreAnothersTurnHoweverManyThereAre(t *testing.T) {
	p, seen := newPool(t, PoolOptions{Attempts: 1}, at(absent(t)), at(absent(t)), at(absent(t)), at(answering(t, "well")))
	for i := range 20 {
		method, body := "GET", io.Reader(nil)
		if i%2 == 0 {
			method, body = "POST", strings.NewReader("x") // nothing of it was sent
		}
		if got, err := send(t.Context(), p, method, body); got != "well" {
			t.Fatalf("request %d: %q, %v", i, got, err)
		}
	}
	if n := strings.Count(seen.all(), "down"); n != 3 {
		t.Errorf("events: %s", seen.all())
	}
}

func TestBackupIsUsedOnlyWhenNoOtherIsUp(t *testing.T) {
	backup := at(answering(t, "backup"))
	backup.Backup = true
	p, _ := newPool(t, PoolOptions{Attempts: 3}, at(answering(t, "first")), backup)
	for range 5 {
		if got, err := send(t.Context(), p, "GET", nil); got != "first" {
			t.Errorf("%q, %v", got, err)
		}
	}
	p, _ = newPool(t, PoolOptions{Attempts: 3}, at(absent(t)), backup)
	if got, err := send(t.Context(), p, "GET", nil); got != "backup" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStatusIsRetriedElsewhereIfAskedFor(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		io.WriteString(w, "busy")
	}))
	defer busy.Close()
	idle := answering(t, "well")
	for _, c := range []struct {
		on     RetryOn
		method string
		want   string // of two requests
	}{{Retry503, "GET", "well well"}, {Retry503, "POST", "busy well"}, {RetryClosed, "GET", "busy well"}} {
		p, _ := newPool(t, PoolOptions{Attempts: 3, RetryOn: c.on}, at(busy.URL), at(idle))
		first, _ := send(t.Context(), p, c.method, nil)
		second, _ := send(t.Context(), p, c.method, nil)
		if got := first + " " + second; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// plugged is a pool of one server that answers when told to.
func plugged(t *testing.T, o MemberOptions) (p *Pool, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}, 100), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		io.WriteString(w, "well")
	}))
	t.Cleanup(s.Close)
	o.Address = s.URL
	p, _ = newPool(t, PoolOptions{}, o)
	return p, arrived, release
}

func TestFullServerQueuesThenRefuses(t *testing.T) {
	p, arrived, release := plugged(t, MemberOptions{MaxConnections: 1, QueueSize: 1, QueueTimeout: time.Hour})
	results := make(chan error, 2)
	ask := func() { _, err := send(t.Context(), p, "GET", nil); results <- err }
	go ask()
	<-arrived
	go ask()
	queued := func() bool {
		p.members[0].slots.mu.Lock()
		defer p.members[0].slots.mu.Unlock()
		return len(p.members[0].slots.waiting) == 1
	}
	for tick := time.Tick(time.Millisecond); !queued(); <-tick {
	}
	_, err := send(t.Context(), p, "GET", nil)
	if full, ok := errors.AsType[*Unavailable](err); !ok || full.Reason != QueueFull {
		t.Errorf("the third got %v", err)
	}
	select {
	case <-arrived:
		t.Error("two requests are under way, and one is the limit")
	default:
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if p.members[0].slots.free != 1 || p.members[0].node.InFlight() != 0 {
		t.Errorf("%d free, %d in flight when all is done", p.members[0].slots.free, p.members[0].node.InFlight())
	}
}

func TestQueueIsInOrderAndTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{free: 1, queue: 3}
		if reason := s.acquire(t.Context(), time.Second); reason != 0 {
			t.Fatal(reason)
		}
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				limit := time.Minute
				if i == 1 {
					limit = time.Second
				}
				if reason := s.acquire(t.Context(), limit); reason == QueueTimeout {
					order <- -i
					return
				}
				order <- i
				s.release()
			}()
			synctest.Wait()
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if reason := s.acquire(gone, time.Minute); reason != QueueFull {
			t.Errorf("a fourth waits: %d", reason)
		}
		time.Sleep(2 * time.Second)
		if got := <-order; got != -1 {
			t.Errorf("%d came first, want 1 to time out", got)
		}
		s.release()
		if a, b := <-order, <-order; a != 0 || b != 2 {
			t.Errorf("served %d, then %d", a, b)
		}
		synctest.Wait()
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d free, %d waiting at the end", s.free, len(s.waiting))
		}
	})
}

func TestFailuresInTheWindowEjectAndTimeBringsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := at("http://a:1")
		o.MaxFails, o.FailTimeout, o.SlowStart = 3, 10*time.Second, time.Minute
		p, seen := newPool(t, PoolOptions{}, o, at("http://b:1"))
		h := &p.members[0].health
		fail := func() { h.failed(syscall.ECONNRESET) }
		fail()
		fail()
		time.Sleep(11 * time.Second) // out of the window
		fail()
		fail()
		if !h.up() || seen.all() != "" {
			t.Fatalf("down after two failures in the window; events: %s", seen.all())
		}
		fail()
		if h.up() || seen.all() != "down http://a:1" {
			t.Fatalf("up after three failures in the window; events: %s", seen.all())
		}
		var none balance.Set
		if c := p.candidates(&none); c.Has(0) || !c.Has(1) {
			t.Error("the ejected server is a candidate")
		}
		time.Sleep(11 * time.Second)
		if !h.up() {
			t.Error("still out after fail_timeout")
		}
		fail() // one is enough now
		if h.up() {
			t.Error("a failure on probation was forgiven")
		}
		time.Sleep(11 * time.Second)
		h.succeeded()
		if !h.up() || seen.all() != "down http://a:1, up http://a:1" {
			t.Errorf("events: %s", seen.all())
		}
		count := 0
		for range 1000 {
			if p.picker.Pick(balance.All(2), balance.NoKey) == 0 {
				count++
			}
		}
		if count > 10 {
			t.Errorf("%d of 1000 requests went to a server that has just come back and starts slowly", count)
		}
	})
}

func TestChecksNeedFallAndRise(t *testing.T) {
	o := at("http://a:1")
	o.Interval, o.Fall, o.Rise = time.Second, 2, 3
	p, seen := newPool(t, PoolOptions{}, o)
	h := &p.members[0].health
	for i, c := range []struct {
		good, up bool
	}{{true, true}, {false, true}, {true, true}, {false, true}, {false, false}, {true, false}, {true, false}, {false, false}, {true, false}, {true, false}, {true, true}} {
		err := error(&probe.BadAnswer{Text: "sick"})
		if c.good {
			err = nil
		}
		h.checked(err)
		if h.up() != c.up {
			t.Errorf("after check %d: up is %t", i, h.up())
		}
	}
	if seen.all() != "down http://a:1, up http://a:1" {
		t.Errorf("events: %s", seen.all())
	}
	fresh, _ := newPool(t, PoolOptions{}, o)
	fresh.members[0].health.checked(syscall.ECONNREFUSED)
	if fresh.members[0].health.up() {
		t.Error("a server that was never well is up after a bad check")
	}
}

func TestNoHealthyServerIs503UnlessAllAreGone(t *testing.T) {
	o := at(absent(t))
	o.Interval, o.Fall, o.Rise = time.Hour, 1, 1
	p, _ := newPool(t, PoolOptions{Name: "api"}, o)
	p.members[0].health.checked(&probe.BadAnswer{Text: "sick"})
	_, err := send(t.Context(), p, "GET", nil)
	if none, ok := errors.AsType[*Unavailable](err); !ok || none.Reason != NoServer || !strings.Contains(err.Error(), "upstream api: no server is healthy: sick") {
		t.Errorf("got %v", err)
	}
	p.members[0].check(t.Context())
	_, err = send(t.Context(), p, "GET", nil)
	if refused, ok := errors.AsType[*Error](err); !ok || !refused.Refused() {
		t.Errorf("got %v", err)
	}
}

func TestManyHeldRequestsShareOneLookAndLeaveWithTheirContext(t *testing.T) {
	p, _ := newPool(t, PoolOptions{Hold: time.Hour}, at(absent(t)))
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 50)
	for range 50 {
		go func() { _, err := send(ctx, p, "GET", nil); results <- err }()
	}
	held := func() int { p.hold.mu.Lock(); defer p.hold.mu.Unlock(); return p.hold.waiting }
	for tick := time.Tick(time.Millisecond); held() < 50; <-tick {
	}
	for tick := time.Tick(time.Millisecond); len(p.hold.lead) != 1; <-tick {
	}
	cancel()
	for range 50 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if held() != 0 || len(p.hold.lead) != 0 {
		t.Errorf("%d wait, %d lead", held(), len(p.hold.lead))
	}
}

func TestNumberOfHeldRequestsIsBounded(t *testing.T) {
	p, _ := newPool(t, PoolOptions{Hold: time.Hour}, at(absent(t)))
	for range mostHeld {
		p.hold.enter()
	}
	if _, err := send(t.Context(), p, "GET", nil); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestChoosingAllocatesNothing(t *testing.T) {
	for _, o := range []PoolOptions{
		{Method: balance.RandomTwo}, {Method: balance.LeastConn}, {Method: balance.Hash, Key: KeyClient},
		{Method: balance.Hash, Key: KeyCookie, KeyName: "id"}, {Method: balance.RoundRobin, StickyCookie: "route"},
	} {
		full := at("http://c:1")
		full.MaxConnections = 5
		p, _ := newPool(t, o, at("http://a:1"), at("http://b:1"), full)
		req := httptest.NewRequest("GET", "/", nil)
		req.RemoteAddr = "[2001:db8::1]:1234"
		req.Header["Cookie"] = []string{"a=b; id=42; route=" + p.sticky[1]}
		x := exchange{pool: p, req: req}
		if n := testing.AllocsPerRun(100, func() { _, _ = x.choose() }); n != 0 {
			t.Errorf("%+v: %v allocations", o, n)
		}
	}
}

func TestClientsAreToldApartByAddressAndIPv6ByNetwork(t *testing.T) {
	same := [][2]string{{"192.0.2.1:1", "192.0.2.1:2"}, {"192.0.2.1", "[::ffff:192.0.2.1]:9"}, {"[2001:db8::1]:1", "[2001:db8::ffff:2]:2"}}
	for _, pair := range same {
		if clientKey(pair[0]) != clientKey(pair[1]) {
			t.Errorf("%s and %s have different keys", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"192.0.2.1:1", "192.0.2.2:1"}, {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"}} {
		if clientKey(pair[0]) == clientKey(pair[1]) {
			t.Errorf("%s and %s have one key", pair[0], pair[1])
		}
	}
	if clientKey("@") != balance.NoKey {
		t.Error("a client on a unix socket has a key")
	}
}

func TestCookieIsFoundInAnyForm(t *testing.T) {
	for line, want := range map[string]string{
		"id=1": "1", "a=b; id=2": "2", "a=b;id=3 ; c=d": "3", `id="4"`: "4", "xid=5": "", "id": "", "idx=6; id=7": "7", "": "", "; ;id=8": "8",
	} {
		if got := cookie(http.Header{"Cookie": {line}}, "id"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// A body that one attempt may have touched is not given to another.
func TestBodyGoesToOneAttempt(t *testing.T) {
	b := &onceBody{in: io.NopCloser(strings.NewReader("body"))}
	first := b.attempt()
	if !b.free() {
		t.Fatal("nothing was read")
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("an attempt that is over reads on")
	}
	second := b.attempt()
	if got, err := io.ReadAll(second); string(got) != "body" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if b.free() {
		t.Error("it was read")
	}
	for range 1000 {
		b := &onceBody{in: io.NopCloser(strings.NewReader("x"))}
		first := b.attempt()
		read := make(chan int, 1)
		go func() { n, _ := first.Read(make([]byte, 1)); read <- n }()
		free := b.free()
		if n := <-read; free == (n == 1) {
			t.Fatalf("free is %t and %d bytes were read", free, n)
		}
	}
}

func BenchmarkPool(b *testing.B) {
	for _, n := range []int{1, 3} {
		var members []MemberOptions
		for range n {
			members = append(members, at(answering(b, "well")))
		}
		p, _ := newPool(b, PoolOptions{Method: balance.RandomTwo, Attempts: 3}, members...)
		req := httptest.NewRequest("GET", "/", nil)
		b.Run("choose/servers="+string(rune('0'+n)), func(b *testing.B) {
			b.ReportAllocs()
			x := exchange{pool: p, req: req}
			for b.Loop() {
				_, _ = x.choose()
			}
		})
	}
}
