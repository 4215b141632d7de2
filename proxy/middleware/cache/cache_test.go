package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/cache"
)

func made(t testing.TB, o cache.Options) *cache.Cache {
	t.Helper()
	if o.Size == 0 {
		o.Size = 8 << 20
	}
	if o.MaxObject == 0 {
		o.MaxObject = 1 << 20
	}
	c, err := cache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(handler http.Handler, target string, fields ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request(step{target: target, ask: strings.Join(fields, "\n")}))
	return w
}

func TestAThousandMissesAtOnceAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := made(t, cache.Options{LockTimeout: time.Minute})
		defer c.Close()
		var calls atomic.Int32
		handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = w.Write([]byte("once"))
		}))
		var group sync.WaitGroup
		var collapsed atomic.Int32
		for range 1000 {
			group.Go(func() {
				w := get(handler, "/")
				if w.Body.String() != "once" {
					t.Errorf("got %q", w.Body)
				}
				if strings.Contains(w.Header().Get("Cache-Status"), "collapsed") {
					collapsed.Add(1)
				}
			})
		}
		group.Wait()
		if calls.Load() != 1 || collapsed.Load() != 999 {
			t.Errorf("the server was asked %d times, %d collapsed", calls.Load(), collapsed.Load())
		}
	})
}

func TestWhatCannotBeStoredHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := made(t, cache.Options{LockTimeout: time.Hour})
		defer c.Close()
		handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "private")
			w.WriteHeader(200)
			time.Sleep(10 * time.Second) // the body is slow, the head is not
		}))
		start := time.Now()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { get(handler, "/") })
		}
		group.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("ten private answers took %v: they waited for each other", took)
		}
	})
}

func TestWhoWaitsGoesAloneWhenTheLimitIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := made(t, cache.Options{LockTimeout: 2 * time.Second})
		defer c.Close()
		var calls atomic.Int32
		handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				time.Sleep(time.Minute)
			}
			w.Header().Set("Cache-Control", "max-age=60")
		}))
		var group sync.WaitGroup
		group.Go(func() { get(handler, "/") })
		synctest.Wait()
		start := time.Now()
		get(handler, "/")
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("waited %v", took)
		}
		group.Wait()
	})
}

func TestAnAbortedResponseIsNotStored(t *testing.T) {
	c := made(t, cache.Options{LockTimeout: time.Second})
	defer c.Close()
	abort := true
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte("half"))
		if abort {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(" and half"))
	}))
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the abort was swallowed")
			}
		}()
		get(handler, "/")
	}()
	abort = false
	if w := get(handler, "/"); w.Body.String() != "half and half" {
		t.Errorf("got %q", w.Body)
	}
	if w := get(handler, "/"); !strings.Contains(w.Header().Get("Cache-Status"), "hit") {
		t.Errorf("Cache-Status %q", w.Header().Get("Cache-Status"))
	}
}

func TestAResponseShorterThanItSaysIsNotStored(t *testing.T) {
	c := made(t, cache.Options{})
	defer c.Close()
	calls := 0
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("short"))
	}))
	get(handler, "/")
	get(handler, "/")
	if calls != 2 {
		t.Errorf("asked %d times", calls)
	}
}

type brokenClient struct{ http.ResponseWriter }

func (brokenClient) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestAClientThatLeavesLeavesNoHalfResponse(t *testing.T) {
	c := made(t, cache.Options{})
	defer c.Close()
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if _, err := w.Write([]byte("some")); err != nil {
			return
		}
		_, _ = w.Write([]byte(" more"))
	}))
	handler.ServeHTTP(brokenClient{httptest.NewRecorder()}, request(step{}))
	if w := get(handler, "/"); w.Body.String() != "some more" {
		t.Errorf("got %q", w.Body)
	}
}

func TestRoutesDoNotSeeEachOthersAnswers(t *testing.T) {
	c := made(t, cache.Options{})
	defer c.Close()
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte(exchange.Of(r).Route))
	}))
	for range 2 {
		for _, route := range []string{"a", "b"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "https://a.example/", nil)
			handler.ServeHTTP(w, exchange.With(r, &exchange.Exchange{Route: route}))
			if w.Body.String() != route {
				t.Errorf("route %s got the answer of %q", route, w.Body)
			}
		}
	}
}

func TestPurge(t *testing.T) {
	for _, folder := range []string{"", t.TempDir()} {
		c := made(t, cache.Options{Folder: folder, FolderSize: 8 << 20})
		calls := 0
		handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("Cache-Control", "max-age=60")
		}))
		all := func() int {
			calls = 0
			for _, target := range []string{"/a/1", "/a/2", "/b"} {
				get(handler, target)
			}
			return calls
		}
		all()
		if got := all(); got != 0 {
			t.Fatalf("nothing was stored: %d", got)
		}
		if n := c.Purge("A.EXAMPLE", "/a/1"); n != 1 || all() != 1 {
			t.Errorf("folder %q: one purged: %d, then asked %d times", folder, n, calls)
		}
		if n := c.Purge("a.example", "/a/*"); n != 2 || all() != 2 {
			t.Errorf("folder %q: two purged: %d, then asked %d times", folder, n, calls)
		}
		if n := c.Purge("b.example", "/*"); n != 0 {
			t.Errorf("another host's: %d", n)
		}
		c.Close()
	}
}

func TestMemoryStaysUnderItsBound(t *testing.T) {
	c := made(t, cache.Options{Size: 2 << 20})
	defer c.Close()
	body := []byte(strings.Repeat("x", 10<<10))
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(body)
	}))
	for i := range 2000 { // 20 MB of them
		get(handler, fmt.Sprintf("/%d", i))
	}
	if held := c.Held(); held > 2<<20 || held < 1<<20 {
		t.Errorf("%d bytes are held", held)
	}
}

func TestManyVariantsOfOneResourceAreBounded(t *testing.T) {
	c := made(t, cache.Options{})
	defer c.Close()
	calls := 0
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X")
	}))
	for i := range 100 {
		get(handler, "/", fmt.Sprint("X: ", i))
	}
	calls = 0
	for i := range 100 {
		get(handler, "/", fmt.Sprint("X: ", 99-i))
	}
	if calls != 84 {
		t.Errorf("%d of 100 variants were asked for again, want 84", calls)
	}
}

func TestTheFolderOutlivesTheProcess(t *testing.T) {
	folder := t.TempDir()
	calls := 0
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X")
		_, _ = w.Write([]byte("body " + r.Header.Get("X")))
	})
	o := cache.Options{Folder: folder, FolderSize: 8 << 20}
	first := made(t, o)
	get(first.Wrap(next), "/", "X: 1")
	get(first.Wrap(next), "/", "X: 2")
	first.Close()
	if err := os.WriteFile(filepath.Join(folder, "0123-9.cache.part"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	second := made(t, o)
	for _, x := range []string{"1", "2"} {
		if w := get(second.Wrap(next), "/", "X: "+x); w.Body.String() != "body "+x || calls != 2 {
			t.Errorf("after a restart: %q, asked %d times", w.Body, calls)
		}
	}
	second.Close()
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	if len(files) != 1 {
		t.Errorf("the folder holds %v", files)
	}

	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string][]byte{
		"cut": content[:len(content)-1], "flipped": append(content[:len(content)-1:len(content)-1], content[len(content)-1]^1),
		"empty line": []byte("\n"), "not ours": []byte("{}\n"), "huge": []byte(`{"key":"https://a.example/","entry":{},"length":9999999999999,"checksum":0}` + "\n"),
	} {
		if err := os.WriteFile(files[0], damage, 0o600); err != nil {
			t.Fatal(err)
		}
		calls = 0
		third := made(t, o)
		if w := get(third.Wrap(next), "/", "X: 1"); w.Body.String() != "body 1" || calls != 1 {
			t.Errorf("%s: %q, asked %d times", name, w.Body, calls)
		}
		third.Close()
	}
}

func TestTheFolderStaysUnderItsBound(t *testing.T) {
	folder := t.TempDir()
	c := made(t, cache.Options{Folder: folder, FolderSize: 1 << 20})
	defer c.Close()
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(make([]byte, 50<<10))
	}))
	for i := range 100 {
		get(handler, fmt.Sprintf("/%d", i))
	}
	var total int64
	files, _ := os.ReadDir(folder)
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 1<<20 || total < 1<<19 {
		t.Errorf("%d files hold %d bytes", len(files), total)
	}
}

func TestAFolderThatCannotBeWrittenIsNoMoreThanAMiss(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache")
	c := made(t, cache.Options{Folder: folder, FolderSize: 8 << 20})
	defer c.Close()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte("x"))
	}))
	for range 2 {
		if w := get(handler, "/"); w.Body.String() != "x" {
			t.Errorf("got %q", w.Body)
		}
	}
}

func TestCloseEndsRevalidationsThatHang(t *testing.T) {
	c := made(t, cache.Options{StaleWhileRevalidate: time.Hour})
	calls := 0
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls > 1 {
			<-r.Context().Done() // of the revalidation, not of the client
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("Age", "2")
	}))
	get(handler, "/")
	ctx, cancel := context.WithCancel(context.Background())
	r := request(step{})
	handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	cancel()
	c.Close()
}

func TestWrongOptions(t *testing.T) {
	for name, o := range map[string]cache.Options{
		"no memory": {MaxObject: 1 << 20}, "object past the size": {Size: 1 << 20, MaxObject: 2 << 20}, "tiny object": {Size: 1 << 20, MaxObject: 1},
		"folder too small": {Size: 1 << 20, MaxObject: 1 << 20, Folder: "/tmp", FolderSize: 1}, "folder is a file": {Size: 1 << 20, MaxObject: 1 << 20, Folder: "cache_test.go", FolderSize: 1 << 20},
	} {
		if c, err := cache.New(o); err == nil {
			c.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	c := made(b, cache.Options{})
	defer c.Close()
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write(make([]byte, 1024))
	}))
	r := request(step{})
	handler.ServeHTTP(httptest.NewRecorder(), r)
	w := &quiet{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		handler.ServeHTTP(w, r)
	}
}

type quiet struct{ header http.Header }

func (q *quiet) Header() http.Header         { return q.header }
func (q *quiet) WriteHeader(int)             {}
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }
