package proxy_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/accesslog"
)

// lines is a sink for a log that a test reads along.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	added chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.added <- struct{}{} }()
	return l.text.Write(p)
}

// next waits for a line and returns its fields.
func (l *lines) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case <-l.added:
	case <-time.After(10 * time.Second):
		t.Fatal("no line")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := l.text.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]any)
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestTheAccessLogKnowsHowEachRequestEnded(t *testing.T) {
	ok := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "hello")
	})
	sink := &lines{added: make(chan struct{}, 100)}
	log, err := accesslog.New(accesslog.Options{Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	cfg := impatient(sites("a.test", ok, "*.apps.test", "http://127.0.0.1:1"))
	w := startObserved(t, cfg, log)
	for _, c := range []struct {
		url  string
		want map[string]any
	}{
		{"https://a.test/x?y", map[string]any{"status": 200.0, "bytes": 5.0, "site": "a.test", "target": "/x?y", "attempts": 1.0, "server": strings.TrimSuffix(ok, "/"), "client": "127.0.0.1", "tls": "TLS 1.3"}},
		{"https://a.test/cut", map[string]any{"status": 200.0, "bytes": 5.0, "failure": "upstream_truncated"}},
		{"https://x.apps.test/", map[string]any{"status": 502.0, "failure": "upstream_refused", "site": "*.apps.test"}},
		{"https://other.test/", map[string]any{"status": 421.0, "failure": "host_misdirected", "site": nil}},
		{"http://a.test/plain", map[string]any{"status": 301.0, "scheme": "http", "tls": nil}},
	} {
		res, err := w.client(false).Get(c.url)
		switch {
		case err == nil:
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		case c.want["failure"] != "upstream_truncated": // of that one nothing may have left yet
			t.Fatal(err)
		}
		got := sink.next(t)
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s: %s is %v, want %v", c.url, key, got[key], want)
			}
		}
		if id, _ := got["request_id"].(string); len(id) != 32 {
			t.Errorf("%s: request_id %q", c.url, id)
		}
	}
}

var _ proxy.Observer = (*accesslog.Log)(nil)
