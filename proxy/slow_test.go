package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
)

// hurried makes a configuration impatient with slow clients: what takes half a
// minute by default takes a fifth of a second.
func hurried(cfg *config.Config) *config.Config {
	cfg.Limits.MinRate = 512
	cfg.Limits.MinRateGrace = 200 * time.Millisecond
	return cfg
}

// every returns a reader that gives one piece in each interval, count times.
func every(interval time.Duration, piece string, count int) io.Reader {
	r, w := io.Pipe()
	go func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for range count {
			<-tick.C
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
		w.Close()
	}()
	return r
}

// versions are clients of each version of HTTP.
func (w *world) versions() map[string]*http.Client {
	return map[string]*http.Client{"h1": w.client(false), "h2": w.client(true), "h3": w.client3("")}
}

func TestBodyThatDribblesIsCutAndAnHonestOneIsNot(t *testing.T) {
	w := start(t, over3(hurried(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n, err)
	})))))
	for name, client := range w.versions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			post := func(body io.Reader) (*http.Response, error) {
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://a.test/", body)
				req.ContentLength = 20_000
				return client.Do(req)
			}
			began := time.Now()
			res, err := post(every(20*time.Millisecond, "x", 20_000)) // 50 B/s
			if err == nil {
				if res.StatusCode != http.StatusRequestTimeout {
					t.Errorf("dribbled: %d %s", res.StatusCode, body(t, res))
				}
				res.Body.Close()
			} else if name == "h3" {
				t.Errorf("dribbled: %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("a client that dribbled was cut after %v", took)
			}
			res, err = post(every(10*time.Millisecond, strings.Repeat("x", 200), 100)) // 20 KB/s
			if err != nil {
				t.Fatal(err)
			}
			if text := body(t, res); text != "20000 <nil>" {
				t.Errorf("at 20 KB/s: %d %s", res.StatusCode, text)
			}
		})
	}
}

func TestBodyThatStopsAfterAQuickStartIsCut(t *testing.T) {
	ended := make(chan error, 1)
	w := start(t, hurried(sites("a.test", backend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}))))
	r := w.say("a.test", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9000000\r\n\r\n"+strings.Repeat("x", 1_000_000))
	res := answer(t, r, "POST")
	if res.StatusCode != http.StatusRequestTimeout || !res.Close {
		t.Errorf("got %d, close %v", res.StatusCode, res.Close)
	}
	if err := wait(t, ended, "the server to be told"); err == nil {
		t.Error("the server took half a body for a whole one")
	}
	if fields := w.logged("body_timeout"); !strings.Contains(fmt.Sprint(fields["hint"]), "min_rate") {
		t.Errorf("logged %v", fields)
	}
}

// flood answers without end and reports when it was stopped.
func flood(t testing.TB, kind string) (server string, stopped chan struct{}) {
	stopped = make(chan struct{}, 10)
	return backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			io.WriteString(rw, "quick")
			return
		}
		rw.Header().Set("Content-Type", kind)
		piece := make([]byte, 64<<10)
		for {
			if _, err := rw.Write(piece); err != nil {
				stopped <- struct{}{}
				return
			}
		}
	}), stopped
}

func TestReaderThatStopsOrDribblesIsCutAndOthersAreServed(t *testing.T) {
	for _, pace := range []struct {
		name  string
		bytes int
	}{{"never", 0}, {"50 B/s", 1}} {
		t.Run(pace.name, func(t *testing.T) {
			t.Parallel()
			server, stopped := flood(t, "application/octet-stream")
			w := start(t, over3(hurried(sites("a.test", server))))
			quick := w.client(true)
			for name, client := range w.versions() {
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.test/flood", nil)
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				reading := make(chan struct{})
				go func() {
					defer close(reading)
					tick := time.NewTicker(20 * time.Millisecond)
					defer tick.Stop()
					piece := make([]byte, pace.bytes)
					for pace.bytes > 0 && ctx.Err() == nil {
						<-tick.C
						if _, err := res.Body.Read(piece); err != nil {
							return
						}
					}
				}()
				began := time.Now()
				if res, err := quick.Get("https://a.test/quick"); err != nil || body(t, res) != "quick" {
					t.Errorf("%s: a client beside it was not served: %v", name, err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("%s: a client beside it waited %v", name, took)
				}
				wait(t, stopped, name+": the end of an answer that is not read")
				cancel()
				res.Body.Close()
				<-reading
			}
		})
	}
}

func TestSlowReadersOfEventsAreLeftAlone(t *testing.T) {
	for _, name := range []string{"h1", "h2", "h3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, stopped := flood(t, "text/event-stream")
			client := start(t, over3(hurried(sites("a.test", server)))).versions()[name]
			res, err := client.Get("https://a.test/flood")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			select {
			case <-stopped:
				t.Error("an exchange that is exempt was cut")
			case <-time.After(time.Second):
			}
		})
	}
}

func TestSilentUpgradedConnectionIsClosed(t *testing.T) {
	cfg := sites("a.test", rawBackend(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, r)
	}))
	cfg.Limits.UpgradedIdleTimeout = 300 * time.Millisecond
	w := start(t, hurried(cfg))
	c := w.dial("a.test")
	write(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if res := answer(t, r, "GET"); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %d", res.StatusCode)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 8 { // longer than the limit in all, and than min_rate would allow
		<-tick.C
		write(t, c, "x")
		if _, err := r.ReadByte(); err != nil {
			t.Fatalf("closed although something moved: %v", err)
		}
	}
	began := time.Now()
	if _, err := r.ReadByte(); err == nil {
		t.Fatal("something came from nowhere")
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 10*time.Second {
		t.Errorf("closed after %v of silence", took)
	}
}

func TestServerThatStopsInTheMiddleOfItsAnswer(t *testing.T) {
	half := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", r.URL.Query().Get("kind"))
		io.WriteString(rw, "half")
		http.NewResponseController(rw).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
			io.WriteString(rw, " and half")
		}
	}
	for name, server := range map[string]string{"HTTP/1.1": backend(t, half), "h2c": h2cBackend(t, half)} {
		t.Run(name, func(t *testing.T) {
			cfg := sites("a.test", server)
			cfg.Limits.UpstreamBodyTimeout = 300 * time.Millisecond
			w := start(t, cfg)
			client := w.client(false)
			res, err := client.Get("https://a.test/?kind=text/plain")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("half an answer passed for a whole one: %q", text)
			}
			if fields := w.logged("upstream_stalled"); !strings.Contains(fmt.Sprint(fields["hint"]), "upstream_body_timeout") {
				t.Errorf("logged %v", fields)
			}
			if res, err := client.Get("https://a.test/?kind=text/event-stream"); err != nil || body(t, res) != "half and half" {
				t.Errorf("a stream of events was cut: %v", err)
			}
		})
	}
}

func TestHeadsBeyondTheLimits(t *testing.T) {
	w := start(t, over3(sites("a.test", backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "fine") }))))
	for name, client := range w.versions() {
		t.Run(name, func(t *testing.T) {
			get := func(target string, fields int, distinct bool) int {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test"+target, nil)
				for i := range fields {
					field := "X-Field"
					if distinct {
						field = fmt.Sprintf("X-%d", i)
					}
					req.Header.Add(field, "v")
				}
				res, err := client.Do(req)
				if err != nil {
					t.Logf("%s, %d fields: %v", target[:1], fields, err)
					return 0
				}
				body(t, res)
				return res.StatusCode
			}
			long := "/" + strings.Repeat("a", 16<<10)
			for _, test := range []struct {
				target   string
				fields   int
				distinct bool
				want     int
			}{
				{"/", 100, true, 200},
				{"/", 130, true, 431},
				{"/", 130, false, 431},
				{long[:16<<10], 0, false, 200},
				{long, 0, false, 414},
			} {
				if got := get(test.target, test.fields, test.distinct); got != test.want {
					t.Errorf("a target of %d bytes and %d fields: %d, want %d", len(test.target), test.fields, got, test.want)
				}
			}
			for _, distinct := range []bool{true, false} { // larger than a head may be, or just too many
				if got := get("/", 10_000, distinct); got != 431 && got != 0 {
					t.Errorf("10,000 fields: %d", got)
				}
			}
			if got := get("/", 0, false); got != 200 {
				t.Errorf("afterwards: %d", got)
			}
		})
	}
}

func TestWithoutMemoryRequestsGet503(t *testing.T) {
	short := false
	w := startWith(t, sites("a.test", backend(t, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "fine") })), proxy.Options{Overloaded: func() bool { return short }})
	client := w.client(false)
	get := func() int {
		res, err := client.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		body(t, res)
		return res.StatusCode
	}
	if got := get(); got != 200 {
		t.Fatalf("before: %d", got)
	}
	short = true
	if got := get(); got != 503 {
		t.Errorf("without memory: %d", got)
	}
	if fields := w.logged("overloaded"); !strings.Contains(fmt.Sprint(fields["hint"]), "memory_limit") {
		t.Errorf("logged %v", fields)
	}
	short = false
	if got := get(); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
}

func TestAnHonestSlowReaderGetsAll(t *testing.T) {
	const size = 60_000 // at 20 KB/s: three seconds, and fifteen times the grace
	w := start(t, over3(hurried(sites("a.test", backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Write(make([]byte, size))
	})))))
	for name, client := range w.versions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := client.Get("https://a.test/")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			got := 0
			for piece := make([]byte, 200); ; {
				<-tick.C
				n, err := io.ReadFull(res.Body, piece)
				got += n
				if err == io.EOF || err == io.ErrUnexpectedEOF {
					break
				}
				if err != nil {
					t.Fatalf("after %d bytes: %v", got, err)
				}
			}
			if got != size {
				t.Errorf("got %d bytes of %d", got, size)
			}
		})
	}
}
