package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/routing"
)

// marker is a hook that counts itself and says what it sees.
type marker struct{ ran *int }

func (m marker) Head(r *http.Request, status int, h http.Header) {
	*m.ran++
	h.Set("X-Seen", fmt.Sprint(status, " ", h.Get("Content-Type"), " ", exchange.Of(r).ID != ""))
}

// served answers one request with a handler behind a hook.
func served(t *testing.T, handler http.HandlerFunc) (rec *httptest.ResponseRecorder, x *exchange.Exchange, ran int) {
	t.Helper()
	p := New(Options{Logger: zap.NewNop()})
	g := &Generation{hosts: routing.NewHosts[*site](1)}
	if err := g.hosts.Add("a.test", only("a.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x = exchange.Of(r)
		x.OnHead(marker{&ran})
		handler(w, r)
	}))); err != nil {
		t.Fatal(err)
	}
	p.Commit(g)
	rec = httptest.NewRecorder()
	p.ServeHTTP(rec, httptest.NewRequest("GET", "https://a.test/x", nil))
	return rec, x, ran
}

// Hooks see the final head of every answer, once, whoever makes it and however.
func TestHooksSeeEveryAnswerOnce(t *testing.T) {
	denied := &exchange.Refusal{Status: 403, Label: "denied", Reason: "no"}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		seen    string
		sent    int64
	}{
		"nothing is written": {func(http.ResponseWriter, *http.Request) {}, "200  true", 0},
		"only a body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			io.WriteString(w, "body")
			io.WriteString(w, "more")
		}, "200 a/b true", 8},
		"hints, then the head twice": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(204)
			w.WriteHeader(500)
		}, "204  true", 0},
		"a flush":   {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, "200  true", 0},
		"a refusal": {func(w http.ResponseWriter, r *http.Request) { exchange.Refuse(w, r, denied) }, "403 text/plain; charset=utf-8 true", -1},
		"a panic":   {func(http.ResponseWriter, *http.Request) { panic("oops") }, "500 text/plain; charset=utf-8 true", -1},
	} {
		rec, x, ran := served(t, c.handler)
		if seen := rec.Header().Get("X-Seen"); seen != c.seen || ran != 1 {
			t.Errorf("%s: seen %q, %d times; want %q", name, seen, ran, c.seen)
		}
		if !strings.HasPrefix(c.seen, fmt.Sprint(x.Status)) || c.sent >= 0 && x.Sent != c.sent || x.Site != "a.test" {
			t.Errorf("%s: recorded %d, %d bytes, site %q", name, x.Status, x.Sent, x.Site)
		}
		if name == "a refusal" && x.Failure != "denied" {
			t.Errorf("the failure is %q", x.Failure)
		}
	}
}

// closer is a value that is kept.
type closer struct{ closed int }

func (c *closer) Close() { c.closed++ }

type closerKey struct{ size int }

func TestKeptValueLivesAsLongAsAGenerationWantsIt(t *testing.T) {
	p := New(Options{Logger: zap.NewNop()})
	generation := func(sizes ...int) (*Generation, []*closer) {
		g := &Generation{hosts: routing.NewHosts[*site](0), kept: kept{}}
		var got []*closer
		for _, size := range sizes {
			one, err := keep(p, g, closerKey{size}, func() (*closer, error) { return new(closer), nil })
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, one)
		}
		return g, got
	}
	first, a := generation(1, 2, 2)
	if a[1] != a[2] {
		t.Error("one key made two values in one generation")
	}
	p.Commit(first)
	dropped, _ := generation(1, 3) // prepared, and never committed
	_ = dropped
	second, b := generation(1, 3)
	if b[0] != a[0] {
		t.Error("a value was not taken over")
	}
	p.Commit(second)
	if a[0].closed != 0 || a[1].closed != 1 {
		t.Errorf("closed %d and %d times, want 0 and 1", a[0].closed, a[1].closed)
	}
	if _, err := keep(p, second, closerKey{4}, func() (*closer, error) { return nil, io.EOF }); err != io.EOF || second.kept[closerKey{4}] != nil {
		t.Errorf("a value that could not be made: %v", err)
	}
	p.Close()
	if b[0].closed != 1 || b[1].closed != 1 {
		t.Errorf("closed %d and %d times at the end, want once each", b[0].closed, b[1].closed)
	}
}
