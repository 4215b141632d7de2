package compress_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sallyport/sallyport/proxy/middleware/compress"
)

var page = strings.Repeat("<p>All work and no play makes Jack a dull boy.</p>\n", 2000)

func compressor(t testing.TB, o compress.Options) *compress.Compressor {
	t.Helper()
	c, err := compress.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve runs an application behind a compressor on a real socket.
func serve(t testing.TB, o compress.Options, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(compressor(t, o).Wrap(h))
	t.Cleanup(s.Close)
	return s.URL
}

// ask sends a request and returns the response with its body as it came.
func ask(t testing.TB, method, url string, fields ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func decode(t testing.TB, coding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch coding {
	case "gzip":
		g, err := gzip.NewReader(r) // the standard library's: a peer that is not ours
		if err != nil {
			t.Fatal(err)
		}
		r = g
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func html(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.Header().Set("ETag", `"v1"`)
	w.Header().Set("Accept-Ranges", "bytes")
	_, _ = io.WriteString(w, page)
}

func TestClientsGetWhatTheyAcceptMost(t *testing.T) {
	url := serve(t, compress.Options{}, html)
	for _, c := range []struct {
		accept []string
		want   string
	}{
		{nil, ""}, {[]string{""}, ""}, {[]string{"identity"}, ""}, {[]string{"br"}, ""}, {[]string{"gzip"}, "gzip"}, {[]string{"x-gzip"}, "gzip"},
		{[]string{"gzip, deflate, br, zstd"}, "zstd"}, {[]string{"gzip;q=1.0, zstd;q=0.9"}, "gzip"}, {[]string{"zstd;q=0, gzip"}, "gzip"},
		{[]string{"GZIP ; Q=0.5"}, "gzip"}, {[]string{"*"}, "zstd"}, {[]string{"zstd;q=0, *;q=0.1"}, "gzip"}, {[]string{"*;q=0"}, ""},
		{[]string{"br", "gzip"}, "gzip"}, {[]string{"gzip;q=2"}, ""}, {[]string{"gzip;q=x"}, ""}, {[]string{"gzip;q=NaN"}, ""}, {[]string{"gzip;q=0.000"}, ""},
	} {
		var fields []string
		for _, a := range c.accept {
			fields = append(fields, "Accept-Encoding", a)
		}
		res, body := ask(t, "GET", url, fields...)
		coding := res.Header.Get("Content-Encoding")
		if coding != c.want || decode(t, coding, body) != page {
			t.Errorf("%q: %q, %d bytes", c.accept, coding, len(body))
		}
		if res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: Vary %q", c.accept, res.Header["Vary"])
		}
		etag, ranges := `"v1"`, "bytes"
		if c.want != "" {
			etag, ranges = `W/"v1"`, ""
		}
		if res.Header.Get("ETag") != etag || res.Header.Get("Accept-Ranges") != ranges {
			t.Errorf("%q: ETag %s, Accept-Ranges %q", c.accept, res.Header.Get("ETag"), res.Header.Get("Accept-Ranges"))
		}
		if c.want != "" && res.ContentLength == int64(len(page)) {
			t.Errorf("%q: the length is that of the content before", c.accept)
		}
	}
}

func TestWhatMustNotBeTouchedIsNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		answer []string
		ask    []string
	}{
		{"encoded already", 200, []string{"Content-Type", "text/html", "Content-Encoding", "br"}, nil},
		{"a stream of events", 200, []string{"Content-Type", "text/event-stream"}, nil},
		{"gRPC", 200, []string{"Content-Type", "application/grpc+json"}, nil},
		{"an image", 200, []string{"Content-Type", "image/png"}, nil},
		{"no type", 200, []string{"Content-Type", ""}, nil},
		{"no-transform", 200, []string{"Content-Type", "text/html", "Cache-Control", "public, No-Transform"}, nil},
		{"the client's no-transform", 200, []string{"Content-Type", "text/html"}, []string{"Cache-Control", "no-transform"}},
		{"a part", 206, []string{"Content-Type", "text/html", "Content-Range", "bytes 0-9/100"}, nil},
		{"asked for a part", 200, []string{"Content-Type", "text/html"}, []string{"Range", "bytes=0-9"}},
		{"a part that cannot be", 416, []string{"Content-Type", "text/html", "Content-Range", "bytes */100"}, nil},
		{"with a digest", 200, []string{"Content-Type", "text/html", "Repr-Digest", "sha-256=:x:"}, nil},
		{"short", 200, []string{"Content-Type", "text/html", "Content-Length", "511"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := serve(t, compress.Options{}, func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(c.answer); i += 2 {
					w.Header()[c.answer[i]] = []string{c.answer[i+1]}
				}
				w.Header()["Etag"] = []string{`"v1"`}
				w.WriteHeader(c.status)
				body := page
				if n, err := strconv.Atoi(w.Header().Get("Content-Length")); err == nil {
					body = page[:n]
				}
				_, _ = io.WriteString(w, body)
			})
			res, body := ask(t, "GET", url, append(c.ask, "Accept-Encoding", "gzip, zstd")...)
			if !strings.HasPrefix(page, string(body)) || res.Header.Get("ETag") != `"v1"` {
				t.Errorf("%v, %d bytes", res.Header, len(body))
			}
			if coding := res.Header.Get("Content-Encoding"); coding != "" && coding != "br" {
				t.Errorf("Content-Encoding: %s", coding)
			}
		})
	}
}

func TestHEADSaysWhatGETWould(t *testing.T) {
	url := serve(t, compress.Options{}, html)
	get, _ := ask(t, "GET", url, "Accept-Encoding", "zstd")
	head, _ := ask(t, "HEAD", url, "Accept-Encoding", "zstd")
	for _, name := range []string{"Content-Encoding", "Content-Type", "ETag", "Vary", "Accept-Ranges"} {
		if get.Header.Get(name) != head.Header.Get(name) {
			t.Errorf("%s: %q and %q", name, get.Header.Get(name), head.Header.Get(name))
		}
	}
	if head.Header.Get("Content-Length") != "" {
		t.Errorf("Content-Length: %s", head.Header.Get("Content-Length"))
	}
}

func TestRevalidationNamesTheTagThatTheClientKnows(t *testing.T) {
	url := serve(t, compress.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.WriteHeader(304)
	})
	for known, want := range map[string]string{`W/"v1"`: `W/"v1"`, `"v1"`: `"v1"`, `W/"v0", W/"v1"`: `W/"v1"`} {
		if res, _ := ask(t, "GET", url, "If-None-Match", known, "Accept-Encoding", "gzip"); res.Header.Get("ETag") != want {
			t.Errorf("%s: %s, want %s", known, res.Header.Get("ETag"), want)
		}
	}
}

func TestWhatIsFlushedArrivesAtOnce(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			seen := make(chan bool)
			url := serve(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				control := http.NewResponseController(w)
				for i := range 3 {
					fmt.Fprintf(w, "line %d\n", i)
					if err := control.Flush(); err != nil {
						t.Error(err)
					}
					select {
					case <-seen:
					case <-r.Context().Done():
						return
					}
				}
			})
			r, _ := http.NewRequest("GET", url, nil)
			r.Header.Set("Accept-Encoding", coding)
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			res, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var plain io.Reader
			if coding == "gzip" {
				plain, err = gzip.NewReader(res.Body)
			} else {
				plain, err = zstd.NewReader(res.Body, zstd.WithDecoderConcurrency(1))
			}
			if err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 7)
			for i := range 3 {
				if _, err := io.ReadFull(plain, line); err != nil || string(line) != fmt.Sprintf("line %d\n", i) {
					t.Fatalf("%q, %v", line, err)
				}
				seen <- true
			}
		})
	}
}

func TestAnAbortedAnswerDoesNotLookWhole(t *testing.T) {
	url := serve(t, compress.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, page)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r, _ := http.NewRequest("GET", url, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil {
		t.Error("the body ended well")
	}
	g, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(g); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the compressed content ended with %v", err)
	}
}

func TestWithAllEncodersAtWorkAnswersGoOutAsTheyAre(t *testing.T) {
	hold, held := make(chan bool), make(chan bool)
	url := serve(t, compress.Options{Encoders: 1}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, page)
		if r.URL.Path == "/hold" {
			held <- true
			<-hold
		}
	})
	first := make(chan string, 1)
	go func() {
		res, _ := ask(t, "GET", url+"/hold", "Accept-Encoding", "gzip")
		first <- res.Header.Get("Content-Encoding")
	}()
	<-held
	res, body := ask(t, "GET", url, "Accept-Encoding", "gzip")
	if res.Header.Get("Content-Encoding") != "" || string(body) != page || res.Header.Get("Vary") == "" {
		t.Errorf("%v", res.Header)
	}
	close(hold)
	if got := <-first; got != "gzip" {
		t.Errorf("the first: %q", got)
	}
	if res, _ := ask(t, "GET", url, "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "gzip" {
		t.Error("the encoder did not come back")
	}
}

func TestInformationalAnswersPass(t *testing.T) {
	url := serve(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		html(w, r)
	})
	if res, body := ask(t, "GET", url, "Accept-Encoding", "gzip"); res.StatusCode != 200 || decode(t, "gzip", body) != page {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestOptionsThatMakeNoSenseAreErrors(t *testing.T) {
	for _, o := range []compress.Options{{Encodings: "br"}, {Types: "text"}, {Types: "*/*"}, {Types: "text/html;q=1"}, {Level: "11"}, {Encoders: -1}} {
		if _, err := compress.New(o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

// TestAnEncoderTakesNoMoreThanWeSay keeps the figure in the documentation.
func TestAnEncoderTakesNoMoreThanWeSay(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		for _, level := range []compress.Level{compress.Fast, compress.Default, compress.Best} {
			const n = 20
			said := int64(2 << 20)
			if level == compress.Best {
				said = 5 << 20
			}
			c := compressor(t, compress.Options{Level: level, Encodings: coding})
			block, busy := make(chan bool), make(chan bool)
			h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				for range 10 {
					_, _ = io.WriteString(w, page)
				}
				busy <- true
				<-block
			}))
			before := heap()
			for range n {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Accept-Encoding", coding)
				go h.ServeHTTP(discard{http.Header{}}, r)
			}
			for range n {
				<-busy
			}
			each := (heap() - before) / n
			close(block)
			t.Logf("%s %s: %d KiB", coding, level, each>>10)
			if each > said {
				t.Errorf("%s %s takes %d KiB", coding, level, each>>10)
			}
		}
	}
}

func heap() int64 {
	for range 3 { // idle encoders go at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkCompress(b *testing.B) {
	for _, accept := range []string{"", "gzip", "zstd"} {
		b.Run("accept "+accept, func(b *testing.B) {
			c := compressor(b, compress.Options{})
			kind, length, body := []string{"text/html"}, []string{strconv.Itoa(len(page))}, []byte(page)
			h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				clear(h)
				h["Content-Type"], h["Content-Length"] = kind, length
				_, _ = w.Write(body)
			}))
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept-Encoding", accept)
			w := discard{http.Header{}}
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
