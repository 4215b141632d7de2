package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// exhibit answers in every way that a handler can.
func exhibit(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/empty":
	case "/small":
		_, _ = io.WriteString(w, "<p>small")
	case "/typed":
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<p>untyped")
	case "/large":
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 100000))
	case "/streamed":
		for range 50 {
			_, _ = w.Write(make([]byte, 3000))
			_ = http.NewResponseController(w).Flush()
		}
	case "/none":
		w.WriteHeader(http.StatusNoContent)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	case "/unchanged":
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	case "/late":
		w.Header().Set("X-Early", "1")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "1")
		_, _ = io.WriteString(w, "teapot")
	case "/connection":
		w.Header().Set("Transfer-Encoding", "chunked")
		_, _ = io.WriteString(w, "x")
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-More", "2")
	case "/echo":
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%d %v %v %d %s", len(body), err, r.Trailer, r.ContentLength, r.Host)
	case "/hints":
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hinted")
	case "/break":
		_, _ = w.Write(make([]byte, 10000))
		panic(http.ErrAbortHandler)
	case "/short":
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "short")
	}
}

// Whatever a handler does, a client sees what it would with net/http's server,
// but for Keep-Alive and the like, which net/http's passes on.
func TestAnswersAsNetHTTPDoes(t *testing.T) {
	theirs := httptest.NewUnstartedServer(http.HandlerFunc(exhibit))
	theirs.EnableHTTP2 = true
	theirs.StartTLS()
	t.Cleanup(theirs.Close)
	ours := run(t, h2.Options{}, exhibit)
	for _, path := range []string{"/empty", "/small", "/typed", "/large", "/streamed", "/none", "/unchanged", "/late", "/connection",
		"/trailers", "/echo", "/hints", "/break", "/short"} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			a := describe(t, ours.client(), method, "https://a.test"+path)
			b := describe(t, theirs.Client(), method, theirs.URL+path)
			if a != b {
				t.Errorf("%s %s:\n%s\nwant\n%s", method, path, a, b)
			}
		}
	}
}

func describe(t *testing.T, client *http.Client, method, url string) string {
	t.Helper()
	var body io.Reader
	if method == "POST" {
		body = io.MultiReader(strings.NewReader("hello"), bytes.NewReader(make([]byte, 100000)))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.test"
	if method == "POST" {
		req.Trailer = http.Header{"X-Sent": {"3"}}
	}
	res, err := client.Do(req)
	if err != nil {
		return "no response"
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	size := len(b)
	if err != nil {
		size = 0 // how much came before the break is a matter of luck
		res.Trailer = nil
	}
	res.Header.Del("Date")
	text := ""
	if size < 200 && err == nil {
		text = string(b)
	}
	return fmt.Sprintf("%d %v\n%v\n%d bytes %q, broken %v\n%v", res.StatusCode, res.ContentLength, res.Header, size, text, err != nil, res.Trailer)
}

func TestStopServesWhatIsOnItsWay(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			began <- struct{}{}
			<-release
		}
	})
	p := r.peer(t)
	idle := r.peer(t)
	_, _ = next[*http2.SettingsFrame](idle)
	p.ask(1, true)
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Shutdown(context.Background()) }()
	g, _ := next[*http2.GoAwayFrame](p)
	if g == nil || g.LastStreamID != 1<<31-1 {
		t.Fatalf("first %v", g)
	}
	ping, ok := next[*http2.PingFrame](p)
	if !ok {
		t.Fatal("no ping")
	}
	p.ask(3, true) // it was on its way
	<-began
	_ = p.WritePing(true, ping.Data)
	if g, _ = next[*http2.GoAwayFrame](p); g == nil || g.LastStreamID != 3 {
		t.Fatalf("then %v", g)
	}
	// One without a request as well: its next may be on the way.
	if g, ok := next[*http2.GoAwayFrame](idle); !ok || g.LastStreamID != 1<<31-1 {
		t.Errorf("an idle connection first got %v", g)
	}
	if ping, ok := next[*http2.PingFrame](idle); ok {
		_ = idle.WritePing(true, ping.Data)
	}
	if g, ok := next[*http2.GoAwayFrame](idle); !ok || g.LastStreamID != 0 {
		t.Errorf("an idle connection then got %v", g)
	}
	close(release)
	answered := 0
	for range 2 {
		if _, ok := next[*http2.MetaHeadersFrame](p); ok {
			answered++
		}
	}
	if answered != 2 {
		t.Errorf("%d requests were answered", answered)
	}
	_ = p.conn.Close()
	_ = idle.conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestConnectionWithoutRequestsEnds(t *testing.T) {
	r := run(t, h2.Options{IdleTimeout: 30 * time.Millisecond}, exhibit)
	p := r.peer(t)
	p.ask(1, true)
	if _, ok := next[*http2.MetaHeadersFrame](p); !ok {
		t.Fatal("not served")
	}
	if g, ok := next[*http2.GoAwayFrame](p); !ok || g.ErrCode != http2.ErrCodeNo {
		t.Errorf("got %v", g)
	}
}

func TestHeadThatComesInPiecesHasALimit(t *testing.T) {
	r := run(t, h2.Options{HeaderTimeout: 30 * time.Millisecond}, exhibit)
	p := r.peer(t)
	_, _ = next[*http2.SettingsFrame](p)
	section := p.section()
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section[:2], EndStream: true})
	for {
		if _, err := p.ReadFrame(); err != nil {
			return // it is cut
		}
	}
}

func TestDeadlinesWakeWhoWaits(t *testing.T) {
	got := make(chan error, 2)
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := r.Body.Read(make([]byte, 1))
		got <- err
		_ = control.SetReadDeadline(time.Time{})
		if n, err := r.Body.Read(make([]byte, 10)); n != 5 || err != nil && err != io.EOF {
			t.Errorf("after the deadline was moved: %d %v", n, err)
		}
		go func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) }()
		for err = nil; err == nil; {
			_, err = w.Write(make([]byte, 10000))
		}
		got <- err
	})
	p := r.peer(t)
	p.ask(1, false)
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading: %v", err)
	}
	_ = p.WriteData(1, true, []byte("hello"))
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing: %v", err)
	}
	if rst, ok := next[*http2.RSTStreamFrame](p); !ok || rst.ErrCode != http2.ErrCodeInternal {
		t.Errorf("the client sees %v", rst)
	}
}

func TestResetCancelsTheHandler(t *testing.T) {
	ended := make(chan error, 3)
	began := make(chan struct{})
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		derived, cancel := context.WithCancel(r.Context())
		defer cancel()
		called := make(chan struct{})
		context.AfterFunc(derived, func() { close(called) })
		close(began)
		<-r.Context().Done()
		<-called
		ended <- derived.Err()
		_, err := io.ReadAll(r.Body)
		ended <- err
		_, err = w.Write(make([]byte, 10000))
		ended <- err
	})
	p := r.peer(t)
	p.ask(1, false)
	<-began
	_ = p.WriteRSTStream(1, http2.ErrCodeCancel)
	for range 3 {
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	}
}

func TestPanicIsLoggedAndResets(t *testing.T) {
	r := run(t, h2.Options{}, func(http.ResponseWriter, *http.Request) { panic("at the disco") })
	p := r.peer(t)
	p.ask(1, true)
	if rst, ok := next[*http2.RSTStreamFrame](p); !ok || rst.ErrCode != http2.ErrCodeInternal {
		t.Errorf("got %v", rst)
	}
	if r.logs.FilterMessage("a request handler panicked").Len() != 1 {
		t.Error("it was not logged")
	}
}

// 100 Continue is sent when the handler begins to read, and not before.
func TestContinueIsSentWhenTheBodyIsRead(t *testing.T) {
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Expect"]) > 0 {
			t.Error("Expect is still there")
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	p := r.peer(t)
	p.ask(1, false, "expect", "100-continue")
	if head, ok := next[*http2.MetaHeadersFrame](p); !ok || head.PseudoValue("status") != "100" {
		t.Fatalf("got %v", head)
	}
	_ = p.WriteData(1, true, []byte("x"))
	if head, ok := next[*http2.MetaHeadersFrame](p); !ok || head.PseudoValue("status") != "200" {
		t.Errorf("got %v", head)
	}
}

func TestStreamsPastTheLimitAreRefused(t *testing.T) {
	release := make(chan struct{})
	r := run(t, h2.Options{Streams: 2}, func(http.ResponseWriter, *http.Request) { <-release })
	p := r.peer(t)
	for id := uint32(1); id <= 5; id += 2 {
		p.ask(id, true)
	}
	if rst, ok := next[*http2.RSTStreamFrame](p); !ok || rst.StreamID != 5 || rst.ErrCode != http2.ErrCodeRefusedStream {
		t.Errorf("got %v", rst)
	}
	close(release)
}

// The rooms above turn what RFC 8441 adds into what servers know.
func TestExtendedConnectReachesTheHandler(t *testing.T) {
	r := run(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" || r.Header[":protocol"][0] != "websocket" || r.RequestURI != "/chat" || r.ContentLength != -1 {
			t.Errorf("%s %s %v", r.Method, r.RequestURI, r.Header)
		}
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	})
	p := r.peer(t)
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true, BlockFragment: p.raw(":method", "CONNECT",
		":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/chat")})
	_ = p.WriteData(3, true, []byte("hello"))
	for {
		data, ok := next[*http2.DataFrame](p)
		if !ok || data.StreamID == 3 {
			if !ok || string(data.Data()) != "hello" {
				t.Errorf("got %v", data)
			}
			return
		}
	}
}
