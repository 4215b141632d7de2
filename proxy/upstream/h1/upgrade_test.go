package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: custom\r\n\r\n"

func asking(req *http.Request) *http.Request {
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "custom")
	return req
}

func TestUpgrade(t *testing.T) {
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		io.WriteString(c, switching+"early ")
		io.Copy(c, r) // until the client half-closes
		io.WriteString(c, "bye")
	})
	e := o.engine(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := e.RoundTrip(asking(newRequest(ctx, "GET", nil)))
	if err != nil {
		t.Fatal(err)
	}
	cancel() // no longer matters
	conn := res.Body.(io.ReadWriteCloser)
	io.WriteString(conn, "there and back ")
	if err := res.Body.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(conn); string(all) != "early there and back bye" || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
	if err := conn.Close(); err != nil || e.pool.count() != 0 {
		t.Errorf("%v, %d connections are kept", err, e.pool.count())
	}
}

func TestUpgradesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		req    *http.Request
		answer string
		reason string
	}{
		"not asked for": {get(t), switching, switchNotAsked},
		"unnamed":       {asking(get(t)), "HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", switchUnnamed},
		"no Connection": {asking(get(t)), "HTTP/1.1 101 x\r\nUpgrade: custom\r\n\r\n", switchUnnamed},
	} {
		_, err := serve(t, answering(c.answer)).engine(t, Options{}).RoundTrip(c.req)
		if broken, ok := errors.AsType[*ProtocolError](err); !ok || broken.Reason != c.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		io.WriteString(c, switching)
		io.Copy(io.Discard, r)
	})
	body, w := io.Pipe()
	defer w.Close()
	_, err := o.engine(t, Options{}).RoundTrip(asking(newRequest(t.Context(), "POST", body)))
	if broken, ok := errors.AsType[*ProtocolError](err); !ok || broken.Reason != switchTooEarly {
		t.Errorf("before the whole request: %v", err)
	}
}

func TestUpgradeThatIsDeclined(t *testing.T) {
	o := serve(t, answering(okResponse))
	e := o.engine(t, Options{})
	for range 2 {
		if res, body := fetch(t, e, asking(post(t, strings.Repeat("x", 50_000)))); res.StatusCode != 200 || body != "ok" {
			t.Errorf("got %s %q", res.Status, body)
		}
	}
	if o.accepted.Load() != 1 {
		t.Error("the connection was not kept")
	}
}
