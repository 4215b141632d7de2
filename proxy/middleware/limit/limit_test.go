package limit_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/middleware/limit"
)

func TestRequestsUnderWayAreCountedByKeyAndForgotten(t *testing.T) {
	l, err := limit.NewConnections(limit.ConnectionsOptions{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	began, end := make(chan bool), make(chan bool)
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began <- true; <-end }))
	var asked sync.WaitGroup
	for range 2 {
		asked.Go(func() { ask(h, from("192.0.2.1")) })
		<-began
	}
	w := ask(h, from("192.0.2.1"))
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("the third: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	asked.Go(func() { ask(h, from("192.0.2.2")) })
	<-began
	close(end)
	asked.Wait()
	go ask(h, from("192.0.2.1"))
	<-began
}

func TestAPanicDoesNotHoldAPlace(t *testing.T) {
	l, err := limit.NewConnections(limit.ConnectionsOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("refused")
				}
			}()
			ask(h, from("192.0.2.1"))
		}()
	}
	if _, err := limit.NewConnections(limit.ConnectionsOptions{}); err == nil {
		t.Error("a limit of none is no error")
	}
}

func TestTooLargeABodyIsRefusedBeforeItIsSent(t *testing.T) {
	reads := make(chan error, 10)
	h := limit.Body(10)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		reads <- err
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			w.WriteHeader(413)
		}
	}))
	s := httptest.NewServer(h)
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 413 {
		t.Fatalf("%v %v: a body that is too large was invited", res, err)
	}
	for _, c := range []struct {
		body    string
		chunked bool
		want    int
	}{
		{"0123456789", false, 200}, {"0123456789", true, 200}, {"0123456789a", true, 413}, {strings.Repeat("x", 1<<16), true, 413}, {"", true, 200},
	} {
		var body io.Reader = strings.NewReader(c.body)
		if c.chunked {
			body = io.MultiReader(body) // whose length net/http does not know
		}
		req, _ := http.NewRequest("POST", s.URL, body)
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := <-reads; res.StatusCode != c.want || (got == nil) != (c.want == 200) {
			t.Errorf("%d bytes, chunked %v: %d, read %v", len(c.body), c.chunked, res.StatusCode, got)
		}
	}
}

func TestABodyThatDoesNotArriveInTimeIsATimeout(t *testing.T) {
	reads := make(chan error, 1)
	h := limit.Arrival(50 * time.Millisecond)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		reads <- err
	}))
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	pr, pw := io.Pipe()
	defer pw.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", s.URL, pr)
	go func() {
		if res, err := s.Client().Do(req); err == nil {
			res.Body.Close()
		}
	}()
	_, _ = pw.Write([]byte("some"))
	select {
	case err := <-reads:
		if slow, ok := errors.AsType[net.Error](err); !ok || !slow.Timeout() {
			t.Errorf("the read failed with %v, want a timeout", err)
		}
	case <-ctx.Done():
		t.Fatal("the read waits for the client for ever")
	}
}

func TestABodyInTimeLeavesTheConnectionAlone(t *testing.T) {
	h := limit.Arrival(80 * time.Millisecond)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if r.Header.Get("Wait") != "" {
			timer := time.NewTimer(120 * time.Millisecond) // past the limit, with the body here
			<-timer.C
		}
	}))
	s := httptest.NewServer(h)
	defer s.Close()
	for _, wait := range []string{"yes", "", ""} {
		req, _ := http.NewRequest("POST", s.URL, strings.NewReader("body"))
		req.Header.Set("Wait", wait)
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}
