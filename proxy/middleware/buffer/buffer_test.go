package buffer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/buffer"
)

func wrap(t testing.TB, o buffer.Options, h http.HandlerFunc) http.Handler {
	t.Helper()
	b, err := buffer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Wrap(h)
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// unannounced hides a body's length.
func unannounced(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b)) }

func TestABodyComesBackByteForByteAsOftenAsAsked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when needed")
	for _, size := range []int{1, 100, 1 << 16, 1<<16 + 1, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			sent := noise(size)
			s := httptest.NewServer(wrap(t, buffer.Options{Dir: dir}, func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength != int64(size) {
					t.Errorf("%d bytes, chunked %v: Content-Length %d", size, chunked, r.ContentLength)
				}
				half, _ := io.ReadAll(io.LimitReader(r.Body, int64(size/2)))
				again, err := r.GetBody()
				if err != nil {
					t.Error(err)
				}
				whole, _ := io.ReadAll(again)
				rest, _ := io.ReadAll(r.Body)
				if !bytes.Equal(append(half, rest...), sent) || !bytes.Equal(whole, sent) {
					t.Errorf("%d bytes, chunked %v: other bytes", size, chunked)
				}
			}))
			var body io.Reader = bytes.NewReader(sent)
			if chunked {
				body = unannounced(sent)
			}
			res, err := s.Client().Post(s.URL, "", body)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			s.Close()
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestNobodyIsAskedBeforeTheBodyIsThere(t *testing.T) {
	asked := make(chan bool, 1)
	s := httptest.NewServer(wrap(t, buffer.Options{}, func(http.ResponseWriter, *http.Request) { asked <- true }))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc")
	timer := time.NewTimer(50 * time.Millisecond)
	select {
	case <-asked:
		t.Fatal("asked too early")
	case <-timer.C:
	}
	_, _ = io.WriteString(c, "d")
	<-asked
}

func TestBoundsHoldForOneAndForAll(t *testing.T) {
	const k = 1 << 10
	hold, held := make(chan bool), make(chan bool)
	h := wrap(t, buffer.Options{Dir: t.TempDir(), Memory: 32 * k, TotalMemory: 32 * k, Max: 128 * k, TotalDisk: 100 * k}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			held <- true
			<-hold
		}
	})
	post := func(path string, body io.Reader) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", path, body))
		return w.Code
	}
	if got := post("/", bytes.NewReader(noise(128*k+1))); got != 413 {
		t.Errorf("too large, announced: %d", got)
	}
	if got := post("/", unannounced(noise(200*k))); got != 503 && got != 413 {
		t.Errorf("too large: %d", got)
	}
	if got := post("/", unannounced(noise(32*k+90*k))); got != 200 {
		t.Errorf("as large as may be: %d", got)
	}
	done := make(chan int)
	go func() { done <- post("/hold", unannounced(noise(100*k))) }() // all memory, 68 KiB of the disk's share
	<-held
	if got := post("/", unannounced(noise(40*k))); got != 503 {
		t.Errorf("with no room left: %d", got)
	}
	if got := post("/", unannounced(noise(30*k))); got != 200 {
		t.Errorf("with room on disk: %d", got)
	}
	close(hold)
	if got := <-done; got != 200 {
		t.Errorf("the one that held everything: %d", got)
	}
	if got := post("/", unannounced(noise(120*k))); got != 200 {
		t.Errorf("the room did not come back: %d", got)
	}
}

// broken fails after some bytes.
type broken struct {
	io.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

type slow struct{}

func (slow) Error() string   { return "slow" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

func TestABodyThatBreaksIsNeverPassedOn(t *testing.T) {
	h := wrap(t, buffer.Options{Dir: t.TempDir()}, func(http.ResponseWriter, *http.Request) { t.Error("a broken body was passed on") })
	for err, want := range map[error]int{io.ErrUnexpectedEOF: 400, slow{}: 408, &http.MaxBytesError{}: 413} {
		for _, size := range []int{10, 100 << 10} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/", broken{bytes.NewReader(noise(size)), err}))
			if w.Code != want {
				t.Errorf("%v after %d: %d, want %d", err, size, w.Code, want)
			}
		}
	}
}

func TestADiskThatCannotBeWrittenToIsOurFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := wrap(t, buffer.Options{Dir: filepath.Join(file, "below")}, func(http.ResponseWriter, *http.Request) {})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", unannounced(noise(100<<10)))
	said := &refuser{}
	x := exchange.New(r)
	x.Refuser = said
	h.ServeHTTP(w, exchange.With(r, x))
	if said.err == nil || !strings.Contains(said.err.Error(), "below") {
		t.Errorf("%v does not name the place", said.err)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", unannounced(noise(100<<10))))
	if w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
}

type refuser struct{ err error }

func (r *refuser) Refuse(_ http.ResponseWriter, _ *http.Request, err error) { r.err = err }

func TestCallsOfGRPCPassAsTheyAre(t *testing.T) {
	pr, pw := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := make(chan string, 1)
	h := wrap(t, buffer.Options{}, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, b)
		seen <- string(b)
	})
	r := httptest.NewRequestWithContext(ctx, "POST", "/", pr)
	r.Header.Set("Content-Type", "application/grpc")
	go h.ServeHTTP(httptest.NewRecorder(), r)
	_, _ = io.WriteString(pw, "hello")
	select {
	case got := <-seen:
		if got != "hello" {
			t.Errorf("%q", got)
		}
	case <-ctx.Done():
		t.Fatal("the call waits for its own end")
	}
}

func TestNegativeSizesAreErrors(t *testing.T) {
	for _, o := range []buffer.Options{{Memory: -1}, {Max: -1}, {TotalMemory: -1}, {TotalDisk: -1}} {
		if _, err := buffer.New(o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

func BenchmarkBuffer(b *testing.B) {
	h := wrap(b, buffer.Options{}, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	sent := noise(4 << 10)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", bytes.NewReader(sent))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(sent))
		h.ServeHTTP(w, r)
	}
}
