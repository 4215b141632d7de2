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
	"time"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
	"github.com/sallyport/sallyport/proxy/upstream/h1"
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

// brittle is an engine whose connection breaks before, or after, something was
// sent, once.
type brittle struct {
	engine
	err error
}

func (b *brittle) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.err; err != nil {
		b.err = nil
		return nil, err
	}
	return b.engine.RoundTrip(req)
}

func TestUnsentRequestIsSentAgainWhateverItsMethod(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&h1.UnsentError{Err: syscall.EPIPE}, true},
		{syscall.ECONNRESET, false}, // perhaps after half of it
	} {
		p, _ := newPool(t, PoolOptions{Attempts: 2, RetryOn: RetryClosed}, at(answering(t, "well")))
		s := p.members[0].server
		s.main = &brittle{s.main, c.err}
		got, err := send(t.Context(), p, "POST", strings.NewReader("x"))
		if (got == "well") != c.want || (err == nil) != c.want {
			t.Errorf("%v: %q, %v", c.err, got, err)
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
