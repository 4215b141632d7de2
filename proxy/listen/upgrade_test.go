package listen

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// next starts a server that takes over from r, which then stops. It answers with
// its name.
func (r *running) next(t *testing.T, name string) *running {
	t.Helper()
	list, err := r.Files()
	if err != nil {
		t.Skip(err)
	}
	o := r.Options()
	o.Passed = list
	o.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
	c := certificate(t)
	o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = s.Run(ctx); close(ended) }()
	r.Yield()
	next := &running{Server: s, http: r.http, https: r.https, stop: func() { cancel(); <-ended }}
	t.Cleanup(next.stop)
	return next
}

// The first of three has a request under way, the second nothing. If that ended,
// two would read the socket, and each would lose what the other reads.
func TestUpgradesInARowLoseNoPacketsOverHTTP3(t *testing.T) {
	first := run(t, Options{HTTP3: true, ShutdownTimeout: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		if r.Method == http.MethodPost {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.Copy(flushing{w}, r.Body)
		}
	})
	client, _ := first.http3(t)
	body, feed := io.Pipe()
	res, err := client.Post("https://"+first.https, "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	echo := func() {
		t.Helper()
		began := time.Now()
		_, _ = feed.Write([]byte("x"))
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("an echo took %v", took)
		}
	}
	second := first.next(t, "second")
	ended := make(chan struct{})
	go func() { first.stop(); close(ended) }()
	fresh := func(want string) {
		t.Helper()
		client, _ := first.http3(t)
		began := time.Now()
		if got := get(t, client, "https://"+first.https); got != want {
			t.Errorf("%q answered, want %q", got, want)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("a new connection took %v", took)
		}
		_ = client.Transport.(*http3.Transport).Close()
	}
	fresh("second")
	second.next(t, "third")
	over := make(chan struct{})
	go func() { second.stop(); close(over) }()
	select {
	case <-over:
		t.Fatal("the second has ended, and the first has nobody to pass packets on to")
	case <-time.After(3 * time.Second):
	}
	for range 20 {
		echo()
		fresh("third")
	}
	_ = feed.Close()
	<-ended
	<-over
	fresh("third")
}

// flushing sends what is written at once.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	_ = http.NewResponseController(f.w).Flush()
	return n, err
}
