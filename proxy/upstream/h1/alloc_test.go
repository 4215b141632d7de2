//go:build !race

package h1

import (
	"context"
	"io"
	"testing"
)

// TestAllocations states the price of a request whose response is given back:
// one string for the head, the header map (two, or four above eight fields), the
// fields' values. If the request's context can end and has no AfterFunc method,
// what [context.AfterFunc] needs comes to that, and the exchange.
func TestAllocations(t *testing.T) {
	if testing.CoverMode() != "" {
		t.Skip("coverage allocates")
	}
	for name, c := range map[string]struct {
		response string
		ctx      func() (context.Context, context.CancelFunc)
		most     float64
	}{
		"small":      {okResponse, nil, 4},
		"chunked":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", nil, 4},
		"typical":    {typicalHead + "Content-Length: 2\r\n\r\nok", nil, 4},
		"cancelable": {okResponse, func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 8},
	} {
		e := engine(t, Options{Dial: plainServer(t, 0, []byte(c.response)), IdleTimeout: 1 << 40, ResponseHeaderTimeout: 1 << 40})
		req := get(t).WithContext(context.Background())
		if c.ctx != nil {
			ctx, cancel := c.ctx()
			defer cancel()
			req = req.WithContext(ctx)
		}
		got := testing.AllocsPerRun(500, func() {
			res, err := e.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if !res.Body.(Recycler).Recycle() && c.ctx == nil && e.pool.idle[0].reused {
				t.Fatal("the response was not taken back")
			}
		})
		t.Logf("%s: %v", name, got)
		if got > c.most {
			t.Errorf("%s: %v allocations for a request, want at most %v", name, got, c.most)
		}
	}
}
