package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
)

// http3 returns a client that counts the connections it makes.
func (r *running) http3(t testing.TB) (client *http.Client, dialled *atomic.Int64) {
	t.Helper()
	dialled = new(atomic.Int64)
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		Dial: func(ctx context.Context, addr string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
			dialled.Add(1)
			return quic.DialAddr(ctx, addr, secure, config)
		},
	}
	t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport}, dialled
}

// quic opens a connection for speaking HTTP/3 by hand.
func (r *running) quic(t testing.TB) *quic.Conn {
	t.Helper()
	c, err := quic.DialAddr(t.Context(), r.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseWithError(0, "") })
	if _, err := c.AcceptUniStream(t.Context()); err != nil { // the server's control stream: it has accepted
		t.Fatal(err)
	}
	return c
}

// closed waits for the server to close a connection and returns how.
func closed(t testing.TB, c *quic.Conn) http3.ErrCode {
	t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the connection stays open")
	}
	end, is := errors.AsType[*quic.ApplicationError](context.Cause(c.Context()))
	if !is || !end.Remote {
		t.Fatalf("closed by %v", context.Cause(c.Context()))
	}
	return http3.ErrCode(end.ErrorCode)
}

func get(t testing.TB, client *http.Client, url string) string {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestHTTP3IsServedOnTheAddressOfHTTPS(t *testing.T) {
	r := run(t, Options{HTTP3: true}, ok)
	client, _ := r.http3(t)
	if got := get(t, client, "https://"+r.https); got != "HTTP/3.0" {
		t.Errorf("got %q", got)
	}
}

func TestHTTP3StopTellsIdleClientsToGoAndCloses(t *testing.T) {
	r := run(t, Options{HTTP3: true, ShutdownTimeout: time.Hour, IdleTimeout: time.Hour}, ok)
	client, _ := r.http3(t)
	get(t, client, "https://"+r.https)
	silent := r.quic(t) // never sends a request, and does not know what GOAWAY is
	began := time.Now()
	r.stop()
	if waited := time.Since(began); waited > 4*time.Second {
		t.Errorf("stopping took %v", waited)
	}
	if code := closed(t, silent); code != http3.ErrCodeNoError {
		t.Errorf("closed with %v", code)
	}
}

func TestHTTP3StopLetsRequestsFinish(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	r := run(t, Options{HTTP3: true, ShutdownTimeout: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		if r.Context().Err() != nil {
			t.Error("a stop cancelled a request")
		}
		io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	client, _ := r.http3(t)
	answer := make(chan string, 1)
	go func() { answer <- get(t, client, "https://"+r.https) }()
	<-arrived
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	r.stopping()
	close(finish)
	if got := <-answer; len(got) != 1<<20 {
		t.Errorf("%d bytes of the response arrived", len(got))
	}
	<-stopped
	if n := r.logs.FilterMessageSnippet("were cut").Len(); n != 0 {
		t.Error("something was cut")
	}
}

func TestHTTP3StopCutsWhatTakesTooLong(t *testing.T) {
	arrived, released := make(chan struct{}), make(chan struct{})
	r := run(t, Options{HTTP3: true, ShutdownTimeout: 30 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(released)
	})
	client, _ := r.http3(t)
	failed := make(chan error, 1)
	go func() {
		res, err := client.Get("https://" + r.https)
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	<-arrived
	r.stop()
	<-released
	if err := <-failed; err == nil {
		t.Error("the client took it for an answer")
	}
	if cut := r.logs.FilterMessageSnippet("were cut").All(); len(cut) != 1 || cut[0].ContextMap()["connections"] != int64(1) {
		t.Errorf("logged %v", cut)
	}
}

func TestHTTP3IdleConnectionsAreClosed(t *testing.T) {
	r := run(t, Options{HTTP3: true, IdleTimeout: 50 * time.Millisecond}, ok)
	t.Run("without a request", func(t *testing.T) {
		if code := closed(t, r.quic(t)); code != http3.ErrCodeNoError {
			t.Errorf("closed with %v", code)
		}
	})
	t.Run("with half a head", func(t *testing.T) {
		c := r.quic(t)
		stream, err := c.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write([]byte{0x01, 0x40}); err != nil { // HEADERS, half of its length
			t.Fatal(err)
		}
		if code := closed(t, c); code != http3.ErrCodeNoError {
			t.Errorf("closed with %v", code)
		}
	})
	t.Run("between requests", func(t *testing.T) {
		client, dialled := r.http3(t)
		get(t, client, "https://"+r.https)
		tick := time.NewTicker(75 * time.Millisecond)
		defer tick.Stop()
		for range 2 {
			<-tick.C
		}
		get(t, client, "https://"+r.https)
		if n := dialled.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("not during one", func(t *testing.T) {
		slow := run(t, Options{HTTP3: true, IdleTimeout: 20 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
			<-time.After(100 * time.Millisecond)
			ok(w, r)
		})
		client, _ := slow.http3(t)
		if got := get(t, client, "https://"+slow.https); got != "HTTP/3.0" {
			t.Errorf("got %q", got)
		}
	})
}

func TestHTTP3LimitsTheHead(t *testing.T) {
	r := run(t, Options{HTTP3: true, RequestHeaderBytes: 4 << 10}, ok)
	client, _ := r.http3(t)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.https, nil)
	req.Header.Set("X-Long", strings.Repeat("x", 8<<10))
	if res, err := client.Do(req); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d", res.StatusCode)
		}
	}
	if got := get(t, client, "https://"+r.https); got != "HTTP/3.0" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestHTTP3StreamsResetFasterThanTheyEndCostTheConnection(t *testing.T) {
	var under, most atomic.Int64
	hold := make(chan struct{})
	r := run(t, Options{HTTP3: true, HTTP2Streams: 4}, func(w http.ResponseWriter, r *http.Request) {
		if n := under.Add(1); n > most.Load() {
			most.Store(n)
		}
		io.Copy(io.Discard, r.Body) // hears of the reset
		for {
			if _, err := w.Write(make([]byte, 8<<10)); err != nil {
				break
			}
		}
		<-hold // and takes its time
		under.Add(-1)
	})
	defer close(hold)
	client, dialled := r.http3(t)
	for range 50 {
		if dialled.Load() > 1 {
			break // the first connection was closed
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		body, feed := io.Pipe()
		req, _ := http.NewRequestWithContext(ctx, "POST", "https://"+r.https, body)
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
		cancel()
		feed.Close()
	}
	if dialled.Load() < 2 || most.Load() > 2*(2*4) {
		t.Errorf("%d handlers at once, %d connections", most.Load(), dialled.Load())
	}
}

func TestHTTP3HasNoEarlyData(t *testing.T) {
	r := run(t, Options{HTTP3: true}, ok)
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"h3"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		c, err := quic.DialAddrEarly(t.Context(), r.https, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-c.HandshakeComplete()
		if c.ConnectionState().Used0RTT {
			t.Error("0-RTT was used")
		}
		stream, err := c.AcceptUniStream(t.Context()) // the server's first words come after its tickets
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Read(make([]byte, 1))
		_ = c.CloseWithError(0, "")
	}
}

func TestUDPSocketIsOpenedWithTheOthersOrNone(t *testing.T) {
	var wanted string // free for TCP, taken for UDP
	eventually(t, "such a port", func() bool {
		taken, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return false
		}
		t.Cleanup(func() { taken.Close() })
		wanted = taken.LocalAddr().String()
		free, err := net.Listen("tcp", wanted)
		if err == nil {
			free.Close()
		}
		return err == nil
	})
	o := Options{
		HTTPS: []string{wanted}, HTTP3: true, Handler: http.NotFoundHandler(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }, Logger: zap.NewNop(),
	}
	_, err := Open(t.Context(), o)
	failed, is := errors.AsType[*Error](err)
	if !is || failed.Address != wanted+"/udp" || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(failed.Hint(), "ss -lunp") {
		t.Errorf("got %v", err)
	}
	again, err := net.Listen("tcp", wanted)
	if err != nil {
		t.Fatalf("the TCP socket was left open: %v", err)
	}
	again.Close()
}

func TestHTTP3LeavesNoGoroutineBehind(t *testing.T) {
	count := func() int {
		buf := make([]byte, 1<<20)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), "quic-go")
	}
	r := run(t, Options{HTTP3: true}, ok)
	client, _ := r.http3(t)
	get(t, client, "https://"+r.https)
	r.quic(t)
	r.stop()
	client.Transport.(*http3.Transport).Close()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for count() > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			buf := make([]byte, 1<<20)
			t.Fatalf("%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestCloseEndsHTTP3(t *testing.T) {
	r := run(t, Options{HTTP3: true, ShutdownTimeout: time.Hour}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := r.quic(t)
	r.Close()
	r.stop()
	if code := closed(t, c); code != http3.ErrCodeNoError {
		t.Errorf("closed with %v", code)
	}
}

// A restart must not be a client's error: a handshake that has begun ends well.
func TestHTTP3HandshakesUnderWayAtAStopAreNotRefused(t *testing.T) {
	c := certificate(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	r := run(t, Options{HTTP3: true, ShutdownTimeout: 10 * time.Second, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		close(asked)
		<-goOn
		return c, nil
	}}, ok)
	dialled := make(chan error, 1)
	go func() {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"h3"}}
		c, err := quic.DialAddr(t.Context(), r.https, config, nil)
		if err == nil {
			<-c.Context().Done()
			err = context.Cause(c.Context())
		}
		dialled <- err
	}()
	<-asked
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	for {
		c, err := net.Dial("tcp", r.https)
		if err != nil {
			break // it stops
		}
		c.Close()
	}
	<-time.After(50 * time.Millisecond) // a listener that is closed would be by now
	close(goOn)
	err := <-dialled
	closed, is := errors.AsType[*quic.ApplicationError](err)
	if !is || closed.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError) {
		t.Errorf("the client got %v", err)
	}
	<-stopped
}

// The heads that a connection sends at once are memory that a stranger takes.
func TestHTTP3HeadsThatComeInAreBounded(t *testing.T) {
	const limit = 400 * time.Millisecond
	r := run(t, Options{HTTP3: true, RequestHeaderBytes: 256 << 10, RequestHeaderTimeout: limit}, ok)
	c := r.quic(t)
	began := time.Now()
	open := func(request []byte) *quic.Stream {
		stream, err := c.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SetDeadline(began.Add(20 * time.Second))
		if _, err := stream.Write(request); err != nil {
			t.Fatal(err)
		}
		return stream
	}
	for range 10 { // four fit
		open(head3("GET", "/")[:9])
	}
	last := open(head3("GET", "/"))
	_ = last.Close()
	most := 0
	answered := make(chan error, 1)
	go func() { _, err := io.ReadAll(last); answered <- err }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r.Server.quic.mu.Lock()
		for s := range r.Server.quic.sessions {
			s.mu.Lock()
			most = max(most, len(s.asked))
			s.mu.Unlock()
		}
		r.Server.quic.mu.Unlock()
		select {
		case <-tick.C:
			continue
		case err := <-answered:
			if err != nil {
				t.Errorf("a whole head behind them: %v", err)
			}
		}
		break
	}
	if most != 4 {
		t.Errorf("%d at once", most)
	}
	if took := time.Since(began); took < limit {
		t.Errorf("answered after %v", took)
	}
}

func TestHTTP3HeadsUnderWayAreBounded(t *testing.T) {
	arrived, finish := make(chan struct{}, 3), make(chan struct{})
	r := run(t, Options{HTTP3: true, RequestHeaderBytes: 700 << 10}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-finish
	})
	c := r.quic(t)
	ask := func() *quic.Stream {
		stream, err := c.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := stream.Write(head3("GET", "/", "x-a", strings.Repeat("a", 600<<10))); err != nil {
			t.Fatal(err)
		}
		_ = stream.Close()
		return stream
	}
	first := ask()
	<-arrived
	_, err := io.ReadAll(ask())
	if reset, is := errors.AsType[*quic.StreamError](err); !is || reset.ErrorCode != quic.StreamErrorCode(http3.ErrCodeRequestRejected) {
		t.Errorf("the second got %v", err)
	}
	close(finish)
	if _, err := io.ReadAll(first); err != nil {
		t.Errorf("the first got %v", err)
	}
	if _, err := io.ReadAll(ask()); err != nil {
		t.Errorf("the third got %v", err)
	}
	if got := r.refused(); got != "h3 too_many_streams 1" {
		t.Errorf("counted %q", got)
	}
}

// CVE-2023-44487 over HTTP/3, where the handlers end as fast as the resets come.
func TestHTTP3RequestsTakenBackCostTheConnection(t *testing.T) {
	var reached atomic.Int64
	r := run(t, Options{HTTP3: true, HTTP2Streams: 40}, func(_ http.ResponseWriter, r *http.Request) {
		if reached.Add(1); r.URL.Path == "/wait" {
			<-r.Context().Done()
		}
	})
	ask := func(c *quic.Conn, path string) *quic.Stream {
		stream, err := c.OpenStreamSync(c.Context())
		if err != nil {
			return nil
		}
		_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = stream.Write(head3("GET", path))
		_ = stream.Close()
		return stream
	}
	honest := r.quic(t)
	for range 100 {
		if _, err := io.ReadAll(ask(honest, "/")); err != nil {
			t.Fatal(err)
		}
	}
	reached.Store(0)
	c := r.quic(t)
	for range 2000 {
		stream := ask(c, "/wait")
		if stream == nil {
			break
		}
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
	if code := closed(t, c); code != http3.ErrCodeExcessiveLoad {
		t.Errorf("closed with %v", code)
	}
	if n := reached.Load(); n > 160 {
		t.Errorf("%d requests reached the handler", n)
	}
	if got := r.refused(); got != "h3 flood 1" {
		t.Errorf("counted %q", got)
	}
	if honest.Context().Err() != nil {
		t.Error("a client that takes every answer was cut")
	}
}
