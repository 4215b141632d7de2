package pages_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/pages"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return at
}

// proxy answers refusals as the proxy does: with a page if there is one.
type proxy struct{ x *exchange.Exchange }

func (p proxy) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := err.(*exchange.Refusal).Status
	if p.x.Pages == nil || !p.x.Pages.Page(w, r, status) {
		w.WriteHeader(status)
		fmt.Fprint(w, "plain")
	}
}

func ask(h http.Handler, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "https://a.test/x", nil)
	r.Header.Set("Accept", accept)
	x := exchange.New(r)
	x.ID = "0123"
	x.Refuser = proxy{x}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, exchange.With(r, x))
	return w
}

func refusing(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exchange.Refuse(w, r, &exchange.Refusal{Status: status})
	})
}

func TestTheMostExactPageCounts(t *testing.T) {
	own, err := pages.New(pages.Options{Files: []pages.File{
		{Status: "404", Path: write(t, "404.html", "exact {{.Status}} {{.RequestID}} {{.Host}}")},
		{Status: "4xx", Path: write(t, "4.txt", "class {{.Text}} <{{.Host}}>")},
		{Status: "default", Path: write(t, "d.html", "all")},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{404: "exact 404 0123 a.test", 403: "class Forbidden <a.test>", 502: "all"} {
		if w := ask(own.Wrap(refusing(status)), "*/*"); w.Code != status || w.Body.String() != want || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d: %d %q %v", status, w.Code, w.Body.String(), w.Header())
		}
	}
	if w := ask(own.Wrap(refusing(404)), "application/json"); w.Body.String() != "plain" {
		t.Errorf("a program got %q", w.Body.String())
	}
}

func TestARefusalBehindAnInterceptorIsAnsweredOnce(t *testing.T) {
	own, err := pages.New(pages.Options{Intercept: true, Files: []pages.File{{Status: "4xx", Path: write(t, "4.html", "own")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(own.Wrap(refusing(404)), "text/html"); w.Body.String() != "own" || w.Code != 404 {
		t.Errorf("%d %q", w.Code, w.Body.String())
	}
	if w := ask(own.Wrap(refusing(500)), "text/html"); w.Body.String() != "plain" {
		t.Errorf("a status without a page: %q", w.Body.String())
	}
	late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103) // which is not the answer
		w.Header().Set("Www-Authenticate", "Basic")
		w.Header().Set("Content-Encoding", "br")
		w.WriteHeader(401)
		fmt.Fprint(w, "dropped")
		_ = http.NewResponseController(w).Flush()
		fmt.Fprint(w, "dropped too")
	})
	w := ask(own.Wrap(late), "text/html")
	if w.Code != 401 && w.Code != 103 || w.Body.String() != "own" || w.Header().Get("Www-Authenticate") != "Basic" || w.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d %q %v", w.Code, w.Body.String(), w.Header())
	}
	fine := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine") })
	if w := ask(own.Wrap(fine), "text/html"); w.Body.String() != "fine" || w.Code != 200 {
		t.Errorf("%d %q", w.Code, w.Body.String())
	}
}

func TestPagesThatCannotBeUsedAreSaidAtOnce(t *testing.T) {
	for name, o := range map[string]pages.Options{
		"missing":          {Files: []pages.File{{Status: "404", Path: filepath.Join(t.TempDir(), "none.html")}}},
		"a folder":         {Files: []pages.File{{Status: "404", Path: t.TempDir()}}},
		"a bad template":   {Files: []pages.File{{Status: "404", Path: write(t, "a.html", "{{.Status")}}},
		"an unknown value": {Files: []pages.File{{Status: "404", Path: write(t, "a.html", "{{.Server}}")}}},
		"too large":        {Files: []pages.File{{Status: "404", Path: write(t, "a.html", strings.Repeat("x", 2<<20))}}},
		"no such status":   {Files: []pages.File{{Status: "3xx", Path: write(t, "a.html", "x")}}},
	} {
		_, err := pages.New(o, nil)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if hint, ok := err.(interface{ Hint() string }); !ok || hint.Hint() == "" {
			t.Errorf("%s: %v has no hint", name, err)
		}
	}
}

func TestAMaintenanceFileThatCannotBeReadClosesAllTheSame(t *testing.T) {
	var told []error
	at := write(t, "closed.html", "{{.Nonsense}}")
	m, err := pages.NewMaintenance(pages.MaintenanceOptions{File: at}, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	open := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "open") })
	for range 2 {
		if w := ask(m.Wrap(open), "text/html"); w.Code != 503 || w.Body.String() != "plain" || w.Header().Get("Retry-After") != "300" {
			t.Errorf("%d %q %v", w.Code, w.Body.String(), w.Header())
		}
	}
	if len(told) != 1 {
		t.Errorf("told %v", told)
	}
	if _, err := pages.NewMaintenance(pages.MaintenanceOptions{File: "relative"}, nil); err == nil {
		t.Error("a relative name was accepted")
	}
}

func TestThePageOfMaintenanceIsNotReplacedByThatOf503(t *testing.T) {
	own, err := pages.New(pages.Options{Intercept: true, Files: []pages.File{{Status: "5xx", Path: write(t, "5.html", "broken")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := pages.NewMaintenance(pages.MaintenanceOptions{File: write(t, "closed.html", "closed")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(own.Wrap(m.Wrap(refusing(500))), "text/html"); w.Code != 503 || w.Body.String() != "closed" {
		t.Errorf("%d %q", w.Code, w.Body.String())
	}
}

func BenchmarkMaintenanceOff(b *testing.B) {
	m, err := pages.NewMaintenance(pages.MaintenanceOptions{File: filepath.Join(b.TempDir(), "closed")}, nil)
	if err != nil {
		b.Fatal(err)
	}
	h := m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
