package upstream_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// patient serves over HTTP/1.1 or HTTP/2 without TLS, and returns a pool of it.
func patient(t *testing.T, h2 bool, limit time.Duration, h http.HandlerFunc) *upstream.Pool {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	scheme := "http://"
	if h2 {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		scheme = "h2c://"
	}
	s.Start()
	t.Cleanup(s.Close)
	member, err := upstream.NewMember(upstream.MemberOptions{Options: upstream.Options{
		Address: scheme + s.Listener.Addr().String(), ConnectTimeout: 5 * time.Second, ResponseHeaderTimeout: limit, IdleConnections: 4,
	}}, func(upstream.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(member.Close)
	pool, err := upstream.NewPool(upstream.PoolOptions{Method: balance.RoundRobin, Attempts: 3, RetryOn: upstream.RetryClosed}, []*upstream.Member{member})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestARequestMayWaitForLongerOrShorterThanOthers(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		pool := patient(t, h2, 100*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			timer := time.NewTimer(200 * time.Millisecond)
			select {
			case <-timer.C:
				_ = http.NewResponseController(w).Flush()
				if r.URL.Path == "/long" {
					rest := time.NewTimer(1200 * time.Millisecond) // no limit once the response has begun
					<-rest.C
				}
				_, _ = io.WriteString(w, "late")
			case <-r.Context().Done():
			}
		})
		for _, c := range []struct {
			path  string
			limit time.Duration // below 0: the server's own
			slow  bool
		}{{"/", -1, true}, {"/", 10 * time.Second, false}, {"/", 20 * time.Millisecond, true}, {"/", 0, false}, {"/long", time.Second, false}} {
			for _, body := range []string{"", "body"} {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", c.path, nil)
				if body != "" {
					req, _ = http.NewRequestWithContext(t.Context(), "POST", c.path, io.MultiReader(strings.NewReader(body)))
				}
				req.Host = "a.test"
				if c.limit >= 0 {
					req = req.WithContext(upstream.WithResponseTimeout(req.Context(), c.limit))
				}
				res, err := pool.RoundTrip(req)
				if c.slow {
					if failed, ok := errors.AsType[*upstream.Error](err); !ok || !failed.Timeout() || failed.Stage != upstream.Exchange {
						t.Errorf("h2 %v, limit %v, body %q: %v", h2, c.limit, body, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("h2 %v, limit %v, body %q: %v", h2, c.limit, body, err)
					continue
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(got) != "late" || err != nil {
					t.Errorf("h2 %v, limit %v, body %q: read %q, %v", h2, c.limit, body, got, err)
				}
			}
		}
	}
}

func TestABodyThatWasKeptIsSentAgainWhole(t *testing.T) {
	sent := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, method := range []string{"PUT", "POST"} {
		var asked atomic.Int64
		pool := patient(t, false, 0, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) < 3 { // reads some, then breaks off
				_, _ = io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
		req, _ := http.NewRequestWithContext(t.Context(), method, "/", bytes.NewReader(sent)) // sets GetBody
		req.Host = "a.test"
		res, err := pool.RoundTrip(req)
		if method == "POST" {
			if err == nil || asked.Load() != 1 {
				t.Errorf("a POST was sent %d times, %v", asked.Load(), err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v after %d times", err, asked.Load())
		}
		res.Body.Close()
	}
}
