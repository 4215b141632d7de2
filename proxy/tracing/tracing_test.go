package tracing_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/tracing"
)

func TestTheQueueIsBoundedAndNobodyWaits(t *testing.T) {
	var counts tracing.Counts
	e, err := tracing.New(tracing.Options{Endpoint: "http://127.0.0.1:1/", Queue: 3}, tracing.Links{Counts: &counts})
	if err != nil {
		t.Fatal(err)
	}
	tracer := tracing.Tracer{Exporter: e, Sample: 1}
	for range 10 { // nobody runs it
		r := httptest.NewRequest("GET", "/", nil)
		tracer.Done(tracer.Begin(r), r, exchange.New(r), time.Second)
	}
	if got := counts.Dropped.Load(); got != 7 {
		t.Errorf("%d were dropped", got)
	}
}

func TestTheShareIsOfRequestsWithoutATrace(t *testing.T) {
	for sample, want := range map[float64][2]int{0: {0, 0}, 1: {2000, 2000}, .25: {350, 650}} {
		tracer := tracing.Tracer{Sample: sample}
		n := 0
		for range 2000 {
			if tracer.Begin(&http.Request{Header: make(http.Header)}) != nil {
				n++
			}
		}
		if n < want[0] || n > want[1] {
			t.Errorf("%v: %d of 2000", sample, n)
		}
	}
}

func TestAFileThatCannotBeUsedIsAnErrorThatKeepsTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"the-secret", "X Key: the-secret", "X-Key: the-secret\x01", "X-Key: " + strings.Repeat("the-secret", 7000)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := tracing.New(tracing.Options{HeadersFile: path}, tracing.Links{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: %v", text, err)
		}
		if _, err := tracing.New(tracing.Options{CA: path}, tracing.Links{}); err == nil {
			t.Errorf("%.20q was taken for a CA", text)
		}
	}
	if _, err := tracing.New(tracing.Options{HeadersFile: path + ".none"}, tracing.Links{}); err == nil {
		t.Error("a missing file was no error")
	}
}

func TestAFileOfFieldsThatIsNotPrivateIsRefused(t *testing.T) {
	dir := t.TempDir()
	path, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(path, []byte("X-Key: the-secret\n"), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[os.FileMode]bool{0o400: false, 0o600: false, 0o640: false, 0o660: false, 0o604: true, 0o644: true, 0o602: true, 0o666: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := tracing.New(tracing.Options{HeadersFile: path}, tracing.Links{})
		if bad, _ := errors.AsType[*tracing.Error](err); (bad != nil) != refused || refused && (!strings.Contains(bad.Hint(), "chmod 600") || !strings.Contains(bad.Error(), path)) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, other := range []string{dir, pipe} {
		if _, err := tracing.New(tracing.Options{HeadersFile: other}, tracing.Links{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", other, err)
		}
	}
}
