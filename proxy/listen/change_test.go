package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// change puts other options into force.
func (r *running) change(t testing.TB, edit func(*Options)) error {
	t.Helper()
	o := r.Options()
	edit(&o)
	c, err := r.Prepare(t.Context(), o)
	if err != nil {
		return err
	}
	r.Commit(c)
	return nil
}

func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// talker is a client that keeps one connection of HTTP/1.1 over TLS.
type talker struct {
	t *testing.T
	*tls.Conn
	r *bufio.Reader
}

func talk(t *testing.T, address string) *talker {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &talker{t, c, bufio.NewReader(c)}
}

// ask sends a request and returns the answer.
func (c *talker) ask(extra string) *http.Response {
	c.t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n"+extra+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res
}

func TestChangeOfAddressesKeepsConnectionsOfBoth(t *testing.T) {
	r := run(t, Options{}, ok)
	stays, goes := talk(t, r.https), talk(t, r.https)
	stays.ask("")
	other := free(t)
	if err := r.change(t, func(o *Options) { o.HTTPS = append(o.HTTPS, other) }); err != nil {
		t.Fatal(err)
	}
	talk(t, other).ask("")
	stays.ask("")
	if err := r.change(t, func(o *Options) { o.HTTPS = []string{other} }); err != nil {
		t.Fatal(err)
	}
	goes.ask("") // made before, at an address that is gone
	stays.ask("")
	talk(t, other).ask("")
	if c, err := net.Dial("tcp", r.https); err == nil {
		c.Close()
		t.Error("the address that is gone is still listened on")
	}
	if _, https := r.Addrs(); len(https) != 1 || https[0].String() != other {
		t.Errorf("listens on %v", https)
	}
}

func TestChangeThatCannotListenChangesNothing(t *testing.T) {
	r := run(t, Options{}, ok)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := free(t)
	err = r.change(t, func(o *Options) {
		o.HTTPS = []string{other, taken.Addr().String()}
		o.RequestHeaderCount = 1
	})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v", err)
	}
	talk(t, r.https).ask("A: 1\r\nB: 2\r\n")
	if l, err := net.Listen("tcp", other); err != nil {
		t.Errorf("the other address stays open: %v", err)
	} else {
		l.Close()
	}
}

func TestChangeToAnAddressThatCoversTheOldOne(t *testing.T) {
	var r *running
	var port string
	for range 10 {
		r = run(t, Options{HTTP3: true}, ok)
		_, port, _ = net.SplitHostPort(r.https)
		// The port was free on one address. On another, somebody may have a
		// connection from it.
		err := r.change(t, func(o *Options) { o.HTTPS = []string{"0.0.0.0:" + port} })
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	fix := func(to string) {
		t.Helper()
		if err := r.change(t, func(o *Options) { o.HTTPS = []string{to} }); err != nil {
			t.Fatal(err)
		}
		talk(t, "127.0.0.1:"+port).ask("")
		client, _ := r.http3(t)
		if got := get(t, client, "https://127.0.0.1:"+port); got != "HTTP/3.0" {
			t.Errorf("at %s: %s", to, got)
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			t.Error("another socket could be bound beside ours")
		}
	}
	for _, to := range []string{"0.0.0.0:" + port, "127.0.0.1:" + port, ":" + port} {
		fix(to)
	}
}

func TestChangedLimitsHoldForNewConnections(t *testing.T) {
	r := run(t, Options{RequestHeaderCount: 10}, ok)
	old := talk(t, r.https)
	old.ask("")
	if err := r.change(t, func(o *Options) { o.RequestHeaderCount = 2; o.ConnectionsPerAddress = 3 }); err != nil {
		t.Fatal(err)
	}
	const three = "A: 1\r\nB: 2\r\nC: 3\r\n"
	if res := old.ask(three); res.StatusCode != 200 {
		t.Errorf("a connection from before: %s", res.Status)
	}
	if res := talk(t, r.https).ask(three); res.StatusCode != 431 {
		t.Errorf("a new connection: %s", res.Status)
	}
	talk(t, r.https)
	c, err := tls.Dial("tcp", r.https, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		c.Close()
		t.Error("a connection past the new limit was taken")
	}
}

func TestSessionsSurviveAChange(t *testing.T) {
	r := run(t, Options{}, ok)
	config := &tls.Config{ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		c := r.secure(t, config)
		if c.ConnectionState().DidResume != (i > 0) {
			t.Errorf("connection %d resumed: %t", i, c.ConnectionState().DidResume)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err := r.change(t, func(o *Options) { o.IdleTimeout = 5 * time.Second; o.HTTP2Streams = 7 }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHTTP3IsSwitchedOnAndOff(t *testing.T) {
	r := run(t, Options{}, ok)
	if err := r.change(t, func(o *Options) { o.HTTP3 = true }); err != nil {
		t.Fatal(err)
	}
	client, _ := r.http3(t)
	if got := get(t, client, "https://"+r.https); got != "HTTP/3.0" {
		t.Fatal(got)
	}
	if res := talk(t, r.https).ask(""); res.Header.Get("Alt-Svc") == "" {
		t.Error("not announced")
	}
	waiting := r.quic(t)
	if err := r.change(t, func(o *Options) { o.HTTP3 = false }); err != nil {
		t.Fatal(err)
	}
	closed(t, waiting)
	if res := talk(t, r.https).ask(""); res.Header.Get("Alt-Svc") != "" {
		t.Error("still announced")
	}
}

func TestBalancersComeAndGoOnTheSameSocket(t *testing.T) {
	r := run(t, Options{}, who)
	old := talk(t, r.https)
	old.ask("")
	if err := r.change(t, func(o *Options) { o.Balancers = everybody }); err != nil {
		t.Fatal(err)
	}
	c := dialled(t, r.http, from("192.0.2.7")+"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if text, err := io.ReadAll(c); !strings.Contains(string(text), "192.0.2.7:") {
		t.Errorf("got %s, %v; logged %v", text, err, r.logs.All())
	}
	old.ask("")
	if err := r.change(t, func(o *Options) { o.Balancers = func(netip.Addr) bool { return false } }); err != nil {
		t.Fatal(err)
	}
	talk(t, r.https).ask("")
	if err := r.change(t, func(o *Options) { o.Balancers = nil }); err != nil {
		t.Fatal(err)
	}
	talk(t, r.https).ask("")
	old.ask("")
}

func TestStopServesARequestThatIsOnItsWay(t *testing.T) {
	r := run(t, Options{}, ok)
	c := talk(t, r.https)
	c.ask("")
	fresh := talk(t, r.https)
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	for {
		probe, err := net.Dial("tcp", r.https)
		if err != nil {
			break // it does not listen any more
		}
		probe.Close()
	}
	for _, each := range []*talker{c, fresh} {
		if res := each.ask(""); !res.Close {
			t.Error("the answer does not say that it was the last")
		}
	}
	<-stopped
}

func TestHurriedStopIsShort(t *testing.T) {
	arrived := make(chan struct{})
	r := run(t, Options{ShutdownTimeout: time.Hour}, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	c := talk(t, r.https)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	<-arrived
	r.Hurry()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// passed opens sockets as systemd would.
func passed(t *testing.T, kinds ...string) (list []Passed, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Skip("the port is taken for UDP")
	}
	defer u.Close()
	for _, kind := range kinds {
		var file *os.File
		if kind == "https-udp" {
			file, err = u.(*net.UDPConn).File()
		} else {
			file, err = l.(*net.TCPListener).File()
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Passed{Name: kind, File: file})
	}
	return list, l.Addr().String()
}

func TestPassedSocketsAreServed(t *testing.T) {
	list, address := passed(t, "https", "https-udp")
	c := certificate(t)
	first := run(t, Options{}, ok) // for its logger and client
	o := Options{
		HTTPS: []string{address}, HTTP3: true, Passed: list, Handler: http.HandlerFunc(ok), Logger: first.logger,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }, ShutdownTimeout: 2 * time.Second,
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	talk(t, address).ask("")
	files, err := s.Files()
	if err != nil || len(files) != 2 || files[0].Name != "https" || files[1].Name != "https-udp" {
		t.Errorf("files %v, %v", files, err)
	}
	for _, f := range files {
		f.File.Close()
		shut(&f.Relay)
	}
	s.Keep()
	client, _ := first.http3(t)
	if got := get(t, client, "https://"+address); got != "HTTP/3.0" {
		t.Error(got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPassedSocketThatNothingAsksForIsAnError(t *testing.T) {
	for name, kinds := range map[string][]string{"another address": {"https"}, "no name": {"sallyport.socket"}, "UDP without HTTP/3": {"https-udp"}} {
		list, address := passed(t, kinds...)
		o := Options{HTTPS: []string{"127.0.0.1:0"}, Passed: list, Handler: http.HandlerFunc(ok),
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }, Logger: run(t, Options{}, ok).logger}
		_, err := Open(t.Context(), o)
		wrong, is := errors.AsType[*PassedError](err)
		if !is || wrong.Hint() == "" {
			t.Errorf("%s: %v", name, err)
		}
		if l, err := net.Listen("tcp", address); err != nil {
			t.Errorf("%s: the socket stays open", name)
		} else {
			l.Close()
		}
	}
}
