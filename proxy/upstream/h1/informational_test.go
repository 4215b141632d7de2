package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// informed collects what the trace is told.
func informed(req *http.Request) (*http.Request, *[]string) {
	var told []string
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { told = append(told, "first byte") },
		Got100Continue:       func() { told = append(told, "continue") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			told = append(told, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	})), &told
}

func TestInformationalResponses(t *testing.T) {
	o := serve(t, answering("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"+okResponse))
	e := o.engine(t, Options{})
	for range 2 {
		req, told := informed(get(t))
		fetch(t, e, req)
		if got := fmt.Sprint(*told); got != "[first byte 102  103 </a> 103 </b>]" {
			t.Error(got)
		}
	}
	if o.accepted.Load() != 1 {
		t.Error("the connection was not kept")
	}
}

func TestErrorOfTheTraceEndsTheExchange(t *testing.T) {
	enough := errors.New("enough")
	o := serve(t, answering("HTTP/1.1 103 Early Hints\r\n\r\n"+okResponse))
	e := o.engine(t, Options{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return enough }})
	if _, err := e.RoundTrip(get(t).WithContext(ctx)); err != enough {
		t.Errorf("got %v", err)
	}
}

func expecting(t *testing.T, body string) *http.Request {
	req := post(t, body)
	req.Header.Set("Expect", "100-continue")
	return req
}

func TestContinue(t *testing.T) {
	for _, size := range []int{5, 100_000} {
		o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
			for {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if n := r.Buffered(); n != 0 {
					t.Errorf("%d bytes came unasked", n)
				}
				io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
				n, _ := io.Copy(io.Discard, req.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%08d", n)
			}
		})
		e := o.engine(t, Options{ExpectContinueTimeout: time.Hour})
		for range 2 {
			req, told := informed(expecting(t, strings.Repeat("x", size)))
			if _, body := fetch(t, e, req); body != fmt.Sprintf("%08d", size) {
				t.Errorf("got %s", body)
			}
			if got := fmt.Sprint(*told); got != "[first byte 103  continue 100 ]" {
				t.Error(got)
			}
		}
		if o.accepted.Load() != 1 {
			t.Error("the connection was not kept")
		}
	}
}

// TestContinueIsRefused: no byte of the body is sent, and since it was
// announced the connection cannot be used again.
func TestContinueIsRefused(t *testing.T) {
	rest := make(chan int64, 1)
	o := serve(t, func(c *net.TCPConn, r *bufio.Reader, _ int) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
		n, _ := io.Copy(io.Discard, r)
		rest <- n
	})
	e := o.engine(t, Options{ExpectContinueTimeout: time.Hour})
	body := &tracked{Reader: failing{errors.New("read")}}
	req := newRequest(t.Context(), "POST", body)
	req.Header.Set("Expect", "100-Continue")
	if res, _ := fetch(t, e, req); res.StatusCode != 401 || !body.closed.Load() {
		t.Errorf("got %s, body closed %t", res.Status, body.closed.Load())
	}
	if n := <-rest; n != 0 || e.pool.count() != 0 {
		t.Errorf("%d bytes were sent, %d connections kept", n, e.pool.count())
	}
}

func TestContinueWithoutWaiting(t *testing.T) {
	o := serve(t, answering(okResponse)) // which never says 100
	if _, body := fetch(t, o.engine(t, Options{}), expecting(t, "at once")); body != "ok" {
		t.Errorf("got %q", body)
	}
}
