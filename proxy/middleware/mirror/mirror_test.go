package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/proxy/middleware/mirror"
)

// shadow answers as a test says.
type shadow func(*http.Request) (*http.Response, error)

func (s shadow) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func answer() *http.Response { return &http.Response{StatusCode: 200, Body: http.NoBody} }

func outgoing(r *http.Request) *http.Request {
	return &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header.Clone()}
}

func start(t testing.TB, o mirror.Options, report func(error)) *mirror.Mirror {
	t.Helper()
	m, err := mirror.New(o, report)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestACopyHasTheWholeRequestAndItsAnswerIsDropped(t *testing.T) {
	got := make(chan string, 1)
	m := start(t, mirror.Options{Percent: 100, To: shadow(func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("X-A") + " " + string(body)
		res := answer()
		res.StatusCode = 500
		return res, nil
	})}, nil)
	defer m.Close()
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-A", "changed afterwards")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}), outgoing)
	for _, body := range []string{"", "hello"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/p", strings.NewReader(body))
		if body != "" {
			r.ContentLength = -1
		}
		r.Header.Set("X-A", "1")
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.String() != body {
			t.Errorf("the request itself: %d %q", w.Code, w.Body)
		}
		if want := "POST /p 1 " + body; <-got != want {
			t.Errorf("the copy is not %q", want)
		}
	}
}

func TestAShadowThatHangsSlowsNobodyAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := 0
		m := start(t, mirror.Options{Percent: 100, Concurrent: 3, Timeout: time.Minute, To: shadow(func(r *http.Request) (*http.Response, error) {
			under++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}, nil)
		served := 0
		h := m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { served++ }), outgoing)
		began := time.Now()
		for range 100 {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			synctest.Wait()
		}
		if served != 100 || under != 3 || time.Since(began) != 0 {
			t.Errorf("%d served in %v, %d copies under way", served, time.Since(began), under)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		synctest.Wait()
		if under != 4 {
			t.Errorf("%d copies: the places did not come back", under)
		}
		m.Close() // ends the one under way; synctest complains of goroutines that are left
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		if served != 102 || under != 4 {
			t.Errorf("after Close: %d served, %d copies", served, under)
		}
	})
}

func TestWhatCannotBeCopiedWholeIsNotCopied(t *testing.T) {
	m := start(t, mirror.Options{Percent: 100, MaxBody: 10, Concurrent: 1, To: shadow(func(r *http.Request) (*http.Response, error) {
		t.Errorf("a copy of %s was sent", r.URL.Path)
		return answer(), nil
	})}, nil)
	h := m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/unread" {
			_, _ = io.ReadAll(r.Body)
		}
	}), outgoing)
	large := bytes.Repeat([]byte("x"), 11)
	for path, body := range map[string]io.Reader{
		"/announced": bytes.NewReader(large),
		"/streamed":  io.MultiReader(bytes.NewReader(large)),
		"/broken":    io.MultiReader(strings.NewReader("abc"), errReader{}),
		"/unread":    io.MultiReader(strings.NewReader("abc")),
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", path, body))
	}
	up := httptest.NewRequest("GET", "/upgrade", nil)
	up.Header.Set("Upgrade", "websocket")
	h.ServeHTTP(httptest.NewRecorder(), up)
	m.Close()
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("the client is gone") }

func TestFailuresAndPanicsAreReportedAndHarmNobody(t *testing.T) {
	reports := make(chan error, 2)
	failing := []shadow{
		func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") },
		func(*http.Request) (*http.Response, error) { panic("a bug") },
	}
	for i, to := range failing {
		m := start(t, mirror.Options{Percent: 100, To: to}, func(err error) { reports <- err })
		w := httptest.NewRecorder()
		m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), outgoing).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if err := <-reports; err == nil || w.Code != 204 {
			t.Errorf("%d: %v, %d", i, err, w.Code)
		}
		m.Close()
	}
}

func TestPercentIsAShare(t *testing.T) {
	copies := make(chan bool, 4000)
	m := start(t, mirror.Options{Percent: 25, Concurrent: 4000, To: shadow(func(*http.Request) (*http.Response, error) {
		copies <- true
		return answer(), nil
	})}, nil)
	h := m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), outgoing)
	r := httptest.NewRequest("GET", "/", nil).WithContext(context.Background())
	for range 4000 {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	m.Close()                                  // waits for those that were begun
	if n := len(copies); n < 700 || n > 1300 { // 11 standard deviations either way
		t.Errorf("%d of 4000", n)
	}
}

func TestOptionsThatMakeNoSenseAreErrors(t *testing.T) {
	to := shadow(nil)
	for _, o := range []mirror.Options{
		{Percent: 1}, {To: to}, {To: to, Percent: -1}, {To: to, Percent: 101}, {To: to, Percent: 1, MaxBody: -1}, {To: to, Percent: 1, Timeout: -1},
	} {
		if _, err := mirror.New(o, nil); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}
